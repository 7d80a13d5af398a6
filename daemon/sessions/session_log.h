// What a session has to tell, in memory and bounded: the oldest lines go first.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "daemon/loop/event_loop.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class SessionLog {
 public:
  using Done = std::function<void(v1::ReadLogsResponse)>;
  SessionLog(EventLoop& loop, std::string session) : loop_(loop), session_(std::move(session)) {}
  ~SessionLog();
  SessionLog(const SessionLog&) = delete;
  SessionLog& operator=(const SessionLog&) = delete;

  void Append(v1::LogLine::Stream stream, std::string_view text);  // cut at line ends
  // As LogStore::Read. Returns an id for CancelRead, or 0.
  uint64_t Read(uint64_t cursor, uint32_t tail, std::chrono::milliseconds wait, Done done);
  void CancelRead(uint64_t id);
  // No more comes: whoever waits is answered.
  void Close();

 private:
  struct Reader {
    uint64_t cursor = 0;
    Done done;
    EventLoop::TimerId timer = 0;
  };
  void AppendLine(v1::LogLine::Stream stream, std::string_view line);
  v1::ReadLogsResponse From(uint64_t cursor) const;
  void Wake();

  EventLoop& loop_;
  std::string session_;
  std::deque<v1::LogLine> lines_;
  size_t bytes_ = 0;
  uint64_t first_ = 1;  // cursors count lines: this is what the oldest line comes after, plus one
  bool closed_ = false;
  uint64_t last_reader_ = 0;
  std::map<uint64_t, Reader> readers_;
};

}  // namespace spore
