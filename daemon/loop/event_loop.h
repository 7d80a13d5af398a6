// The one thread of spored: an io_uring event loop with timers, readiness watches and byte streams.
//
// Everything here belongs to the loop's thread except PostFromThread and BlockingLane::Submit.
// Handlers run to completion and must not block; what blocks goes to a BlockingLane.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// CLOCK_MONOTONIC in nanoseconds.
uint64_t MonotonicNs();

// The thread that first calls Run owns the loop. Streams and watches are destroyed before it.
class EventLoop {
 public:
  struct Options {
    unsigned ring_entries = 1024;
    unsigned buffer_count = 256;  // provided buffers shared by all streams; a power of two
    unsigned buffer_bytes = 16 * 1024;
  };
  static Result<std::unique_ptr<EventLoop>> Create(const Options& options);
  virtual ~EventLoop() = default;

  // Runs `task` after the current handler has returned.
  virtual void Post(std::function<void()> task) = 0;
  // The same from any thread.
  virtual void PostFromThread(std::function<void()> task) = 0;

  // Timers. Resolution is that of the kernel's timers; a cancelled or fired id is never reused.
  using TimerId = uint64_t;
  virtual TimerId AddTimer(std::chrono::nanoseconds delay, std::function<void()> task) = 0;
  virtual void CancelTimer(TimerId id) = 0;

  // Calls `ready` whenever `fd` (borrowed; must outlive the watch) polls readable or hung up. The
  // handler must read until EAGAIN. Destroying the watch stops it; no call comes afterwards.
  class Watch {
   public:
    virtual ~Watch() = default;
  };
  virtual std::unique_ptr<Watch> WatchReadable(int fd, std::function<void()> ready) = 0;

  // A connected stream socket or the read end of a pipe.
  class Stream {
   public:
    struct Handlers {
      // Bytes in the order they came, and the descriptors that came along with them (at the latest
      // with the byte they were sent with). The span is valid during the call only. Destroying
      // the stream inside a handler is allowed.
      std::function<void(std::span<const std::byte> data, std::vector<UniqueFd> fds)> on_data;
      // The peer closed (0) or the stream failed (errno; EMSGSIZE: more descriptors than can be
      // taken). Last call; pending writes are dropped. A failed write is told here too, after
      // what the peer had still sent. While reading is paused, so is this call.
      std::function<void(int errno_value)> on_close;
    };
    virtual ~Stream() = default;  // closes the descriptor; no handler is called afterwards
    // Queues a write; descriptors go with its first byte and are closed once sent. Order is kept.
    // Sockets only; never calls a handler from inside.
    virtual void Write(std::string data, std::vector<UniqueFd> fds = {}) = 0;
    virtual size_t pending_write_bytes() const = 0;
    // Stops and restarts reading (back-pressure).
    virtual void PauseReading() = 0;
    virtual void ResumeReading() = 0;
    virtual int fd() const = 0;
  };
  // `receives_fds`: receive SCM_RIGHTS (sockets only). Pipes are read with plain reads.
  virtual std::unique_ptr<Stream> OpenStream(UniqueFd fd, bool receives_fds,
                                             Stream::Handlers handlers) = 0;

  // Multishot accept on a listening socket (borrowed).
  virtual std::unique_ptr<Watch> Accept(int listen_fd, std::function<void(UniqueFd)> accepted) = 0;

  // Runs until Stop; handlers may call Stop.
  virtual Result<> Run() = 0;
  virtual void Stop() = 0;
};

// One worker thread for what blocks (unpacking, disk sync, removing trees). Jobs run in order;
// `done` runs on the loop's thread. The destructor finishes the running job and drops the rest.
class BlockingLane {
 public:
  explicit BlockingLane(EventLoop& loop);
  ~BlockingLane();
  BlockingLane(const BlockingLane&) = delete;
  BlockingLane& operator=(const BlockingLane&) = delete;
  void Submit(std::function<void()> job, std::function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spore
