#include "daemon/rpc/rpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/rpc/rpc_connection.h"

namespace spore {
namespace {

Result<Peer> ReadPeer(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return SysError("getsockopt SO_PEERCRED");
  }
  Peer peer{.uid = credentials.uid, .gid = credentials.gid, .pid = credentials.pid, .groups = {}};
  peer.groups.resize(32);
  while (true) {
    length = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &length) == 0) break;
    // ERANGE: `length` now says how much is needed (socket(7)).
    if (errno != ERANGE || length <= peer.groups.size() * sizeof(gid_t)) {
      return SysError("getsockopt SO_PEERGROUPS");
    }
    peer.groups.resize(length / sizeof(gid_t));
  }
  peer.groups.resize(length / sizeof(gid_t));
  return peer;
}

class Server : public RpcServer {
 public:
  Server(EventLoop& loop, const Options& options)
      : shared_(std::make_shared<RpcShared>(RpcShared{loop, options, {}, false, 0})) {}

  ~Server() override {
    accept_watch_.reset();
    for (auto& [id, connection] : connections_) connection->Abandon();
  }

  void Register(std::string_view service, std::string_view method, Method prepare) override {
    shared_->services[std::string(service)][std::string(method)] = std::move(prepare);
  }

  Result<> Listen(UniqueFd listening) override {
    int value = 0;
    socklen_t length = sizeof(value);
    if (getsockopt(listening.get(), SOL_SOCKET, SO_ACCEPTCONN, &value, &length) != 0) {
      return SysError("getsockopt SO_ACCEPTCONN");
    }
    if (value == 0) return MakeError(ErrorKind::kInvalid, "the socket does not listen");
    listening_ = std::move(listening);
    accept_watch_ = shared_->loop.Accept(listening_.get(),
                                         [this](UniqueFd socket) { Accepted(std::move(socket)); });
    return {};
  }

  void Drain() override {
    shared_->draining = true;
    accept_watch_.reset();
    listening_.Reset();
  }

  size_t calls_in_progress() const override { return shared_->calls; }
  size_t connections() const override { return connections_.size(); }

 private:
  void Accepted(UniqueFd socket) {
    auto peer = ReadPeer(socket.get());
    if (!peer) return;  // it is gone already
    const Options& options = shared_->options;
    const uid_t uid = peer->uid;
    size_t& of_uid = per_uid_[uid];
    if (connections_.size() >= options.max_connections ||
        (uid != 0 && of_uid >= options.max_connections_per_uid)) {
      if (of_uid == 0) per_uid_.erase(uid);
      // Answers the first call that a client makes, whose stream is 1.
      const std::string frame = ErrorFrame(1, static_cast<int>(RpcCode::kResourceExhausted),
                                           "too many connections to spored");
      (void)send(socket.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      CloseAside(std::move(socket));  // it may hold descriptors that nobody has received
      return;
    }
    ++of_uid;
    const uint64_t id = ++last_connection_;
    auto connection = std::make_shared<RpcConnection>(shared_, std::move(*peer),
                                                      [this, id, uid] { Closed(id, uid); });
    connections_.emplace(id, connection);
    connection->Start(std::move(socket));
  }

  void Closed(uint64_t id, uid_t uid) {
    connections_.erase(id);
    if (auto found = per_uid_.find(uid); found != per_uid_.end() && --found->second == 0) {
      per_uid_.erase(found);
    }
  }

  std::shared_ptr<RpcShared> shared_;
  UniqueFd listening_;
  std::unique_ptr<EventLoop::Watch> accept_watch_;
  uint64_t last_connection_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<RpcConnection>> connections_;
  std::unordered_map<uid_t, size_t> per_uid_;
};

}  // namespace

std::unique_ptr<RpcServer> RpcServer::Create(EventLoop& loop, const Options& options) {
  // protobuf writes a line to stderr for each malformed message: clients could fill our log.
  google::protobuf::SetLogHandler(nullptr);
  return std::make_unique<Server>(loop, options);
}

}  // namespace spore
