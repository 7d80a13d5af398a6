#include "zygote/hosts/provided/http_request.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace spore {
namespace {

// The header with a cause for tracing may have a megabyte.
constexpr size_t kMaxHead = 2u << 20;
constexpr size_t kMaxChunkLine = 1024;

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || kMarks.find(static_cast<char>(c)) != kMarks.npos);
  });
}

bool IsFieldText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c == '\t' || (c >= ' ' && c != 0x7f); });
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// All of `text`, in digits only.
bool ParseWhole(std::string_view text, int base, uint64_t& number) {
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number, base);
  return !text.empty() && parsed.ec == std::errc{} && parsed.ptr == end;
}

}  // namespace

std::string_view HttpRequest::Field(std::string_view name) const {
  for (const auto& [field, value] : fields)
    if (field == name) return value;
  return {};
}

void HttpParser::Reset() {
  *this = HttpParser(max_body_);
}

HttpParser::Status HttpParser::Bad(int status, std::string problem) {
  problem_status_ = status;
  problem_ = std::move(problem);
  return Status::kBad;
}

bool HttpParser::TakeLine(std::string_view& data, std::string* line) {
  const size_t end = data.find('\n');
  const size_t part = end == data.npos ? data.size() : end + 1;
  head_bytes_ += part;
  line_.append(data.substr(0, part));
  data.remove_prefix(part);
  if (end == data.npos) return false;
  *line = std::move(line_);
  line_.clear();
  return true;
}

HttpParser::Status HttpParser::Feed(std::string_view& data) {
  while (true) {
    Status status = Status::kMore;
    switch (part_) {
      case Part::kHead:
        status = TakeHead(data);
        break;
      case Part::kBody:
      case Part::kChunk:
        status = TakeBody(data);
        break;
      case Part::kChunkSize:
      case Part::kChunkEnd:
        status = TakeChunkSize(data);
        break;
      case Part::kTrailers:
        status = TakeTrailers(data);
        break;
      case Part::kDone:
        return Status::kRequest;
    }
    if (status != Status::kMore) return status;
    if (data.empty() && part_ != Part::kDone) return Status::kMore;
  }
}

HttpParser::Status HttpParser::TakeHead(std::string_view& data) {
  std::string text;
  const bool whole = TakeLine(data, &text);
  if (head_bytes_ > kMaxHead) return Bad(431, "the head of the request is too large");
  if (!whole) return Status::kMore;
  if (!text.ends_with("\r\n")) return Bad(400, "a line does not end in CR LF");
  const std::string_view line = std::string_view(text).substr(0, text.size() - 2);
  if (line.empty()) return has_line_ ? HeadEnded() : Status::kMore;  // RFC 9112, 2.2
  if (has_line_) return ParseField(line);
  has_line_ = true;
  return ParseRequestLine(line);
}

HttpParser::Status HttpParser::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return Bad(400, "no request line");
  const std::string_view version = line.substr(last + 1);
  std::string_view target = line.substr(first + 1, last - first - 1);
  request_.method = line.substr(0, first);
  if (!IsToken(request_.method)) return Bad(400, "no method in the request line");
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return Bad(version.starts_with("HTTP/") ? 505 : 400, "expected HTTP/1.1");
  http_1_0_ = version == "HTTP/1.0";
  request_.keep_alive = !http_1_0_;
  if (target.starts_with("http://")) {  // as to a proxy
    target.remove_prefix(7);
    target.remove_prefix(std::min(target.find('/'), target.size()));
  }
  if (!target.starts_with('/') || target.find(' ') != target.npos || !IsFieldText(target))
    return Bad(400, "no path in the request line");
  request_.path = target.substr(0, target.find('?'));
  return Status::kMore;
}

HttpParser::Status HttpParser::ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos || !IsToken(line.substr(0, colon)))
    return Bad(400, "a line of the head is no field");
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!IsFieldText(value)) return Bad(400, "a field has a control character");
  request_.fields.emplace_back(Lower(line.substr(0, colon)), value);
  return Status::kMore;
}

HttpParser::Status HttpParser::HeadEnded() {
  const std::string connection = Lower(request_.Field("connection"));
  if (connection.find("close") != connection.npos) request_.keep_alive = false;
  if (const Status status = Frame(); status != Status::kMore) return status;
  if (part_ == Part::kDone || Lower(request_.Field("expect")) != "100-continue")
    return Status::kMore;
  request_.may_forgo = true;
  return Status::kContinue;
}

// How long the body is (RFC 9112, 6.3).
HttpParser::Status HttpParser::Frame() {
  std::string coding, length;
  size_t codings = 0;
  for (const auto& [name, value] : request_.fields) {
    if (name == "transfer-encoding") {
      coding = Lower(value);
      ++codings;
    }
    if (name != "content-length") continue;
    if (!length.empty() && length != value) return Bad(400, "two lengths of one body");
    length = value;
  }
  if (codings != 0) {
    if (!length.empty() || http_1_0_ || codings > 1)
      return Bad(400, "a body whose length is told in two ways");
    if (coding != "chunked") return Bad(501, "a transfer coding other than chunked");
    part_ = Part::kChunkSize;
    return Status::kMore;
  }
  left_ = 0;
  if (!length.empty() && !ParseWhole(length, 10, left_)) return Bad(400, "no length of the body");
  part_ = left_ == 0 ? Part::kDone : Part::kBody;
  if (left_ > max_body_) {
    request_.too_large = true;
  } else {
    request_.body.reserve(left_);
  }
  return Status::kMore;
}

void HttpParser::Append(std::string_view data) {
  body_bytes_ += data.size();
  if (body_bytes_ > max_body_) request_.too_large = true;
  if (!request_.too_large) {
    request_.body.append(data);
  } else if (!request_.body.empty()) {
    request_.body = {};
  }
}

HttpParser::Status HttpParser::TakeBody(std::string_view& data) {
  const size_t part = std::min<uint64_t>(left_, data.size());
  Append(data.substr(0, part));
  data.remove_prefix(part);
  left_ -= part;
  if (left_ == 0) part_ = part_ == Part::kBody ? Part::kDone : Part::kChunkEnd;
  return Status::kMore;
}

HttpParser::Status HttpParser::TakeChunkSize(std::string_view& data) {
  std::string text;
  const bool whole = TakeLine(data, &text);
  if (std::max(text.size(), line_.size()) > kMaxChunkLine)
    return Bad(400, "the line before a chunk is too long");
  if (!whole) return Status::kMore;
  head_bytes_ = 0;
  if (!text.ends_with("\r\n")) return Bad(400, "a line does not end in CR LF");
  std::string_view line = std::string_view(text).substr(0, text.size() - 2);
  if (part_ == Part::kChunkEnd) {
    if (!line.empty()) return Bad(400, "a chunk is longer than it says");
    part_ = Part::kChunkSize;
    return Status::kMore;
  }
  line = Trim(line.substr(0, line.find(';')));
  if (!ParseWhole(line, 16, left_)) return Bad(400, "no size before a chunk");
  part_ = left_ == 0 ? Part::kTrailers : Part::kChunk;
  return Status::kMore;
}

HttpParser::Status HttpParser::TakeTrailers(std::string_view& data) {
  std::string text;
  const bool whole = TakeLine(data, &text);
  if (head_bytes_ > kMaxHead) return Bad(431, "the trailers of the request are too large");
  if (!whole) return Status::kMore;
  if (!text.ends_with("\r\n")) return Bad(400, "a line does not end in CR LF");
  const std::string_view line = std::string_view(text).substr(0, text.size() - 2);
  if (!line.empty()) return ParseField(line);
  part_ = Part::kDone;
  return Status::kMore;
}

}  // namespace spore
