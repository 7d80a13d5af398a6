// AWS Lambda's Runtime API as a state machine: what a request is answered with, and what spored is
// to hear of it. It knows no sockets.
//
// Everything here runs in a process that is the tenant's: no isolation rests on it, nor on what it
// tells.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zygote/hosts/provided/http_request.h"
#include "zygote/protocol.h"

namespace spore {

struct HttpReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};

// One invocation on its way to the runtime.
struct Event {
  uint64_t frame_id = 0;
  std::string request_id, arn, client_context;  // the last: JSON, or empty
  int64_t deadline_ms = 0;
  std::string payload;
};
// Of a kInvoke frame; nothing of a body that is none.
std::optional<Event> ParseEvent(uint64_t frame_id, std::string_view body);

class RuntimeApi {
 public:
  // `max_response`: bytes of a response, beyond which it is refused.
  explicit RuntimeApi(uint64_t max_response) : max_response_(max_response) {}

  // For spored: kResponse or kFailed of the event, or kFatal of a runtime that could not begin.
  struct Report {
    wire::FrameType type;
    uint64_t frame_id = 0;
    std::string body;
  };
  struct Outcome {
    std::optional<HttpReply> reply;  // none: it asks for an event, and waits
    std::optional<Report> report;
  };
  Outcome Handle(HttpRequest& request);

  // The runtime has begun: it has asked for an event.
  bool began() const { return phase_ != Phase::kInit && phase_ != Phase::kRestored; }
  // It has none that it has not answered.
  bool may_take() const { return phase_ == Phase::kIdle; }
  // The answer to whoever asked. The event is the runtime's from here on.
  HttpReply Deliver(const Event& event);
  // It did not arrive there.
  void TakeBack();

 private:
  enum class Phase { kInit, kRestored, kIdle, kRunning };

  Outcome Next();
  Outcome Response(const std::string& id, HttpRequest& request);
  Outcome Error(const std::string& id, HttpRequest& request);
  Outcome BeginFailed(const HttpRequest& request);
  Outcome RestoreNext();
  // Nothing: `id` is the event's that runs.
  std::optional<Outcome> Mismatch(const std::string& id) const;
  Outcome NotNow() const;
  Outcome Finish(HttpReply reply, wire::FrameType type, std::string body);

  uint64_t max_response_;
  Phase phase_ = Phase::kInit;
  uint64_t frame_id_ = 0;
  std::string request_id_;  // of the last event
};

// {"errorMessage": .., "errorType": ..}, as every refusal of the API has it.
HttpReply RefuseRequest(int status, std::string_view type, std::string_view message);
// The body of a kFailed or kFatal frame.
std::string DescribeError(std::string_view type, std::string_view message);

}  // namespace spore
