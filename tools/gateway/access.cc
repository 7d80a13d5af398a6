#include "tools/gateway/access.h"

#include <ctime>
#include <functional>

#include "tools/gateway/lambda_error.h"
#include "tools/gateway/secret_file.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kMinToken = 16;
constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kTokens = "Bearer realm=\"spore\"";
constexpr std::string_view kSignatures = "AWS4-HMAC-SHA256";

// `take` answers what is wrong with a line, if anything.
client::Result<> ForEachLine(const std::string& path,
                             const std::function<const char*(std::string_view)>& take) {
  auto text = ReadSecretFile(path);
  if (!text) return tl::unexpected(text.error());
  std::size_t number = 0;
  for (const std::string_view raw : Split(*text, '\n')) {
    ++number;
    const std::string_view line = Trim(raw);
    if (line.empty() || line.front() == '#') continue;
    if (const char* wrong = take(line); wrong != nullptr)
      return client::LocalError(path + ":" + std::to_string(number) + ": " + wrong);
  }
  return {};
}

// `wanted`: what would have been taken, a scheme of the header Authorization (RFC 9110).
HttpResponse Forbidden(const std::string& type, const std::string& message,
                       std::string_view wanted = kTokens) {
  HttpResponse response = LambdaError(403, type, message);
  response.headers.push_back({"WWW-Authenticate", std::string(wanted)});
  return response;
}

// Of "host:port" or "[v6]:port" the host, in lower case.
std::string HostName(std::string_view authority) {
  if (authority.starts_with('[')) return ToLower(authority.substr(0, authority.find(']') + 1));
  return ToLower(authority.substr(0, authority.find(':')));
}

bool IsLoopbackName(std::string_view authority) {
  const std::string name = HostName(authority);
  return name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" ||
         name == "[::1]";
}

}  // namespace

client::Result<Access> Access::Load(const std::string& token_file, const std::string& key_file) {
  Access access;
  if (!token_file.empty()) {
    auto read = ForEachLine(token_file, [&](std::string_view line) -> const char* {
      if (line.size() < kMinToken) return "a token has at least 16 characters";
      access.tokens_.push_back(Sha256(line));
      return nullptr;
    });
    if (!read) return tl::unexpected(read.error());
    if (access.tokens_.empty()) return client::LocalError(token_file + ": holds no token");
  }
  if (!key_file.empty()) {
    auto read = ForEachLine(key_file, [&](std::string_view line) -> const char* {
      const std::size_t blank = line.find_first_of(" \t");
      if (blank == std::string_view::npos) return "expected ACCESS-KEY-ID SECRET";
      const std::string_view secret = Trim(line.substr(blank));
      if (secret.size() < kMinToken) return "a secret has at least 16 characters";
      access.keys_.emplace(line.substr(0, blank), secret);
      return nullptr;
    });
    if (!read) return tl::unexpected(read.error());
    if (access.keys_.empty()) return client::LocalError(key_file + ": holds no key");
  }
  return access;
}

bool Access::KnowsToken(std::string_view token) const {
  const Digest digest = Sha256(token);
  bool known = false;
  // All of them, so that the time says nothing.
  for (const Digest& each : tokens_) known |= EqualInConstantTime(Bytes(each), Bytes(digest));
  return known;
}

std::optional<HttpResponse> Access::CheckBrowser(const HttpRequest& request, Guard guard) const {
  const std::string_view host = request.Get("host");
  if (!any_host_ && !IsLoopbackName(host)) {
    return Forbidden("AccessDeniedException",
                     "The header Host does not name this host: without tokens or keys the gateway "
                     "answers to localhost, 127.0.0.1 and [::1] only.");
  }
  if (guard == Guard::kPage && (request.method == "GET" || request.method == "HEAD"))
    return std::nullopt;
  const std::string_view origin = request.Get("origin");
  const bool own =
      origin == "http://" + std::string(host) || origin == "https://" + std::string(host);
  const std::string_view site = request.Get("sec-fetch-site");
  if ((origin.empty() || own) && (site.empty() || site == "same-origin" || site == "none"))
    return std::nullopt;
  return Forbidden("AccessDeniedException",
                   "A web page of another origin may not use the gateway without a token.");
}

std::optional<HttpResponse> Access::CheckHead(const HttpRequest& request, Guard guard) const {
  if (guard == Guard::kOpen) return std::nullopt;
  if (!guarded()) return CheckBrowser(request, guard);
  std::size_t count = 0;
  for (const Header& header : request.headers) count += header.name == "authorization" ? 1u : 0u;
  const std::string_view authorization = request.Get("authorization");
  const std::string_view wanted = tokens_.empty() ? kSignatures : kTokens;
  if (count != 1) {
    return Forbidden("MissingAuthenticationTokenException",
                     "Missing Authentication Token: expected one Authorization header.", wanted);
  }
  if (IsSigV4(authorization)) {
    if (keys_.empty()) {
      return Forbidden("UnrecognizedClientException",
                       "Signed requests are not taken: the gateway has no keys, only tokens.");
    }
    const auto problem = CheckSignatureHead(request, keys_, std::time(nullptr));
    if (problem) return Forbidden(problem->type, problem->message, wanted);
    return std::nullopt;
  }
  if (tokens_.empty()) {
    return Forbidden("UnrecognizedClientException",
                     "Tokens are not taken: the gateway has none (token-file), only keys.", wanted);
  }
  if (authorization.size() > kBearer.size() &&
      ToLower(authorization.substr(0, kBearer.size())) == "bearer " &&
      KnowsToken(Trim(authorization.substr(kBearer.size())))) {
    return std::nullopt;
  }
  return Forbidden("UnrecognizedClientException",
                   "The security token included in the request is invalid.");
}

std::optional<HttpResponse> Access::CheckWhole(const HttpRequest& request, Guard guard) const {
  if (guard == Guard::kOpen || keys_.empty() || !IsSigV4(request.Get("authorization")))
    return std::nullopt;
  const auto problem = CheckSignature(request, keys_, std::time(nullptr));
  if (!problem) return std::nullopt;
  return Forbidden(problem->type, problem->message, tokens_.empty() ? kSignatures : kTokens);
}

}  // namespace spore::gateway
