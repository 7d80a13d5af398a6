// Takes a request apart: Boost.Beast's parser, behind checks that leave nothing to interpretation.
//
// Refused, because two parsers in a row might read them differently (request smuggling, RFC 9112
// section 11.2): line ends other than CRLF, NUL and other control characters, folded header lines,
// Content-Length that is repeated or stands beside Transfer-Encoding, any Transfer-Encoding but
// "chunked", a Host header that is missing or repeated. Trailers are read and dropped.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "tools/gateway/http_message.h"

namespace spore::gateway {

class HttpParser {
 public:
  static constexpr std::size_t kMaxHead = 32 << 10;
  static constexpr std::size_t kMaxHeaders = 100;

  enum class Progress { kMore, kHead, kDone, kFailed };

  HttpParser();
  ~HttpParser();
  HttpParser(HttpParser&&) noexcept;
  HttpParser& operator=(HttpParser&&) noexcept;

  // Reads on from `input` and takes from its front what it has read. kHead is told once, when the
  // headers are complete: then SetMaxBody, and call again. kMore: all of it has been read.
  Progress Parse(std::string_view& input);
  void SetMaxBody(std::size_t bytes);

  // The request so far; whole after kDone.
  HttpRequest& request();
  bool keep_alive() const;
  bool expects_continue() const;
  // After kFailed: 400, 413, 417, 431, 501 or 505, and why.
  int status() const;
  const std::string& reason() const;

 private:
  struct State;
  Progress ParseHead(std::string_view& input);
  Progress ParseBody(std::string_view& input);
  Progress Fail(int status, std::string reason);

  std::unique_ptr<State> state_;
};

}  // namespace spore::gateway
