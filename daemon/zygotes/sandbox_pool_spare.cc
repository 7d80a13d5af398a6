// Spare sandboxes: what they keep, and how they become ready ones.
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/pidfd.h"
#include "daemon/zygotes/sandbox_pool.h"
#include "sandbox/sys/fd_message.h"

namespace spore {
namespace {

// One after another, and a pause after each: nobody waits for them.
constexpr auto kSpareDelay = std::chrono::milliseconds(2);
constexpr size_t kMaxSpareAtOnce = 2;
// So many are complete at least: a burst of one after another should find none that is not.
constexpr uint32_t kLeastComplete = 16;

// Neither blocks: nothing has been sent to it before.
Result<> Tell(const Sandbox& sandbox, wire::FrameType type, std::span<const int> fds = {}) {
  return SendStruct(sandbox.channel.get(), wire::FrameHeader{type, 0, 0}, fds);
}

}  // namespace

size_t SandboxPool::CompleteTarget() const {
  return std::min(options_.spare, std::max(kLeastComplete, demand_.Peak(MonotonicNs())));
}

// Where a sandbox's processes enter the v1 hierarchies: bare ones have a place for all of them.
Result<const std::vector<UniqueFd>*> SandboxPool::EntriesOf(const Sandbox& sandbox) {
  if (!sandbox.cgroup.bare()) return &sandbox.cgroup.v1_procs();
  if (!bare_place_) {
    const std::string name = "bare-" + std::to_string(sandbox.id);
    SPORE_ASSIGN(bare_place_, cgroups_.Create(options_.group, name, {}));
  }
  return &bare_place_->v1_procs();
}

void SandboxPool::FillSpareSoon() {
  const bool enough = spare() + making_spare_ >= options_.spare &&
                      (bare_.empty() || spare_.size() >= CompleteTarget());
  if (retired_ || spare_timer_ != 0 || enough) return;
  spare_timer_ = loop_.AddTimer(kSpareDelay, [this] {
    spare_timer_ = 0;
    FillSpare();
  });
}

void SandboxPool::FillSpare() {
  // Whoever waits for a ready one comes first; its making ends in Fill, and that comes here.
  if (!waiting_.empty() || ready_.size() < options_.least || refill_timer_ != 0) return;
  for (size_t i = 0; i < kMaxSpareAtOnce && spare_.size() < CompleteTarget(); ++i) {
    std::unique_ptr<Sandbox> sandbox = CompleteOne();
    if (!sandbox) break;
    spare_.push_back(std::move(sandbox));
  }
  while (!retired_ && spare() + making_spare_ < options_.spare && making_spare_ < kMaxSpareAtOnce &&
         refill_timer_ == 0) {
    MakeOne(/*spare=*/true);
  }
  if (making_spare_ == 0) FillSpareSoon();
}

std::unique_ptr<Sandbox> SandboxPool::CompleteOne() {
  while (!bare_.empty()) {
    std::unique_ptr<Sandbox> sandbox = std::move(bare_.back());
    bare_.pop_back();
    const Result<> complete = Complete(*sandbox);
    if (complete) return sandbox;
    Log(LogLevel::kWarning,
        "image " + options_.group + ": complete a spare sandbox: " + complete.error().Message(),
        {{"SPORE_IMAGE", options_.group}});
    Dispose(std::move(sandbox), [](const Gone&) {});
  }
  return nullptr;
}

// Gives a bare one what it lacks, before it is anybody's. Its process enters its cgroups itself, as
// it may be on its way into those of the bare ones still. It takes no other order before this one.
Result<> SandboxPool::Complete(Sandbox& sandbox) {
  const std::string name = "s" + std::to_string(sandbox.id);
  std::vector<int> entries;
  if (sandbox.cgroup.bare()) {
    if (!OpenPidfd(sandbox.init_host_pid, name))
      return MakeError(ErrorKind::kUnavailable, "it has ended");
    SPORE_TRY(
        cgroups_.Complete(sandbox.cgroup, options_.defaults.limits, {&sandbox.init_host_pid, 1}));
    for (const UniqueFd& tasks : sandbox.cgroup.v1_procs()) entries.push_back(tasks.get());
  }
  SPORE_TRY(Tell(sandbox, wire::FrameType::kComplete, entries));
  sandbox.bare = false;
  sandbox.cgroup.Settle();
  return {};
}

// Thousands may rest: each keeps one descriptor, its channel. It can be killed by its cgroup, and
// its process be found again by its pid.
void SandboxPool::Rest(Sandbox& sandbox) {
  sandbox.cgroup.Settle();
  sandbox.runtime_host_pid = PidOf(sandbox.runtime_pidfd);
  sandbox.init_host_pid = PidOf(sandbox.init_pidfd);
  if (sandbox.runtime_host_pid == 0) return;
  sandbox.runtime_pidfd.Reset();
  if (sandbox.cgroup.kills_at_once()) sandbox.init_pidfd.Reset();
}

// False: it has ended, which will be told.
bool SandboxPool::Rouse(Sandbox& sandbox) {
  if (!sandbox.runtime_pidfd)
    sandbox.runtime_pidfd = OpenPidfd(sandbox.runtime_host_pid, "s" + std::to_string(sandbox.id));
  sandbox.spare = false;
  return static_cast<bool>(sandbox.runtime_pidfd);
}

std::unique_ptr<Sandbox> SandboxPool::TakeSpare() {
  for (;;) {
    std::unique_ptr<Sandbox> sandbox;
    if (spare_.empty()) {
      sandbox = CompleteOne();
    } else {
      sandbox = std::move(spare_.back());
      spare_.pop_back();
    }
    if (!sandbox || Rouse(*sandbox)) return sandbox;
    Dispose(std::move(sandbox), [](const Gone&) {});
  }
}

// Has a spare one warm up, and counts it as ready: whoever takes it meanwhile waits for the rest.
bool SandboxPool::WarmSpare() {
  std::unique_ptr<Sandbox> sandbox = TakeSpare();
  if (!sandbox) return false;
  if (!Tell(*sandbox, wire::FrameType::kWarmUp)) {  // nobody is there any more
    Dispose(std::move(sandbox), [](const Gone&) {});
    return false;
  }
  Deliver(std::move(sandbox));
  return true;
}

}  // namespace spore
