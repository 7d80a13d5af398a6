#include "tools/gateway/http_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

namespace spore::gateway {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using beast::string_view;

constexpr std::size_t kMaxTarget = 8 << 10;
constexpr std::size_t kMaxChunkLine = 4 << 10;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Collects what Beast's parser finds.
class Collector final : public http::basic_parser<true> {
 public:
  HttpRequest request;
  bool head_done = false;
  std::size_t max_body = 0;
  bool too_large = false;

 private:
  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       beast::error_code& ec) override {
    ec = {};
    request.method.assign(method.data(), method.size());
    request.target.assign(target.data(), target.size());
    request.version = static_cast<unsigned>(version);
  }
  void on_response_impl(int, string_view, int, beast::error_code& ec) override { ec = {}; }
  void on_field_impl(http::field, string_view name, string_view value,
                     beast::error_code& ec) override {
    ec = {};
    // What comes as a trailer is no header: it has not been looked at when the request was
    // admitted.
    if (head_done) return;
    request.headers.push_back(
        {Lower({name.data(), name.size()}), std::string(value.data(), value.size())});
  }
  void on_header_impl(beast::error_code& ec) override { ec = {}; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code& ec) override {
    ec = {};
  }
  std::size_t Append(string_view piece, beast::error_code& ec) {
    ec = {};
    if (piece.size() > max_body - std::min(max_body, request.body.size())) {
      too_large = true;
      ec = http::make_error_code(http::error::body_limit);
      return 0;
    }
    request.body.append(piece.data(), piece.size());
    return piece.size();
  }
  std::size_t on_body_impl(string_view piece, beast::error_code& ec) override {
    return Append(piece, ec);
  }
  void on_chunk_header_impl(std::uint64_t, string_view, beast::error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, string_view piece, beast::error_code& ec) override {
    return Append(piece, ec);
  }
  void on_finish_impl(beast::error_code& ec) override { ec = {}; }
};

// Length of the head, its empty line included; npos: not there yet. `wrong` is set when a line
// cannot be part of one.
std::size_t FindHeadEnd(std::string_view input, std::size_t from, const char** wrong) {
  for (std::size_t i = from; i < input.size(); ++i) {
    const auto c = static_cast<unsigned char>(input[i]);
    if (c >= ' ' && c != 0x7f) continue;
    if (c == '\t') continue;
    if (c == '\n') {
      if (i == 0 || input[i - 1] != '\r') {
        *wrong = "a line does not end with CR LF";
      } else if (i >= 3 && input[i - 2] == '\n') {
        return i + 1;
      }
    } else if (c == '\r') {
      if (i + 1 < input.size() && input[i + 1] != '\n') *wrong = "a CR without LF";
    } else {
      *wrong = "a control character in the head";
    }
    if (*wrong != nullptr) return std::string_view::npos;
    // Only the line's end is looked at here: the next line must not begin with a blank.
    if (c == '\n' && i + 1 < input.size() && (input[i + 1] == ' ' || input[i + 1] == '\t')) {
      *wrong = "a folded header line";
      return std::string_view::npos;
    }
  }
  return std::string_view::npos;
}

}  // namespace

struct HttpParser::State {
  Collector parser;
  std::size_t scanned = 0;  // of the head, with nothing wrong in it
  int status = 400;
  std::string reason;
};

HttpParser::HttpParser() : state_(std::make_unique<State>()) {
  state_->parser.header_limit(kMaxHead);
  state_->parser.body_limit(UINT64_MAX);  // counted by the collector, for an answer of our own
  state_->parser.eager(true);
}
HttpParser::~HttpParser() = default;
HttpParser::HttpParser(HttpParser&&) noexcept = default;
HttpParser& HttpParser::operator=(HttpParser&&) noexcept = default;

HttpRequest& HttpParser::request() {
  return state_->parser.request;
}
bool HttpParser::keep_alive() const {
  return state_->parser.is_header_done() && state_->parser.keep_alive();
}
int HttpParser::status() const {
  return state_->status;
}
const std::string& HttpParser::reason() const {
  return state_->reason;
}
bool HttpParser::expects_continue() const {
  return state_->parser.request.version >= 11 && state_->parser.request.Has("expect");
}

void HttpParser::SetMaxBody(std::size_t bytes) {
  state_->parser.max_body = bytes;
  const auto announced = state_->parser.content_length();
  if (announced) {
    if (*announced > bytes) {
      state_->parser.too_large = true;
    } else {
      // What comes may never be as much as was announced: no more room than for a part.
      state_->parser.request.body.reserve(
          std::min(static_cast<std::size_t>(*announced), std::size_t{1} << 20));
    }
  }
}

HttpParser::Progress HttpParser::Fail(int status, std::string reason) {
  state_->status = status;
  state_->reason = std::move(reason);
  return Progress::kFailed;
}

HttpParser::Progress HttpParser::Parse(std::string_view& input) {
  return state_->parser.head_done ? ParseBody(input) : ParseHead(input);
}

HttpParser::Progress HttpParser::ParseHead(std::string_view& input) {
  const char* wrong = nullptr;
  // Two characters back, for an end of line that was cut.
  const std::size_t from = state_->scanned > 2 ? state_->scanned - 2 : 0;
  const std::size_t end = FindHeadEnd(input, from, &wrong);
  if (wrong != nullptr) return Fail(400, wrong);
  if (end == std::string_view::npos || end > kMaxHead) {
    if (input.size() > kMaxHead) return Fail(431, "the head is larger than 32 KiB");
    state_->scanned = input.size();
    return Progress::kMore;
  }
  Collector& parser = state_->parser;
  beast::error_code ec;
  parser.eager(false);
  const std::size_t used = parser.put(boost::asio::const_buffer(input.data(), end), ec);
  if (ec && ec != http::error::need_more) {
    if (ec == http::error::bad_version) return Fail(505, "not HTTP/1.1");
    return Fail(400, ec.message());
  }
  if (!parser.is_header_done() || used != end) return Fail(400, "the head cannot be read");
  input.remove_prefix(used);
  parser.head_done = true;
  parser.eager(true);
  const HttpRequest& request = parser.request;
  std::size_t hosts = 0, lengths = 0, encodings = 0;
  for (const Header& header : request.headers) {
    hosts += header.name == "host" ? 1u : 0u;
    lengths += header.name == "content-length" ? 1u : 0u;
    if (header.name != "transfer-encoding") continue;
    ++encodings;
    if (Lower(header.value) != "chunked") return Fail(501, "a Transfer-Encoding but chunked");
  }
  if (request.version != 10 && request.version != 11) return Fail(505, "not HTTP/1.1");
  if (encodings > 0 && (lengths > 0 || request.version < 11))
    return Fail(400, "Transfer-Encoding beside Content-Length, or in HTTP/1.0");
  if (lengths > 1 || encodings > 1) return Fail(400, "a repeated length");
  if (lengths == 1 &&
      request.Get("content-length").find_first_not_of("0123456789") != std::string_view::npos)
    return Fail(400, "Content-Length is not a number");
  if (hosts > 1 || (hosts == 0 && request.version >= 11))
    return Fail(400, "no or two Host headers");
  if (request.headers.size() > kMaxHeaders) return Fail(431, "more than 100 headers");
  if (request.target.size() > kMaxTarget) return Fail(414, "a target of more than 8 KiB");
  if (request.target.empty() || request.target[0] != '/') return Fail(400, "the target is no path");
  const std::string_view expect = request.Get("expect");
  if (!expect.empty() && Lower(expect) != "100-continue") return Fail(417, "unknown expectation");
  return Progress::kHead;
}

HttpParser::Progress HttpParser::ParseBody(std::string_view& input) {
  Collector& parser = state_->parser;
  if (parser.too_large) return Fail(413, "the body is too large");
  while (!parser.is_done()) {
    if (input.empty()) return Progress::kMore;
    beast::error_code ec;
    const std::size_t used = parser.put(boost::asio::const_buffer(input.data(), input.size()), ec);
    input.remove_prefix(used);
    if (parser.too_large) return Fail(413, "the body is too large");
    if (ec == http::error::need_more) {
      // Only the line of a chunk's size, or trailers, have to be there as a whole.
      if (parser.chunked() && input.size() > kMaxChunkLine && used == 0)
        return Fail(400, "a chunk's line, or trailers, of more than 4 KiB");
      if (used == 0 || input.empty()) return Progress::kMore;
      continue;
    }
    if (ec) return Fail(400, ec.message());
  }
  return Progress::kDone;
}

}  // namespace spore::gateway
