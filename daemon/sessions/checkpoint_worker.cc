#include "daemon/sessions/checkpoint_worker.h"

#include <algorithm>
#include <utility>

namespace spore {
namespace {

constexpr std::chrono::seconds kLimit{150};
constexpr std::chrono::seconds kCriuLimit{60};

template <typename Done>
std::optional<Error> ErrorOf(Done& done) {
  done.error[sizeof done.error - 1] = '\0';
  if (done.error[0] == '\0') return std::nullopt;
  const auto kind = std::min(done.error_kind, static_cast<uint32_t>(ErrorKind::kUnavailable));
  return Error{static_cast<ErrorKind>(kind), 0, done.error, {}, {}};
}

}  // namespace

Result<std::unique_ptr<CheckpointWorker>> CheckpointWorker::Start(
    EventLoop& loop, const char* what, const Order& order, std::function<void(Packet&)> on_packet,
    std::function<void(Error)> on_failed, std::function<void()> on_ended) {
  static_assert(wire::kCheckpointChannelFd == 3 && wire::kCheckpointProcessFd == 4 &&
                wire::kCheckpointMountFd == 5 && wire::kCheckpointFolderFd == 6 &&
                wire::kCheckpointCriuFd == 7);
  std::unique_ptr<CheckpointWorker> worker(new CheckpointWorker());
  SessionWorker::Order start{.arguments = order.words,
                             .passed = {order.process, order.mount, order.folder, order.criu},
                             .limit = kLimit};
  start.arguments.push_back("limit-ms=" +
                            std::to_string(std::chrono::milliseconds(kCriuLimit).count()));
  start.arguments.insert(start.arguments.begin(), what);
  const auto fail = [on_failed = std::move(on_failed)](ErrorKind kind, const char* why) {
    on_failed(Error{kind, 0, why, {}, {}});
  };
  SPORE_ASSIGN(
      worker->worker_,
      SessionWorker::Start(
          loop, std::move(start),
          {.on_packet = std::move(on_packet),
           .on_late = [fail] { fail(ErrorKind::kOverloaded, "it was not done within 150 s"); },
           .on_closed =
               [fail] {
                 fail(ErrorKind::kInternal, "the process that works on the session has ended");
               },
           .on_ended = std::move(on_ended)}));
  return worker;
}

Result<std::unique_ptr<CheckpointWorker>> CheckpointWorker::Checkpoint(
    EventLoop& loop, const Order& order, OnDumped on_dumped, std::function<void()> on_ended) {
  auto once = [told = false, on_dumped = std::move(on_dumped)](Dumped dumped) mutable {
    if (!std::exchange(told, true)) on_dumped(std::move(dumped));
  };
  const auto tell = std::make_shared<decltype(once)>(std::move(once));
  return Start(
      loop, "checkpoint", order,
      [tell](Packet& packet) {
        Dumped dumped;
        if (!packet.CopyTo(dumped.done)) return;
        dumped.error = ErrorOf(dumped.done);
        (*tell)(std::move(dumped));
      },
      [tell](Error error) {
        Dumped dumped;
        dumped.error = std::move(error);
        // Nobody knows in the middle of what.
        dumped.done.fate = wire::SessionFate::kLost;
        (*tell)(std::move(dumped));
      },
      std::move(on_ended));
}

Result<std::unique_ptr<CheckpointWorker>> CheckpointWorker::Restore(
    EventLoop& loop, const Order& order, OnRestored on_restored, std::function<void()> on_ended) {
  auto once = [told = false,
               on_restored = std::move(on_restored)](Result<Restored> restored) mutable {
    if (!std::exchange(told, true)) on_restored(std::move(restored));
  };
  const auto tell = std::make_shared<decltype(once)>(std::move(once));
  return Start(
      loop, "restore", order,
      [tell](Packet& packet) {
        Restored restored;
        if (!packet.CopyTo(restored.done)) return;
        if (auto error = ErrorOf(restored.done)) return (*tell)(tl::unexpected(std::move(*error)));
        if (packet.fds.size() != 2) {
          return (*tell)(MakeError(ErrorKind::kOverloaded, "its descriptors did not arrive",
                                   "spored has too many files open"));
        }
        restored.agent = std::move(packet.fds[0]);
        restored.door = std::move(packet.fds[1]);
        (*tell)(std::move(restored));
      },
      [tell](Error error) { (*tell)(tl::unexpected(std::move(error))); }, std::move(on_ended));
}

}  // namespace spore
