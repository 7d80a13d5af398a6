// Who may use the gateway: bearer tokens and AWS keys, from files that only their owner can read.
//
// With neither, everybody who reaches the listening socket may, which is then loopback or a UNIX
// socket. Web pages in a browser of this host reach loopback as well: without tokens and keys a
// request must name this host (against names rebound to 127.0.0.1), and one that a browser makes
// for a page of another origin is refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/client/error.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/sigv4.h"

namespace spore::gateway {

// What a path asks of who wants it.
enum class Guard {
  kFull,
  // A function's page: without tokens and keys GET and HEAD are taken from other pages too, because
  // that is what a page's own links, pictures and styles look like (function_url.h).
  kPage,
  kOpen,  // nothing at all
};

class Access {
 public:
  // Each path may be empty. Errors name file and line, never what stands there.
  static client::Result<Access> Load(const std::string& token_file, const std::string& key_file);

  // Whether something must be shown at all.
  bool guarded() const { return !tokens_.empty() || !keys_.empty(); }
  // Requests need not name this host: they come over a UNIX socket.
  void TrustHost() { any_host_ = true; }

  // Before the body is there; what it lets pass may still have a wrong signature.
  std::optional<HttpResponse> CheckHead(const HttpRequest& request, Guard guard) const;
  std::optional<HttpResponse> CheckWhole(const HttpRequest& request, Guard guard) const;

 private:
  bool KnowsToken(std::string_view token) const;
  std::optional<HttpResponse> CheckBrowser(const HttpRequest& request, Guard guard) const;

  std::vector<Digest> tokens_;  // hashes: nothing here can be shown by mistake
  SigningKeys keys_;
  bool any_host_ = false;
};

}  // namespace spore::gateway
