#include "daemon/zygotes/sandbox_pool.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/egress/protocol.h"
#include "daemon/zygotes/channel_ends.h"

namespace spore {
namespace {

// A refill that starts at once takes the CPU from the very fork it follows, so it waits a little
// while enough are left (Android's pool of unspecialised processes does the same).
constexpr auto kRefillDelay = std::chrono::milliseconds(2);
constexpr auto kFailureDelay = std::chrono::milliseconds(200);
constexpr auto kRemovalDelay = std::chrono::milliseconds(10);
// A burst is one while the next request comes within this time.
constexpr uint64_t kBurstGapNs = 10'000'000;
constexpr uint64_t kLongestPutOffNs = 200'000'000;
// So many cgroups of what has ended may wait for a moment in which nobody does: each keeps some
// memory of the kernel's. And so many are removed at once, of a millisecond each or more.
constexpr size_t kMostRemovals = 64;
constexpr size_t kRemovedAtOnce = 4;
constexpr uint32_t kMaxMakingAtOnce = 16;
constexpr auto kShrinkInterval = std::chrono::seconds(1);
constexpr size_t kMaxShrunkAtOnce = 4;
constexpr uint32_t kFailuresUntilError = 3;
constexpr uint64_t kTmpBytesPerInode = 4096;

// Unique while the daemon lives; also the name of the sandbox's cgroup.
uint64_t NextSandboxId() {
  static uint64_t last = 0;
  return ++last;
}

}  // namespace

SandboxPool::SandboxPool(EventLoop& loop, ZygoteLink& link, ZygoteChannel& zygote,
                         CgroupTree& cgroups, UidAllocator& uids, Options options)
    : loop_(loop),
      link_(link),
      zygote_(zygote),
      cgroups_(cgroups),
      uids_(uids),
      options_(std::move(options)),
      alive_(std::make_shared<bool>(true)) {}

SandboxPool::~SandboxPool() {
  *alive_ = false;
  if (refill_timer_ != 0) loop_.CancelTimer(refill_timer_);
  if (removal_timer_ != 0) loop_.CancelTimer(removal_timer_);
  if (shrink_timer_ != 0) loop_.CancelTimer(shrink_timer_);
  if (spare_timer_ != 0) loop_.CancelTimer(spare_timer_);
  for (auto& sandbox : ready_) uids_.Return(sandbox->uid);
  for (auto& sandbox : spare_) uids_.Return(sandbox->uid);
  for (auto& sandbox : bare_) uids_.Return(sandbox->uid);
  for (auto& [id, sandbox] : making_) uids_.Return(sandbox->uid);
  for (auto& [id, ending] : ending_) uids_.Return(ending.sandbox->uid);
}

void SandboxPool::Fill() {
  if (retired_) return;
  const size_t wanted = Target() + waiting_.size();
  while (!retired_ && ready_.size() + making_.size() - making_spare_ < wanted &&
         making_.size() < kMaxMakingAtOnce && refill_timer_ == 0) {
    if (!WarmSpare()) MakeOne(/*spare=*/false);
  }
  FillSpareSoon();
}

void SandboxPool::FillThen(std::function<void()> filled) {
  filled_ = std::move(filled);
  Fill();
  TellIfFilled();
}

// Not at once: the caller is in the middle of something.
void SandboxPool::TellIfFilled() {
  if (!filled_ || ready_.size() < Target()) return;
  loop_.Post([filled = std::exchange(filled_, nullptr), alive = alive_] {
    if (*alive) filled();
  });
}

void SandboxPool::TellIfEmpty() {
  if (retired_ && live() == 0) bare_place_.reset();
  if (!empty_ || live() > 0) return;
  loop_.Post([empty = std::exchange(empty_, nullptr), alive = alive_] {
    if (*alive) empty();
  });
}

void SandboxPool::MakeOne(bool spare) {
  const std::optional<uint32_t> uid = uids_.Take();
  if (!uid) {
    return MakeFailed(
        {ErrorKind::kOverloaded, 0, "all uids of image " + options_.group + " are in use", {}, {}});
  }
  const uint64_t id = NextSandboxId();
  const std::string name = "s" + std::to_string(id);
  auto cgroup = spare ? cgroups_.CreateBare(options_.group, name, options_.defaults.limits)
                      : cgroups_.Create(options_.group, name, options_.defaults.limits);
  if (!cgroup) {
    uids_.Return(*uid);
    return MakeFailed(std::move(cgroup).error());
  }
  std::unique_ptr<Sandbox> sandbox(new Sandbox{.id = id,
                                               .uid = *uid,
                                               .tmp_bytes = options_.defaults.tmp_bytes,
                                               .cgroup = std::move(*cgroup),
                                               .spare = spare,
                                               .bare = spare});
  const auto entries = EntriesOf(*sandbox);
  if (!entries) {
    Release(std::move(sandbox));
    return MakeFailed(entries.error());
  }
  wire::MakeSandbox request;
  request.sandbox_id = id;
  request.uid = *uid;
  request.loopback = options_.defaults.loopback ? 1 : 0;
  request.listen_port = options_.defaults.egress ? egress::kProxyPort : 0;
  request.tmp_bytes = sandbox->tmp_bytes;
  request.tmp_inodes = sandbox->tmp_bytes / kTmpBytesPerInode + 64;
  snprintf(request.hostname, sizeof request.hostname, "sandbox");
  std::vector<int> fds;
  if (sandbox->cgroup.v2_directory() >= 0) {
    request.has_cgroup_v2 = 1;
    fds.push_back(sandbox->cgroup.v2_directory());
  }
  request.bare = spare ? 1 : 0;
  for (const UniqueFd& procs : **entries) {
    fds.push_back(procs.get());
    ++request.cgroup_procs;
  }
  making_[id] = std::move(sandbox);
  if (spare) ++making_spare_;
  link_.MakeSandbox(request, fds, [this, id, alive = alive_](Result<ZygoteLink::Made> made) {
    if (!*alive) return;
    if (!made) {
      Release(ExtractMaking(id));
      return MakeFailed(made.error());
    }
    Made(std::move(*made));
  });
}

void SandboxPool::Made(ZygoteLink::Made made) {
  const auto found = making_.find(made.message.sandbox_id);
  if (found == making_.end()) return;
  Sandbox& sandbox = *found->second;
  sandbox.init_pid = made.message.init_pid;
  sandbox.made_steps = made.message.steps;
  // One handler for its whole life: who has it when it ends is looked up then.
  link_.OnExit(sandbox.init_pid, [this, id = sandbox.id, alive = alive_](const auto& exited) {
    if (*alive) InitEnded(id, exited);
  });
  if (made.lost) {
    // Without its pidfd: by its cgroup. Its uid is free once its end has been told.
    if (auto killed = sandbox.cgroup.Kill(); !killed)
      Log(LogLevel::kError, "image " + options_.group + ": " + killed.error().Message(),
          {{"SPORE_IMAGE", options_.group}});
    return MakeFailed(*made.lost);
  }
  sandbox.init_pidfd = std::move(made.fds.front());
  made.fds.erase(made.fds.begin());
  if (made.message.has_listener != 0 && !made.fds.empty()) {
    sandbox.listener = std::move(made.fds.back());
    made.fds.pop_back();
  }
  if (retired_) {
    Drop(sandbox.id);
    return;
  }
  ForkInto(sandbox, made.message.has_landlock != 0, made.fds);
}

// The descriptors are the zygote's once they are sent; the child enters by them.
void SandboxPool::ForkInto(Sandbox& sandbox, bool has_landlock, const std::vector<UniqueFd>& fds) {
  auto channel = MakeInstanceChannel();
  if (!channel) {
    Drop(sandbox.id);
    return MakeFailed(channel.error());
  }
  wire::Fork request;
  request.sandbox_id = sandbox.id;
  request.uid = sandbox.uid;
  request.has_landlock = has_landlock ? 1 : 0;
  request.spare = sandbox.spare ? 1 : 0;
  request.bare = sandbox.bare ? 1 : 0;
  request.loopback = options_.defaults.loopback ? 1 : 0;
  const auto entries = EntriesOf(sandbox);
  if (!entries) {
    Drop(sandbox.id);
    return MakeFailed(entries.error());
  }
  std::vector<int> sent;
  for (const UniqueFd& fd : fds) sent.push_back(fd.get());
  sent.push_back(channel->theirs.get());
  if (sandbox.cgroup.v2_directory() >= 0) {
    request.has_cgroup_v2 = 1;
    sent.push_back(sandbox.cgroup.v2_directory());
  }
  for (const UniqueFd& procs : **entries) {
    sent.push_back(procs.get());
    ++request.cgroup_procs;
  }
  sandbox.channel = std::move(channel->ours);
  link_.Fork(zygote_, request, sent, [this, id = sandbox.id, alive = alive_](auto forked) {
    if (*alive) Forked(id, std::move(forked));
  });
}

void SandboxPool::Forked(uint64_t id, Result<ZygoteLink::Forked> forked) {
  if (!making_.contains(id)) return;  // its init has ended meanwhile
  if (!forked || retired_) {
    Drop(id);
    if (!forked) MakeFailed(forked.error());
    return;
  }
  std::unique_ptr<Sandbox> sandbox = ExtractMaking(id);
  failures_ = 0;
  sandbox->runtime_pid = forked->message.pid;
  sandbox->forked_steps = forked->message.steps;
  sandbox->runtime_pidfd = std::move(forked->pidfd);
  // Until somebody takes the sandbox, who then puts a handler of its own in this one's place.
  link_.OnExit(sandbox->runtime_pid, [this, id, alive = alive_](const auto&) {
    if (*alive) RuntimeEnded(id);
  });
  Deliver(std::move(sandbox));
}

// Null when it is not there.
std::unique_ptr<Sandbox> SandboxPool::ExtractMaking(uint64_t id) {
  auto making = making_.extract(id);
  if (!making) return nullptr;
  if (making.mapped()->spare) --making_spare_;
  return std::move(making.mapped());
}

// Takes a sandbox that nobody has taken out of the pool; null when it is not there.
std::unique_ptr<Sandbox> SandboxPool::ExtractUnused(uint64_t id) {
  if (auto making = ExtractMaking(id)) return making;
  const auto is_it = [id](const auto& held) { return held->id == id; };
  for (auto* const unused : {&ready_, &spare_, &bare_}) {
    const auto found = std::find_if(unused->begin(), unused->end(), is_it);
    if (found == unused->end()) continue;
    std::unique_ptr<Sandbox> sandbox = std::move(*found);
    unused->erase(found);
    return sandbox;
  }
  return nullptr;
}

// Kills a sandbox that nobody has taken; false when it is not there.
bool SandboxPool::Drop(uint64_t id) {
  std::unique_ptr<Sandbox> sandbox = ExtractUnused(id);
  if (!sandbox) return false;
  Dispose(std::move(sandbox), [](const Gone&) {});
  return true;
}

void SandboxPool::RuntimeEnded(uint64_t id) {
  if (!Drop(id)) return;
  Log(LogLevel::kWarning, "image " + options_.group + ": an unused runtime ended",
      {{"SPORE_IMAGE", options_.group}});
  RefillSoon();
}

void SandboxPool::Deliver(std::unique_ptr<Sandbox> sandbox) {
  if (sandbox->spare && waiting_.empty()) {
    Rest(*sandbox);
    bare_.push_back(std::move(sandbox));
    return Fill();
  }
  if (waiting_.empty()) {
    ready_.push_back(std::move(sandbox));
    if (ready_.size() > options_.least) ShrinkLater();
    TellIfFilled();
    return Fill();
  }
  if (sandbox->bare) {
    Rest(*sandbox);
    bare_.push_back(std::move(sandbox));
    sandbox = TakeSpare();
    if (!sandbox) return Fill();
  }
  const Taken taken = std::move(waiting_.begin()->second);
  waiting_.erase(waiting_.begin());
  const std::shared_ptr<bool> alive = alive_;
  HandOut(std::move(sandbox), taken);
  if (*alive) Fill();
}

// A burst empties the pool of what it had; the next one of its size shall find enough.
uint32_t SandboxPool::Target() const {
  return std::clamp(demand_.Peak(MonotonicNs()), options_.least, options_.most);
}

void SandboxPool::ShrinkLater() {
  if (shrink_timer_ != 0 || retired_) return;
  shrink_timer_ = loop_.AddTimer(kShrinkInterval, [this] {
    shrink_timer_ = 0;
    Shrink();
  });
}

// The oldest go first, few at a time: the end of a sandbox costs as much as its making.
void SandboxPool::Shrink() {
  const size_t target = Target();
  for (size_t i = 0; i < kMaxShrunkAtOnce && ready_.size() > target; ++i) Drop(ready_.front()->id);
  if (ready_.size() > options_.least) ShrinkLater();
}

uint64_t SandboxPool::ready_bytes() const {
  uint64_t bytes = 0;
  for (const auto& sandbox : ready_) {
    if (auto usage = sandbox->cgroup.Usage()) bytes += usage->memory_bytes;
  }
  return bytes;
}

void SandboxPool::HandOut(std::unique_ptr<Sandbox> sandbox, const Taken& taken) {
  in_use_[sandbox->id] = sandbox.get();
  taken(std::move(sandbox));
}

void SandboxPool::MakeFailed(const Error& error) {
  ++failures_;
  if (retired_) return;
  Log(LogLevel::kError, "image " + options_.group + ": " + error.Message(),
      {{"SPORE_IMAGE", options_.group}});
  const std::shared_ptr<bool> alive = alive_;
  if (failures_ >= kFailuresUntilError || error.kind == ErrorKind::kOverloaded) {
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& [request, taken] : waiting) taken(tl::unexpected(error));
  }
  if (!*alive || refill_timer_ != 0) return;
  refill_timer_ = loop_.AddTimer(kFailureDelay, [this] {
    refill_timer_ = 0;
    Fill();
  });
}

uint64_t SandboxPool::Take(Taken taken) {
  const uint64_t request = next_request_++;
  last_taken_ns_ = MonotonicNs();
  demand_.Count(last_taken_ns_);
  if (retired_) {
    taken(MakeError(ErrorKind::kUnavailable, "the zygote of image " + options_.group + " ended"));
    return request;
  }
  std::unique_ptr<Sandbox> sandbox;
  if (!ready_.empty()) {
    // The youngest: its memory is the likeliest to be in a cache still.
    sandbox = std::move(ready_.back());
    ready_.pop_back();
  } else if (sandbox = TakeSpare(); !sandbox) {
    waiting_[request] = std::move(taken);
    if (refill_timer_ != 0 && failures_ == 0) loop_.CancelTimer(std::exchange(refill_timer_, 0));
    Fill();
    return request;
  }
  const std::shared_ptr<bool> alive = alive_;
  HandOut(std::move(sandbox), taken);
  if (*alive) RefillSoon();
  return request;
}

void SandboxPool::Cancel(uint64_t request) {
  waiting_.erase(request);
}

// Requests come one after the other, so whatever nobody waits for had better wait.
bool SandboxPool::Busy() const {
  return !waiting_.empty() || MonotonicNs() - last_taken_ns_ < kBurstGapNs;
}

// With spare ones left a burst needs no ready ones: warming them up would only slow it down.
void SandboxPool::RefillSoon() {
  const bool can_wait = spare() > 0;
  if (!can_wait && (ready_.size() < options_.least / 2 || ready_.empty())) return Fill();
  if (refill_timer_ != 0) return;
  if (refill_put_off_ns_ == 0) refill_put_off_ns_ = MonotonicNs();
  refill_timer_ = loop_.AddTimer(kRefillDelay, [this] {
    refill_timer_ = 0;
    if (spare() > 0 && Busy() && MonotonicNs() - refill_put_off_ns_ < kLongestPutOffNs)
      return RefillSoon();
    refill_put_off_ns_ = 0;
    Fill();
  });
}

void SandboxPool::Dispose(std::unique_ptr<Sandbox> sandbox, std::function<void(const Gone&)> gone) {
  // Kills every process of its pid namespace with it (pid_namespaces(7)). Failing means that it has
  // ended already.
  if (sandbox->init_pidfd) {
    syscall(SYS_pidfd_send_signal, sandbox->init_pidfd.get(), SIGKILL, nullptr, 0);
  } else if (auto killed = sandbox->cgroup.Kill(); !killed) {
    Log(LogLevel::kError, "image " + options_.group + ": " + killed.error().Message(),
        {{"SPORE_IMAGE", options_.group}});
  }
  const uint64_t id = sandbox->id;
  const bool ended = sandbox->ended;
  in_use_.erase(id);
  sandbox->on_init_ended = nullptr;
  ending_[id] = Ending{std::move(sandbox), std::move(gone)};
  if (ended) {
    // Not at once: the caller is in the middle of something.
    loop_.Post([this, id, alive = alive_] {
      if (*alive) Finish(id, ending_.at(id).sandbox->init_exit);
    });
  }
}

void SandboxPool::InitEnded(uint64_t id, const ZygoteLink::Exit& exited) {
  if (ending_.contains(id)) return Finish(id, exited);
  const auto in_use = in_use_.find(id);
  if (in_use != in_use_.end()) {
    in_use->second->ended = true;
    in_use->second->init_exit = exited;
    if (auto handler = std::move(in_use->second->on_init_ended)) handler();
    return;
  }
  // Unused so far: its runtime has ended with it, or was never born.
  std::unique_ptr<Sandbox> sandbox = ExtractUnused(id);
  if (!sandbox) return;
  Log(LogLevel::kWarning, "image " + options_.group + ": an unused sandbox ended",
      {{"SPORE_IMAGE", options_.group}});
  Release(std::move(sandbox));
  RefillSoon();
}

void SandboxPool::Finish(uint64_t id, const ZygoteLink::Exit& exited) {
  auto ending = ending_.extract(id);
  Gone gone;
  if (auto usage = ending.mapped().sandbox->cgroup.Usage()) gone.usage = *usage;
  gone.init_exit = exited;
  Release(std::move(ending.mapped().sandbox));
  ending.mapped().gone(gone);
}

// Its init has been reaped, so every process of it has: the kernel reaps a pid namespace's last
// process last.
void SandboxPool::Release(std::unique_ptr<Sandbox> sandbox) {
  uids_.Return(sandbox->uid);
  removals_.push_back(std::move(sandbox->cgroup));
  sandbox.reset();
  if (removals_.size() > kMostRemovals) removals_.pop_front();
  if (retired_) removals_.clear();
  RemoveSoon();
  TellIfEmpty();
}

void SandboxPool::RemoveSoon() {
  if (removal_timer_ != 0) return;
  removal_timer_ = loop_.AddTimer(kRemovalDelay, [this] {
    removal_timer_ = 0;
    RemoveSome();
  });
}

// Their directories, and those that could not be removed before.
void SandboxPool::RemoveSome() {
  if (!Busy()) {
    for (size_t i = 0; i < kRemovedAtOnce && !removals_.empty(); ++i) removals_.pop_front();
  }
  if (cgroups_.RetryRemovals() > 0 || !removals_.empty()) RemoveSoon();
}

void SandboxPool::Retire(std::function<void()> empty) {
  if (retired_) return;
  retired_ = true;
  removals_.clear();
  filled_ = nullptr;
  empty_ = std::move(empty);
  auto ready = std::move(ready_);
  ready_.clear();
  for (auto* const unused : {&spare_, &bare_})
    for (auto& sandbox : std::exchange(*unused, {})) ready.push_back(std::move(sandbox));
  for (auto& sandbox : ready) Dispose(std::move(sandbox), [](const Gone&) {});
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (auto& [request, taken] : waiting) {
    taken(MakeError(ErrorKind::kUnavailable, "the zygote of image " + options_.group + " ended"));
  }
  TellIfEmpty();
}

}  // namespace spore
