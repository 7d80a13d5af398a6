#include "daemon/sessions/session_log.h"

#include <chrono>
#include <utility>
#include <vector>

#include "daemon/common/unix_time.h"

namespace spore {
namespace {

constexpr size_t kMaxBytes = 256u << 10;
constexpr size_t kMaxLine = 16u << 10;
constexpr size_t kLineCost = 64;

}  // namespace

SessionLog::~SessionLog() {
  for (auto& [id, reader] : readers_) loop_.CancelTimer(reader.timer);
}

void SessionLog::Append(v1::LogLine::Stream stream, std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min({text.find('\n'), text.size(), kMaxLine});
    AppendLine(stream, text.substr(0, end));
    text.remove_prefix(end < text.size() && text[end] == '\n' ? end + 1 : end);
  }
  Wake();
}

void SessionLog::AppendLine(v1::LogLine::Stream stream, std::string_view text) {
  v1::LogLine& line = lines_.emplace_back();
  line.set_unix_us(NowUnixMs() * 1000);
  line.set_instance_id(session_);
  line.set_stream(stream);
  line.set_text(std::string(text));
  bytes_ += text.size() + kLineCost;
  while (bytes_ > kMaxBytes) {
    bytes_ -= lines_.front().text().size() + kLineCost;
    lines_.pop_front();
    ++first_;
  }
}

v1::ReadLogsResponse SessionLog::From(uint64_t cursor) const {
  v1::ReadLogsResponse response;
  const uint64_t end = first_ + lines_.size();  // one past the newest
  uint64_t next = cursor + 1;
  if (next < first_) {
    if (cursor != 0) response.set_dropped(first_ - next);
    next = first_;
  }
  for (uint64_t at = next; at < end; ++at) *response.add_lines() = lines_[at - first_];
  response.set_cursor(end - 1);
  return response;
}

uint64_t SessionLog::Read(uint64_t cursor, uint32_t tail, std::chrono::milliseconds wait,
                          Done done) {
  const uint64_t end = first_ + lines_.size();
  if (cursor == 0 && tail != 0 && lines_.size() > tail) cursor = end - 1 - tail;
  if (cursor + 1 < end || wait.count() == 0 || closed_) {
    done(From(cursor));
    return 0;
  }
  const uint64_t id = ++last_reader_;
  const EventLoop::TimerId timer = loop_.AddTimer(wait, [this, id] {
    auto over = readers_.extract(id);
    if (!over.empty()) over.mapped().done(From(over.mapped().cursor));
  });
  readers_[id] = {cursor, std::move(done), timer};
  return id;
}

void SessionLog::CancelRead(uint64_t id) {
  const auto found = readers_.find(id);
  if (found == readers_.end()) return;
  loop_.CancelTimer(found->second.timer);
  readers_.erase(found);
}

void SessionLog::Wake() {
  for (auto& [id, reader] : std::exchange(readers_, {})) {
    loop_.CancelTimer(reader.timer);
    reader.done(From(reader.cursor));
  }
}

void SessionLog::Close() {
  closed_ = true;
  Wake();
}

}  // namespace spore
