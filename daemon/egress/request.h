// What a client in the sandbox asks of the proxy: HTTP CONNECT, a plain HTTP request with a whole
// URL, or SOCKS 5. Hostile bytes, bounded, in whatever pieces they come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/egress/address.h"

namespace spore::egress {

constexpr size_t kMaxHead = 16 * 1024;
constexpr size_t kMaxHeaders = 128;

struct Request {
  enum class Speech { kUnknown, kHttp, kSocks };
  Speech speech = Speech::kUnknown;
  std::string name;                // in lower case; empty: an address
  std::optional<Address> address;  // what was asked for by number
  uint16_t port = 0;
  bool connect = true;  // false: `head` goes first
  std::string head;     // of a plain request, as it is sent on

  // "pypi.org:443"
  std::string Place() const;
};

class RequestReader {
 public:
  enum class State {
    kMore,     // needs more bytes
    kReply,    // send `reply`, then go on
    kDone,     // `request` is whole
    kRefused,  // send `reply`, if there is one, and close; `problem` says why
  };
  // Looks at what has come so far and takes what it has understood off its front.
  State Read(std::string* input);

  const Request& request() const { return request_; }
  const std::string& reply() const { return reply_; }
  const std::string& problem() const { return problem_; }

 private:
  State ReadHttp(std::string* input);
  State ReadSocks(std::string* input);
  State ReadGreeting(std::string* input);
  State ParseHead(std::string_view head);
  bool ParseRequestLine(std::string_view line, std::string_view* target);
  State CopyHeaders(std::string_view lines, const std::string& authority);
  State RefuseHttp(int status, const std::string& what);
  State RefuseSocks(uint8_t code, const std::string& what);
  bool TakeAuthority(std::string_view authority, uint16_t default_port);
  bool TakeHost(std::string_view host);

  Request request_;
  std::string method_;
  std::string reply_;
  std::string problem_;
  size_t looked_ = 0;  // for the end of the head
  bool greeted_ = false;
};

// What the client is told. `status` of HTTP; SOCKS has its own numbers for the same.
std::string HttpReply(int status, const std::string& what);
std::string SuccessReply(Request::Speech speech);
std::string FailureReply(Request::Speech speech, int status, const std::string& what);

}  // namespace spore::egress
