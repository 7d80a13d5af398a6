#include "daemon/sessions/branch_worker.h"

#include <algorithm>
#include <utility>

namespace spore {
namespace {

constexpr std::chrono::seconds kLimit{60};

std::vector<std::string> Arguments(const BranchWorker::Order& order) {
  std::vector<std::string> words{"branch", "interpreter=" + std::to_string(order.interpreter),
                                 "cgroup=" + order.cgroup};
  if (order.running) words.emplace_back("running");
  if (order.alone) words.emplace_back("alone");
  for (const BranchWorker::Target& target : order.targets) {
    words.push_back("target=" + std::to_string(target.uid));
    for (const std::string& cgroup : target.cgroups) words.push_back("enter=" + cgroup);
  }
  return words;
}

}  // namespace

Result<std::unique_ptr<BranchWorker>> BranchWorker::Start(EventLoop& loop, const Order& order,
                                                          Handlers handlers) {
  static_assert(wire::kBranchChannelFd == 3 && wire::kBranchSourceFd == 4);
  std::vector<int> passed{order.source_pidfd};
  for (const Target& target : order.targets) passed.push_back(target.agent_pidfd);
  std::unique_ptr<BranchWorker> branch(new BranchWorker(std::move(handlers)));
  BranchWorker* const self = branch.get();
  SPORE_ASSIGN(
      branch->worker_,
      SessionWorker::Start(
          loop, {.arguments = Arguments(order), .passed = std::move(passed), .limit = kLimit},
          {.on_packet = [self](Packet& packet) { self->OnPacket(packet); },
           .on_late =
               [self] {
                 self->Tell(
                     MakeError(ErrorKind::kOverloaded, "it could not be copied within 60 s"));
               },
           .on_closed =
               [self] {
                 self->Tell(MakeError(ErrorKind::kInternal,
                                      "the process that branches sessions has ended"));
               },
           .on_ended = [self] { self->handlers_.on_ended(); }}));
  return branch;
}

void BranchWorker::TellInterpreters(std::span<const int32_t> numbers) {
  wire::BranchInterpreters message;
  std::copy(numbers.begin(), numbers.end(), message.number);
  worker_->Send(message);
}

void BranchWorker::Tell(Result<wire::BranchDone> done) {
  if (!std::exchange(told_, true)) handlers_.on_done(std::move(done));
}

void BranchWorker::OnPacket(const Packet& packet) {
  wire::BranchReady ready;
  wire::BranchDone done;
  if (packet.CopyTo(ready)) return handlers_.on_ready();
  if (!packet.CopyTo(done)) return Kill();
  if (done.error[0] == '\0') return Tell(done);
  done.error[sizeof done.error - 1] = '\0';
  const auto kind = std::min(done.error_kind, static_cast<uint32_t>(ErrorKind::kUnavailable));
  Tell(MakeError(static_cast<ErrorKind>(kind), done.error));
}

}  // namespace spore
