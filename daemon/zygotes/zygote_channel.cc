#include "daemon/zygotes/zygote_channel.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace spore {

Error ToError(const wire::Failure& failure, std::string_view doing) {
  std::string text(failure.operation, strnlen(failure.operation, sizeof failure.operation));
  // A module's message may have several lines; an error has one.
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Error{ErrorKind::kInternal, failure.errno_value, text, {}, {}}.Wrap(doing);
}

Error FdsLost(std::string_view whose) {
  return Error{ErrorKind::kOverloaded,
               EMFILE,
               "receive the descriptors of " + std::string(whose),
               {},
               "spored has too many open files for now: try again later, or raise LimitNOFILE"};
}

ZygoteChannel::ZygoteChannel(EventLoop& loop, std::string name, UniqueFd socket, Handlers handlers)
    : loop_(loop),
      name_(std::move(name)),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)),
      socket_(std::make_unique<PacketChannel>(
          loop, std::move(socket),
          PacketChannel::Handlers{[this](Packet& packet) { OnPacket(packet); },
                                  [this](int) { Closed(); }})) {}

ZygoteChannel::~ZygoteChannel() {
  *alive_ = false;
}

template <typename Order>
void ZygoteChannel::Send(const Order& order, uint64_t id, std::span<const int> fds, Done done) {
  if (socket_ == nullptr)
    return done(MakeError(ErrorKind::kUnavailable, "the zygote of " + name_ + " ended"));
  if (auto sent = socket_->SendStruct(order, fds); !sent)
    return done(tl::unexpected(std::move(sent).error().Wrap("ask for a fork")));
  forking_[id] = std::move(done);
}

void ZygoteChannel::Fork(const wire::Fork& request, std::span<const int> fds, Done done) {
  Send(request, request.sandbox_id, fds, std::move(done));
}

void ZygoteChannel::ForkZygote(const wire::ForkZygote& request, int socket, Done done) {
  Send(request, request.zygote_id, std::span(&socket, 1), std::move(done));
}

void ZygoteChannel::OnPacket(Packet& packet) {
  wire::Header header{.type = wire::Type::kForked};
  if (packet.data.size() < sizeof header) return;
  memcpy(&header, packet.data.data(), sizeof header);
  if (header.magic != wire::kMagic) return End("it is of another build");
  if (header.type == wire::Type::kForked) HandleForked(packet);
  if (header.type == wire::Type::kZygoteReady) HandleReady(packet);
}

void ZygoteChannel::HandleReady(Packet& packet) {
  wire::ZygoteReady message;
  if (ready_ || gone_ || !packet.CopyTo(message)) return;
  message.runtime_version[sizeof message.runtime_version - 1] = 0;
  message.flat_note[sizeof message.flat_note - 1] = 0;
  if (message.failure.failed()) {
    explained_ = true;
    return End(ToError(message.failure, "it could not get ready").Message());
  }
  pid_ = message.pid;
  host_pid_ = packet.sender;
  ready_ = true;
  handlers_.on_ready(message);
}

void ZygoteChannel::HandleForked(Packet& packet) {
  Forked forked;
  if (!packet.CopyTo(forked.message)) return;
  const auto found = forking_.find(forked.message.sandbox_id);
  if (found == forking_.end()) return;
  const Done done = std::move(found->second);
  forking_.erase(found);
  if (forked.message.failure.failed())
    return done(tl::unexpected(ToError(forked.message.failure, "fork the zygote")));
  if (packet.fds_lost) return done(tl::unexpected(FdsLost("a forked runtime")));
  if (packet.fds.size() != 1)
    return done(MakeError(ErrorKind::kInternal, "a forked runtime came without its descriptor"));
  forked.pidfd = std::move(packet.fds.front());
  done(std::move(forked));
}

// How it ended is told by the supervisor, on another socket: give that a moment to arrive.
void ZygoteChannel::Closed() {
  loop_.AddTimer(std::chrono::milliseconds(50), [this, alive = alive_] {
    if (*alive) End("it closed its socket");
  });
}

void ZygoteChannel::End(const std::string& reason) {
  if (gone_) return;
  gone_ = true;
  socket_.reset();
  const std::shared_ptr<bool> alive = alive_;
  auto forking = std::exchange(forking_, {});
  for (auto& [id, done] : forking) {
    done(MakeError(ErrorKind::kUnavailable, "the zygote of " + name_ + " ended: " + reason));
  }
  if (*alive) handlers_.on_gone(reason);
}

}  // namespace spore
