// A process that a worker makes for a part of its work, and the channel to it.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

class ChildProcess {
 public:
  // `name` in errors: "a process that restores". `clone` is like fork(2), but gives an error as one
  // of ours. What `live` gives in the child, to which `socket` is the end of the channel, it exits
  // with.
  static Result<ChildProcess> Start(std::string name, const std::function<Result<pid_t>()>& clone,
                                    const std::function<int(int socket)>& live);
  ~ChildProcess() { Kill(); }
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  int socket() const { return socket_.get(); }
  pid_t pid() const { return pid_; }  // 0: it has been waited for

  // One byte, which AwaitWord gives there. False, and errno: it has ended.
  bool Say(char word) const;
  // What it says, with its descriptors. A message has an `error_kind` and an `error`, which is not
  // empty when it tells of one (PutError in zygote/branch/worker_process.h).
  template <typename Message>
  Result<ReceivedFds> Receive(Message& message) const {
    SPORE_ASSIGN(ReceivedMessage received,
                 ReceiveMessage(socket(), std::as_writable_bytes(std::span(&message, 1))));
    if (received.bytes != sizeof message) return HasEnded();
    message.error[sizeof message.error - 1] = '\0';
    if (message.error[0] == '\0') return std::move(received.fds);
    return MakeError(static_cast<ErrorKind>(message.error_kind), message.error);
  }
  tl::unexpected<Error> HasEnded() const;

  // It hears that nobody says anything any more.
  void CloseChannel() { socket_.Reset(); }
  // Waits for its end, gives its status.
  Result<int> Wait();
  // The same, but no longer than that; false: it is still there.
  bool WaitFor(uint64_t limit_ns);
  void Kill();

 private:
  explicit ChildProcess(std::string name) : name_(std::move(name)) {}

  std::string name_;
  UniqueFd socket_;
  pid_t pid_ = 0;
};

// In the child: the next word, or 0 when there will be none.
char AwaitWord(int socket);

}  // namespace spore
