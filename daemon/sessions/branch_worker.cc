#include "daemon/sessions/branch_worker.h"

#include <algorithm>
#include <utility>

namespace spore {
namespace {

constexpr std::chrono::seconds kLimit{60};

// Each with a NUL behind it.
std::string WordsOf(const BranchWorker::Order& order) {
  std::string words;
  const auto add = [&](const std::string& word) { words.append(word).push_back('\0'); };
  add("interpreter=" + std::to_string(order.interpreter));
  add("cgroup=" + order.cgroup);
  if (order.running) add("running");
  if (order.alone) add("alone");
  for (const BranchWorker::Target& target : order.targets) {
    add("target=" + std::to_string(target.uid));
    for (const std::string& cgroup : target.cgroups) add("enter=" + cgroup);
  }
  return words;
}

}  // namespace

Result<std::unique_ptr<BranchWorker>> BranchWorker::Start(EventLoop& loop,
                                                          std::function<void()> on_lost) {
  static_assert(wire::kBranchChannelFd == 3);
  std::unique_ptr<BranchWorker> branch(new BranchWorker(std::move(on_lost)));
  BranchWorker* const self = branch.get();
  SPORE_ASSIGN(branch->worker_,
               SessionWorker::Start(
                   loop, {.arguments = {"branch"}, .passed = {}, .limit = std::chrono::seconds(0)},
                   {.on_packet = [self](Packet& packet) { self->OnPacket(packet); },
                    .on_late =
                        [self] {
                          self->Tell(MakeError(ErrorKind::kOverloaded,
                                               "it could not be copied within 60 s"));
                        },
                    .on_closed =
                        [self] {
                          self->Tell(MakeError(ErrorKind::kInternal,
                                               "the process that branches sessions has ended"));
                        },
                    .on_ended = [self] { self->OnEnded(); }}));
  return branch;
}

Result<> BranchWorker::Begin(const Order& order, Handlers handlers) {
  const std::string words = WordsOf(order);
  if (words.size() > wire::kMaxBranchOrder)
    return MakeError(ErrorKind::kInternal, "the order for a branch is too long");
  std::vector<int> passed{order.source_pidfd};
  for (const Target& target : order.targets) passed.push_back(target.agent_pidfd);
  SPORE_TRY(worker_->SendBytes(std::as_bytes(std::span(words)), passed));
  worker_->Limit(kLimit);
  handlers_ = std::move(handlers);
  begun_ = true;
  return {};
}

void BranchWorker::TellInterpreters(std::span<const int32_t> numbers) {
  wire::BranchInterpreters message;
  std::copy(numbers.begin(), numbers.end(), message.number);
  worker_->Send(message);
}

void BranchWorker::Tell(Result<wire::BranchDone> done) {
  if (begun_ && !std::exchange(told_, true)) handlers_.on_done(std::move(done));
}

void BranchWorker::OnEnded() {
  const auto told = begun_ ? handlers_.on_ended : on_lost_;
  told();  // the last, as this may be destroyed there
}

void BranchWorker::OnPacket(const Packet& packet) {
  wire::BranchReady ready;
  wire::BranchDone done;
  if (packet.CopyTo(ready)) return handlers_.on_ready();
  if (!packet.CopyTo(done)) return Terminate();
  if (done.error[0] == '\0') return Tell(done);
  done.error[sizeof done.error - 1] = '\0';
  const auto kind = std::min(done.error_kind, static_cast<uint32_t>(ErrorKind::kUnavailable));
  Tell(MakeError(static_cast<ErrorKind>(kind), done.error));
}

}  // namespace spore
