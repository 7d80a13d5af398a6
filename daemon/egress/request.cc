#include "daemon/egress/request.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "daemon/egress/rules.h"
#include "sandbox/sys/printable.h"

namespace spore::egress {
namespace {

constexpr char kSocksVersion = 5;
constexpr size_t kMaxReason = 200;
constexpr size_t kMaxMethod = 32;
constexpr uint8_t kSocksFailed = 1, kSocksRefused = 2, kSocksUnreachable = 4, kSocksNoCommand = 7,
                  kSocksNoType = 8;

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c > 32 && c < 127 &&
           std::string_view("()<>@,;:\\\"/[]?={}").find(static_cast<char>(c)) ==
               std::string_view::npos;
  });
}

bool EqualNoCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

const char* Phrase(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 408:
      return "Request Timeout";
    case 431:
      return "Request Header Fields Too Large";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    default:
      return "Gateway Timeout";
  }
}

std::string SocksReply(uint8_t code) {
  return std::string{kSocksVersion, static_cast<char>(code), 0, 1, 0, 0, 0, 0, 0, 0};
}

uint8_t SocksCode(int status) {
  return status == 403                    ? kSocksRefused
         : status >= 502 && status != 503 ? kSocksUnreachable
                                          : kSocksFailed;
}

// Those that are between the client and the proxy only (RFC 9110, 7.6.1), or that are written anew.
bool IsDropped(std::string_view name, bool upgrades) {
  for (const std::string_view known :
       {"host", "keep-alive", "proxy-connection", "proxy-authorization", "te"})
    if (EqualNoCase(name, known)) return true;
  return !upgrades && (EqualNoCase(name, "connection") || EqualNoCase(name, "upgrade"));
}

}  // namespace

std::string Request::Place() const {
  return (address ? ToHost(*address) : name) + ":" + std::to_string(port);
}

// The reason is in the status line too: most clients show that to whoever called them.
std::string HttpReply(int status, const std::string& what) {
  const std::string text = Printable(what).substr(0, kMaxReason);
  const std::string body = "spore egress: " + text + "\n";
  return "HTTP/1.1 " + std::to_string(status) + " " + Phrase(status) + ": " + text +
         "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nX-Spore-Egress: refused\r\nConnection: close\r\n\r\n" +
         body;
}

std::string SuccessReply(Request::Speech speech) {
  return speech == Request::Speech::kSocks ? SocksReply(0)
                                           : "HTTP/1.1 200 Connection established\r\n\r\n";
}

std::string FailureReply(Request::Speech speech, int status, const std::string& what) {
  return speech == Request::Speech::kSocks ? SocksReply(SocksCode(status))
                                           : HttpReply(status, what);
}

RequestReader::State RequestReader::Read(std::string* input) {
  if (input->empty()) return State::kMore;
  if (request_.speech == Request::Speech::kUnknown) {
    const char first = input->front();
    if (first == kSocksVersion) {
      request_.speech = Request::Speech::kSocks;
    } else if (first >= 'A' && first <= 'Z') {
      request_.speech = Request::Speech::kHttp;
    } else if (first == 4) {
      problem_ = "SOCKS 4; expected HTTP or SOCKS 5";
      reply_ = std::string{0, 91, 0, 0, 0, 0, 0, 0};
      return State::kRefused;
    } else {
      return RefuseHttp(400, "neither HTTP nor SOCKS 5");
    }
  }
  return request_.speech == Request::Speech::kSocks ? ReadSocks(input) : ReadHttp(input);
}

RequestReader::State RequestReader::RefuseHttp(int status, const std::string& what) {
  problem_ = what;
  reply_ = HttpReply(status, what);
  return State::kRefused;
}

RequestReader::State RequestReader::RefuseSocks(uint8_t code, const std::string& what) {
  problem_ = what;
  reply_ = SocksReply(code);
  return State::kRefused;
}

RequestReader::State RequestReader::ReadHttp(std::string* input) {
  const size_t from = looked_ > 3 ? looked_ - 3 : 0;
  const size_t end = std::string_view(*input).substr(0, kMaxHead).find("\r\n\r\n", from);
  if (end == std::string::npos) {
    looked_ = input->size();
    if (input->size() < kMaxHead) return State::kMore;
    return RefuseHttp(431, "the request's head has more than 16384 bytes");
  }
  const std::string head = input->substr(0, end + 2);
  input->erase(0, end + 4);
  return ParseHead(head);
}

// `head`: lines that each end with CR LF.
RequestReader::State RequestReader::ParseHead(std::string_view head) {
  const bool clean = std::none_of(head.begin(), head.end(), [](unsigned char c) {
    return (c < 32 && c != '\r' && c != '\n' && c != '\t') || c == 127;
  });
  for (size_t at = 0; clean && at < head.size(); ++at) {
    const bool lone = (head[at] == '\r' && head.substr(at + 1, 1) != "\n") ||
                      (head[at] == '\n' && (at == 0 || head[at - 1] != '\r'));
    if (lone) return RefuseHttp(400, "a line of the head does not end with CR LF");
  }
  if (!clean) return RefuseHttp(400, "a control character in the head");
  const size_t line_end = head.find("\r\n");
  std::string_view target;
  if (!ParseRequestLine(head.substr(0, line_end), &target))
    return RefuseHttp(400, "the request line is not METHOD TARGET HTTP/1.1");
  const std::string_view lines = head.substr(line_end + 2);
  if (method_ == "CONNECT") {
    if (!TakeAuthority(target, 0))
      return RefuseHttp(400, "CONNECT wants a host and a port, as in pypi.org:443");
    return State::kDone;
  }
  if (target.starts_with('/') || target == "*") {
    return RefuseHttp(
        400, "this is a proxy for connections out of the sandbox; it serves no page itself");
  }
  constexpr std::string_view kScheme = "http://";
  if (!EqualNoCase(target.substr(0, kScheme.size()), kScheme))
    return RefuseHttp(400,
                      "of URLs only http:// ones are fetched; for others a client uses CONNECT");
  target.remove_prefix(kScheme.size());
  const size_t path_at = std::min(target.find_first_of("/?#"), target.size());
  const std::string authority(target.substr(0, path_at));
  if (!TakeAuthority(authority, 80))
    return RefuseHttp(400, "the URL has no host that is a name or an address");
  std::string path(target.substr(path_at));
  if (!path.starts_with('/')) path.insert(0, "/");
  request_.connect = false;
  request_.head = method_ + " " + path + " HTTP/1.1\r\n";
  return CopyHeaders(lines, authority);
}

bool RequestReader::ParseRequestLine(std::string_view line, std::string_view* target) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || last == first) return false;
  method_ = std::string(line.substr(0, first));
  *target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  return IsToken(method_) && method_.size() <= kMaxMethod && !target->empty() &&
         target->find_first_of(" \t") == target->npos &&
         (version == "HTTP/1.1" || version == "HTTP/1.0");
}

// One request a connection: what comes after this one would be for the same server, whatever it
// says.
RequestReader::State RequestReader::CopyHeaders(std::string_view lines,
                                                const std::string& authority) {
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  bool upgrades = false;
  while (!lines.empty()) {
    const size_t end = lines.find("\r\n");
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    const size_t colon = line.find(':');
    if (colon == line.npos || !IsToken(line.substr(0, colon)))
      return RefuseHttp(400, "a header line is not NAME: VALUE");
    headers.emplace_back(line.substr(0, colon), line);
    upgrades = upgrades || EqualNoCase(headers.back().first, "upgrade");
    if (headers.size() > kMaxHeaders)
      return RefuseHttp(431, "the request has more than 128 headers");
  }
  request_.head += "Host: " + authority + "\r\n";
  for (const auto& [name, line] : headers)
    if (!IsDropped(name, upgrades)) request_.head += std::string(line) + "\r\n";
  if (!upgrades) request_.head += "Connection: close\r\n";
  request_.head += "\r\n";
  return State::kDone;
}

// HOST, HOST:PORT, [V6] or [V6]:PORT; a port has to be there where there is no default.
bool RequestReader::TakeAuthority(std::string_view authority, uint16_t default_port) {
  std::string_view host = authority;
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
  request_.port = default_port;
  if (has_port) {
    host = authority.substr(0, colon);
    const auto port = ParsePort(authority.substr(colon + 1));
    if (!port) return false;
    request_.port = *port;
  }
  if (request_.port == 0) return false;
  if (!host.starts_with('[')) return host.find(':') == host.npos && TakeHost(host);
  if (!host.ends_with(']')) return false;
  request_.address = ParseAddress(host.substr(1, host.size() - 2));
  return request_.address.has_value();
}

bool RequestReader::TakeHost(std::string_view host) {
  request_.address = ParseAddress(host);
  if (request_.address) return true;
  const auto name = NormalName(host);
  if (name) request_.name = *name;
  return name.has_value();
}

// RFC 1928: version, number of methods, methods.
RequestReader::State RequestReader::ReadGreeting(std::string* input) {
  if (input->size() < 2) return State::kMore;
  const auto count = static_cast<unsigned char>((*input)[1]);
  if (input->size() < 2u + count) return State::kMore;
  const bool open = input->find('\0', 2) < 2u + count;
  input->erase(0, 2u + count);
  greeted_ = true;
  reply_ = std::string{kSocksVersion, open ? '\0' : '\xff'};
  if (open) return State::kReply;
  problem_ = "SOCKS 5 without the method of no authentication";
  return State::kRefused;
}

// Version, command, 0, type of address, address, port.
RequestReader::State RequestReader::ReadSocks(std::string* input) {
  if (!greeted_) return ReadGreeting(input);
  if (input->front() != kSocksVersion) return RefuseSocks(kSocksFailed, "a broken SOCKS 5 request");
  if (input->size() < 5) return State::kMore;
  const auto at = [&](size_t i) { return static_cast<unsigned char>((*input)[i]); };
  if (at(1) != 1) return RefuseSocks(kSocksNoCommand, "a SOCKS 5 command that is not CONNECT");
  const size_t start = at(3) == 3 ? 5 : 4;
  const size_t length = at(3) == 1 ? 4 : at(3) == 4 ? 16 : at(3) == 3 ? at(4) : 0;
  if (at(3) != 1 && at(3) != 3 && at(3) != 4)
    return RefuseSocks(kSocksNoType, "an unknown type of SOCKS 5 address");
  if (input->size() < start + length + 2) return State::kMore;
  const std::string host = input->substr(start, length);
  request_.port = static_cast<uint16_t>(at(start + length) << 8 | at(start + length + 1));
  input->erase(0, start + length + 2);
  if (request_.port == 0) return RefuseSocks(kSocksFailed, "port 0");
  if (start == 5) {
    if (!TakeHost(host)) return RefuseSocks(kSocksFailed, "a name that is no host name");
    return State::kDone;
  }
  Address address{.v4 = length == 4};
  std::copy(host.begin(), host.end(), address.bytes.begin());
  request_.address = ParseAddress(ToText(address));
  return request_.address ? State::kDone : RefuseSocks(kSocksFailed, "a broken address");
}

}  // namespace spore::egress
