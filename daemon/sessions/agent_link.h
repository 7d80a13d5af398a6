// spored's end of the channel to the agent of a session (zygote/session_protocol.h).
//
// Whatever comes is the tenant's word. An answer is matched with its ask by id; rubbish is told
// once, and nothing after it. An ask that is not answered in its time fails; what then comes is
// ignored.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/instances/instance_channel.h"
#include "daemon/loop/close_aside.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "zygote/session_protocol.h"

namespace spore {

class AgentLink {
 public:
  struct Handlers {
    std::function<void(const Frame& frame)> on_confined;      // first, and once
    std::function<bool(session::Reader& event)> on_event;     // whether it was to be expected
    std::function<void(const std::string& what)> on_rubbish;  // the last call
    std::function<void(int errno_value)> on_close;            // likewise
  };
  // The body of a kDone; or what the agent failed with, its errno and what it did as the operation.
  using Answered = std::function<void(Result<std::string>)>;

  // Without a channel it is detached, and knows of the confinement from elsewhere.
  AgentLink(EventLoop& loop, UniqueFd channel, Handlers handlers);
  ~AgentLink();
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;

  // `body`: of a session::Writer. `patience` 0: no end. `answered` is called once, maybe at once.
  // Returns an id for Forget.
  uint64_t Ask(std::string body, std::chrono::milliseconds patience, Answered answered,
               std::vector<ClientFd> fds = {});
  // The frame of an ask that reaches the agent by another way; else as Ask.
  std::string AskElsewhere(std::string body, std::chrono::milliseconds patience, Answered answered);
  // What is asked from now on waits until Release, or for the next channel; what has been asked is
  // still to be answered.
  void Hold();
  void Release();
  // The agent lets go of the channel. `gone` is called once: when nobody has its end any more, the
  // programs included that it is starting; or by FailAll.
  void Detach(std::function<void()> gone);
  void Attach(UniqueFd channel);
  // Nobody waits for the answer any more: it is not called.
  void Forget(uint64_t id);
  // Fails all that wait, and what is asked from now on.
  void FailAll(const Error& error);

 private:
  struct Pending {
    Answered answered;
    EventLoop::TimerId timer = 0;
  };
  struct Waiting {
    std::string frame;
    std::vector<UniqueFd> fds;
  };
  uint64_t Expect(std::chrono::milliseconds patience, Answered answered);
  void Send(std::string frame, std::vector<UniqueFd> fds = {});
  void OnData(std::span<const std::byte> data);
  bool OnFrame(Frame& frame);
  bool OnTell(const Frame& frame);
  bool CountUnexpected(size_t bytes);
  bool Rubbish(const std::string& what);
  bool Settle(uint64_t id, Result<std::string> result);  // false: nobody waits for it

  EventLoop& loop_;
  Handlers handlers_;
  FrameParser parser_{0};
  bool confined_ = false;
  bool over_ = false;               // nothing more is taken from it
  std::function<void()> detached_;  // what Detach is to call
  bool holding_ = false;
  std::vector<Waiting> waiting_;  // while it is
  std::optional<Error> failed_;
  uint64_t unexpected_ = 0;  // bytes that nobody wanted, within a second
  uint64_t unexpected_since_ns_ = 0;
  uint64_t last_id_ = 0;
  std::map<uint64_t, Pending> pending_;
  std::shared_ptr<bool> alive_;
  std::unique_ptr<EventLoop::Stream> channel_;
};

// A kFailed's errno as the kind of error that its cause is to a client.
ErrorKind KindOfErrno(int errno_value);

}  // namespace spore
