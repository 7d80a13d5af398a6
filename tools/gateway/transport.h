// How bytes of a client come and go: as they are, or through TLS.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>

namespace spore::gateway {

class Transport {
 public:
  virtual ~Transport() = default;
  // As recv(2) and send(2) on a non-blocking socket: -1 with EAGAIN when it has to wait for the
  // socket, in whichever direction.
  virtual ssize_t Read(char* buffer, std::size_t size) = 0;
  virtual ssize_t Write(const char* data, std::size_t size) = 0;
  // Says that no more will come, if that can be said at once.
  virtual void EndWriting() = 0;
  // The socket alone says when there is something to read, and a short read has emptied it.
  virtual bool plain() const = 0;
};

// The socket itself, which stays the caller's.
class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(int socket) : socket_(socket) {}
  ssize_t Read(char* buffer, std::size_t size) override { return ::recv(socket_, buffer, size, 0); }
  ssize_t Write(const char* data, std::size_t size) override {
    return ::send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void EndWriting() override {}
  bool plain() const override { return true; }

 private:
  int socket_;
};

}  // namespace spore::gateway
