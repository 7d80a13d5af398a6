// What an instance writes to stdout and stderr: cut into lines, kept up to a budget for each
// invocation, thrown away beyond it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/history/log_store.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// Lets a sandbox open /dev/stdout and /dev/stderr, which are links to an anonymous pipe.
Result<> LetReopenForWriting(int pipe);

class OutputCapture {
 public:
  // A line of the instance, or Spore's own remark that the rest is cut off (SYSTEM).
  using Emit = std::function<void(v1::LogLine::Stream stream, std::string_view line)>;
  struct Pipes {
    UniqueFd stdout_write;
    UniqueFd stderr_write;
  };

  OutputCapture(EventLoop& loop, Emit emit);
  ~OutputCapture();
  OutputCapture(const OutputCapture&) = delete;
  OutputCapture& operator=(const OutputCapture&) = delete;

  // Makes the pipes and starts reading; the caller passes the write ends on.
  Result<Pipes> Open();
  void BeginInvocation(uint64_t budget_bytes);
  // Reads what is there now, so that it comes before the line that is written next. Bounded.
  void Drain();
  // Drains and hands out lines without an end.
  void Finish();

 private:
  struct Source {
    UniqueFd fd;
    v1::LogLine::Stream stream = v1::LogLine::STDOUT;
    std::unique_ptr<LineSplitter> lines;
    std::unique_ptr<EventLoop::Watch> watch;
    bool again = false;  // a further read is already scheduled
  };
  void Read(Source& source);
  bool ReadOnce(Source& source, size_t& allowance);
  void Take(Source& source, std::string_view bytes);
  bool DiscardFrom(Source& source);
  void Discard();

  EventLoop& loop_;
  Emit emit_;
  std::array<Source, 2> sources_;
  uint64_t budget_ = 0;  // bytes still kept of this invocation
  bool cut_ = false;
  UniqueFd null_;
  EventLoop::TimerId discard_timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
