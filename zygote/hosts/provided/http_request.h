// Requests of HTTP/1.1 (RFC 9112) as they arrive, for the little of it that the Runtime API needs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spore {

struct HttpRequest {
  std::string method;
  std::string path;  // without a query
  // Names in small letters; what came as a trailer is among them.
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool too_large = false;  // the body was, and is not here
  bool keep_alive = true;  // the client has not asked for the connection's end
  bool may_forgo = false;  // it waits to hear whether its body is wanted
  std::string_view Field(std::string_view name) const;  // empty: it has none
};

// Strict: what could be understood in two ways is refused, and the connection with it.
class HttpParser {
 public:
  explicit HttpParser(size_t max_body) : max_body_(max_body) {}

  enum class Status {
    kMore,      // all was taken, and is not enough
    kContinue,  // the client waits for "100 Continue"; said once a request
    kRequest,   // request() is whole; what follows was not taken
    kBad,       // problem() says why; nothing more can be read here
  };
  // Takes from the front of `data`.
  Status Feed(std::string_view& data);

  HttpRequest& request() { return request_; }
  int problem_status() const { return problem_status_; }  // of the answer: 400, 431, 501, ..
  const std::string& problem() const { return problem_; }
  // For the next request of the connection.
  void Reset();

 private:
  enum class Part { kHead, kBody, kChunkSize, kChunk, kChunkEnd, kTrailers, kDone };

  Status Bad(int status, std::string problem);
  // False: more is needed.
  bool TakeLine(std::string_view& data, std::string* line);
  Status TakeHead(std::string_view& data);
  Status HeadEnded();
  Status ParseRequestLine(std::string_view line);
  Status ParseField(std::string_view line);
  Status Frame();
  Status TakeBody(std::string_view& data);
  Status TakeChunkSize(std::string_view& data);
  Status TakeTrailers(std::string_view& data);
  void Append(std::string_view data);

  size_t max_body_;
  HttpRequest request_;
  Part part_ = Part::kHead;
  std::string line_;       // that is not whole yet
  size_t head_bytes_ = 0;  // of this request, and of its trailers
  bool has_line_ = false;
  bool http_1_0_ = false;
  uint64_t left_ = 0;  // of the body, or of the chunk
  uint64_t body_bytes_ = 0;
  int problem_status_ = 0;
  std::string problem_;
};

}  // namespace spore
