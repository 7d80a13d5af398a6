// Closing what a client has passed. The last close of a descriptor may wait as long as its owner
// likes: a TCP socket with SO_LINGER, a file on a FUSE or network file system (close(2), "flush").
// So it is done by threads that have nothing else to do.
#pragma once

#include <utility>

#include "sandbox/sys/unique_fd.h"

namespace spore {

// Whether closing it waits for nobody: a pipe, or a memfd.
bool ClosesAtOnce(int fd);
// Closes at once what can be, else elsewhere. Thread-safe.
void CloseAside(UniqueFd fd);

// A client's descriptor, closed aside.
class ClientFd {
 public:
  ClientFd() = default;
  explicit ClientFd(UniqueFd fd) : fd_(std::move(fd)) {}
  ClientFd(ClientFd&&) noexcept = default;
  ClientFd& operator=(ClientFd&& other) noexcept {
    if (this == &other) return *this;
    CloseAside(std::exchange(fd_, std::move(other.fd_)));
    return *this;
  }
  ClientFd(const ClientFd&) = delete;
  ClientFd& operator=(const ClientFd&) = delete;
  ~ClientFd() { CloseAside(std::move(fd_)); }

  int get() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  // For what ClosesAtOnce.
  UniqueFd Take() { return std::move(fd_); }

 private:
  UniqueFd fd_;
};

}  // namespace spore
