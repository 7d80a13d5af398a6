// What spored asks of the host before it serves: directories, locks, the socket, signals, limits.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// umask 0077, SIGPIPE ignored, as many open files as the hard limit allows.
Result<> PrepareProcess();

// Makes the directory and its parents; the last one gets `mode` when it is new.
Result<> MakeDirectories(const std::string& path, unsigned mode);

// Holds <directory>/spored.lock, which names our pid, until destroyed (or the process has died).
class LockFile {
 public:
  // kPrecondition when another process has it.
  static Result<LockFile> Take(const std::string& directory);

 private:
  explicit LockFile(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// The socket that clients connect to: the one systemd passed (sd_listen_fds(3)), else a new one at
// `path`, mode 0660, of root and `group` (0600 when there is no such group). What lies at `path` is
// replaced only when it is a socket on which nobody answers.
class ListeningSocket {
 public:
  static Result<ListeningSocket> Open(const std::string& path, const std::string& group);
  ~ListeningSocket();  // removes the file if it is still ours
  ListeningSocket(ListeningSocket&&) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;

  UniqueFd TakeFd() { return std::move(fd_); }
  bool passed_by_systemd() const { return path_.empty(); }

 private:
  ListeningSocket() = default;
  UniqueFd fd_;
  std::string path_;  // empty: not ours to remove
  unsigned long device_ = 0;
  unsigned long inode_ = 0;
};

// SIGTERM and SIGINT as calls on the loop. Blocks them for the process: construct it before any
// thread. Children reset their mask.
class StopSignals {
 public:
  static Result<StopSignals> Block();
  // `stop` gets the signal's number.
  void Watch(EventLoop& loop, std::function<void(int)> stop);
  void Unwatch() { watch_.reset(); }

 private:
  UniqueFd fd_;
  std::unique_ptr<EventLoop::Watch> watch_;
};

}  // namespace spore
