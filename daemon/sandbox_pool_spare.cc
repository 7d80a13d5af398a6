// Spare sandboxes: what they keep, and how they become ready ones.
#include <sys/socket.h>

#include <utility>

#include "daemon/log.h"
#include "daemon/pidfd.h"
#include "daemon/sandbox_pool.h"

namespace spore {
namespace {

// One after another, and a pause after each: nobody waits for them.
constexpr auto kSpareDelay = std::chrono::milliseconds(2);
constexpr size_t kMaxSpareAtOnce = 2;

}  // namespace

void SandboxPool::FillSpareSoon() {
  if (retired_ || spare_timer_ != 0 || spare_.size() + making_spare_ >= options_.spare) return;
  spare_timer_ = loop_.AddTimer(kSpareDelay, [this] {
    spare_timer_ = 0;
    FillSpare();
  });
}

void SandboxPool::FillSpare() {
  // Whoever waits for a ready one comes first; its making ends in Fill, and that comes here.
  if (!waiting_.empty() || ready_.size() < options_.least || refill_timer_ != 0) return;
  while (!retired_ && spare_.size() + making_spare_ < options_.spare &&
         making_spare_ < kMaxSpareAtOnce && refill_timer_ == 0) {
    MakeOne(/*spare=*/true);
  }
}

// Thousands may rest: each keeps one descriptor, its channel. It can be killed by its cgroup, and
// its process be found again by its pid.
void SandboxPool::Rest(Sandbox& sandbox) {
  sandbox.cgroup.Settle();
  sandbox.runtime_host_pid = PidOf(sandbox.runtime_pidfd);
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
  while (!spare_.empty()) {
    std::unique_ptr<Sandbox> sandbox = std::move(spare_.back());
    spare_.pop_back();
    if (Rouse(*sandbox)) return sandbox;
    Dispose(std::move(sandbox), [](const Gone&) {});
  }
  return nullptr;
}

// Has a spare one warm up, and counts it as ready: whoever takes it meanwhile waits for the rest.
bool SandboxPool::WarmSpare() {
  std::unique_ptr<Sandbox> sandbox = TakeSpare();
  if (!sandbox) return false;
  const wire::FrameHeader order{wire::FrameType::kWarmUp, 0, 0};
  const ssize_t sent =
      send(sandbox->channel.get(), &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != sizeof order) {  // nobody is there any more
    Dispose(std::move(sandbox), [](const Gone&) {});
    return false;
  }
  Deliver(std::move(sandbox));
  return true;
}

}  // namespace spore
