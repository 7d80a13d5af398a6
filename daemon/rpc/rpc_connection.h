// One client of the RPC server. Inner header of the RPC server.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/rpc/rpc_frame.h"
#include "daemon/rpc/rpc_server.h"

namespace spore {

// Codes of google.rpc.Status that have no ErrorKind.
enum class RpcCode : int {
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kResourceExhausted = 8,
  kUnimplemented = 12,
};
// The code that spore.proto gives to an error's kind.
int RpcCodeOf(ErrorKind kind);

// Whole frames, header included.
std::string ErrorFrame(uint32_t stream_id, int code, const std::string& message);
std::string ResponseFrame(uint32_t stream_id, const google::protobuf::MessageLite& response);

// What all connections of a server share.
struct RpcShared {
  EventLoop& loop;
  RpcServer::Options options;
  std::map<std::string, std::map<std::string, RpcServer::Method, std::less<>>, std::less<>>
      services;
  bool draining = false;
  size_t calls = 0;  // started and not yet finished
};

class RpcCall;

class RpcConnection : public std::enable_shared_from_this<RpcConnection> {
 public:
  // `on_closed` runs once, when the connection has come to its end by itself.
  RpcConnection(std::shared_ptr<RpcShared> shared, Peer peer, std::function<void()> on_closed);
  void Start(UniqueFd socket);
  // Ends it without telling anybody: the server goes away.
  void Abandon();

  const Peer& peer() const { return peer_; }
  void Send(std::string frame, std::vector<UniqueFd> fds);
  void Forget(uint32_t stream_id) { calls_.erase(stream_id); }

 private:
  struct PendingFd {
    ClientFd fd;
    uint64_t end;  // offset behind the bytes it came with
  };
  enum class Fds { kCounted, kUnknown };  // whether a frame's descriptors are accounted for

  void OnData(std::span<const std::byte> data, std::vector<UniqueFd> fds);
  void OnFrame(const RpcFrameReader::Frame& frame);
  Fds Handle(const RpcFrameReader::Frame& frame);
  Fds HandleRequest(const RpcFrameReader::Frame& frame);
  void CancelCall(uint32_t stream_id, const std::string& request);
  // `end`: of the frame. What came up to there is not of a later one.
  Result<std::vector<ClientFd>> ClaimFds(const FdNeed& need, uint64_t end);
  void DropFdsBefore(uint64_t offset);
  void Refuse(uint32_t stream_id, RpcCode code, const std::string& message);
  void Close();

  std::shared_ptr<RpcShared> shared_;
  Peer peer_;
  std::function<void()> on_closed_;
  std::unique_ptr<EventLoop::Stream> stream_;  // null once closed
  RpcFrameReader reader_;
  uint64_t received_ = 0;
  std::deque<PendingFd> pending_fds_;
  uint32_t last_stream_id_ = 0;
  std::unordered_map<uint32_t, std::weak_ptr<RpcCall>> calls_;
};

class RpcCall : public Call {
 public:
  RpcCall(std::shared_ptr<RpcShared> shared, std::weak_ptr<RpcConnection> connection, Peer peer,
          uint32_t stream_id, std::vector<ClientFd> fds);
  ~RpcCall() override;

  const Peer& peer() const override { return peer_; }
  uint64_t received_ns() const override { return received_ns_; }
  std::vector<ClientFd> TakeFds() override { return std::move(fds_); }
  void Reply(const google::protobuf::MessageLite& response, std::vector<UniqueFd> fds) override;
  void Fail(const Error& error) override;
  void OnCancel(std::function<void()> cancelled) override;
  bool cancelled() const override { return cancelled_; }

  // The client is gone, or waits no longer.
  void Cancel();
  void StartTimeout(std::chrono::nanoseconds timeout, const std::shared_ptr<RpcCall>& self);

 private:
  bool Finish();  // false when it was finished already
  void Answer(std::string frame, std::vector<UniqueFd> fds);

  std::shared_ptr<RpcShared> shared_;
  std::weak_ptr<RpcConnection> connection_;
  Peer peer_;
  uint32_t stream_id_;
  uint64_t received_ns_;
  std::vector<ClientFd> fds_;
  std::function<void()> on_cancel_;
  EventLoop::TimerId timeout_ = 0;  // ids start at 1
  bool finished_ = false;
  bool cancelled_ = false;
};

}  // namespace spore
