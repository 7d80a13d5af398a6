// What tenants wrote to stdout and stderr, and Spore's own START/END/REPORT lines, by function.
//
// Bounded: a function keeps at most `function_bytes` (oldest lines go first), in memory and in
// <state>/logs/<name>.log (append; rewritten when it has grown to twice that), so that logs outlive
// a restart. A line is at most 16 KiB; a longer one is split. Loop thread only; disk writes go to
// the blocking lane in batches.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class LogStore {
 public:
  struct Options {
    std::string directory;
    uint64_t function_bytes = 1u << 20;
  };
  static Result<std::unique_ptr<LogStore>> Open(EventLoop& loop, BlockingLane& lane,
                                                const Options& options);
  virtual ~LogStore() = default;

  virtual void Append(const std::string& function, const std::string& instance_id,
                      v1::LogLine::Stream stream, std::string_view line) = 0;
  // Fills lines after the request's cursor; calls `done` at once when there are any, else when the
  // first arrives or wait_ms has passed. Returns an id for CancelRead.
  virtual uint64_t Read(const v1::ReadLogsRequest& request,
                        std::function<void(v1::ReadLogsResponse)> done) = 0;
  virtual void CancelRead(uint64_t id) = 0;
  virtual void Forget(const std::string& function) = 0;  // removed: drop lines and file
};

// Cuts a byte stream into lines for Append. Keeps at most `budget` bytes over its life; what comes
// after is dropped and `cut` becomes true. A last line without end is handed out by Finish.
class LineSplitter {
 public:
  using Emit = std::function<void(std::string_view line)>;
  LineSplitter(uint64_t budget, Emit emit);
  void Feed(std::string_view bytes);
  void Finish();
  void ResetBudget(uint64_t budget);  // at the start of the next invocation
  bool cut() const { return cut_; }

 private:
  uint64_t budget_;
  Emit emit_;
  std::string partial_;
  bool cut_ = false;
};

}  // namespace spore
