// Carries bytes between this process's standard descriptors and the pipes of a run.
#pragma once

#include <poll.h>

#include <string>

#include "tools/client/fd.h"

namespace spore::cli {

// One direction, with a bounded buffer: nothing is read before what was read has been written.
class Pump {
 public:
  enum class Side {
    kToScript,    // from a foreign descriptor into a pipe of ours
    kFromScript,  // from a pipe of ours into a foreign descriptor
  };
  // `ours` is our end of the pipe and becomes non-blocking, or none: then nothing is carried;
  // `foreign` is borrowed and stays as it is, because its open file description may be shared with
  // others.
  Pump(Side side, client::Fd ours, int foreign);

  // What poll(2) should wait for; -1 when there is nothing on that side.
  int PollIn() const { return ended_ || !buffer_.empty() ? -1 : From(); }
  int PollOut() const { return buffer_.empty() ? -1 : To(); }

  void Read();   // after POLLIN, or POLLHUP, on PollIn()
  void Write();  // after POLLOUT, or POLLERR, on PollOut()

  // The source has ended and all of it has been written, or nobody reads any more.
  bool done() const { return ended_ && buffer_.empty(); }
  bool has_buffered() const { return !buffer_.empty(); }
  // Why the foreign side could not be written (errno), but for EPIPE; else 0.
  int write_error() const { return write_error_; }

 private:
  int From() const { return side_ == Side::kToScript ? foreign_ : ours_.get(); }
  int To() const { return side_ == Side::kToScript ? ours_.get() : foreign_; }
  void Close();  // drops the buffer and our end, so that the other side notices

  Side side_;
  client::Fd ours_;
  int foreign_;
  bool small_writes_ = false;
  bool ended_ = false;
  int write_error_ = 0;
  std::string buffer_;
};

struct RelayEnd {
  int signal = 0;        // that interrupted us; 0 when the connection has something to read
  int output_error = 0;  // errno of stdout or stderr, when output was lost
};

class Relay {
 public:
  // Our ends of the pipes that the script holds as its stdin (or none), stdout and stderr.
  // `signal_fd` is a signalfd(2) for those signals that end a run; -1 for none.
  Relay(client::Fd stdin_end, client::Fd stdout_end, client::Fd stderr_end, int signal_fd);

  // Until `connection` has something to read (the script has ended) or a signal comes.
  RelayEnd RunUntilAnswer(int connection);
  // What the dead script has left in its pipes. Does not wait for a stranger that still holds one.
  RelayEnd Drain();

 private:
  enum class Wake { kMore, kSignal, kQuiet };
  Wake Step(int connection, int timeout_ms, RelayEnd& end, bool& answered);
  void ServePumps(const pollfd* polled);

  Pump in_;
  Pump out_;
  Pump err_;
  int signal_fd_;
};

}  // namespace spore::cli
