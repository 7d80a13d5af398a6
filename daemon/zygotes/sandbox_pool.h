// The sandboxes of one zygote, each with a runtime sforked into it: made ahead of use, handed
// out, and put away when they end.
//
// Ready ones have warmed up and hold megabytes. Spare ones have their namespaces, cgroup and
// process, which waits before it has copied any memory: they become ready ones when those are
// taken, so that a burst waits for no namespace or cgroup to be made. What takes most of the
// kernel's memory, the net namespace and the cgroups that limit, only the next ones of them have;
// the others are bare.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/common/uid_allocator.h"
#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/demand.h"
#include "daemon/zygotes/zygote_link.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/protocol.h"

namespace spore {

// A tiny init in namespaces of its own, and a copy of the zygote that waits to be specialised.
struct Sandbox {
  uint64_t id = 0;
  uint32_t uid = 0;  // inside the user namespace
  uint64_t tmp_bytes = 0;
  Cgroup cgroup;
  int32_t init_pid = 0;  // as the supervisor sees it
  UniqueFd init_pidfd;
  wire::Steps made_steps;    // of the supervisor's part
  wire::Steps forked_steps;  // of the zygote's part
  int32_t runtime_pid = 0;   // as the supervisor sees it
  UniqueFd runtime_pidfd;
  UniqueFd channel;   // spored's end of the instance socket
  UniqueFd listener;  // in its network namespace, of one with egress
  bool spare = false;
  pid_t runtime_host_pid = 0;  // of a spare one, which keeps no descriptor but the channel
  // Set by whoever has taken the sandbox: its init has ended by itself; Dispose comes next.
  std::function<void()> on_init_ended;
  bool ended = false;
  ZygoteLink::Exit init_exit;
  bool bare = false;        // a spare one without a net namespace of its own, or its limits
  pid_t init_host_pid = 0;  // as runtime_host_pid
};

struct SandboxDefaults {
  CgroupLimits limits;
  uint64_t tmp_bytes = 64u << 20;
  bool loopback = false;  // of its image's policy
  bool egress = false;    // with loopback: a proxy's socket listens on it
};

class SandboxPool {
 public:
  struct Options {
    std::string group;         // of the cgroup tree
    uint32_t least = 8;        // so many are kept ready,
    uint32_t most = 8;         // or as many as were taken at once lately, up to this
    uint32_t spare = 0;        // how many spare ones to keep
    SandboxDefaults defaults;  // what they are made with
  };
  // What a sandbox had used when it ended, and how its init ended.
  struct Gone {
    CgroupUsage usage;
    ZygoteLink::Exit init_exit;
  };
  using Taken = std::function<void(Result<std::unique_ptr<Sandbox>>)>;

  // All borrowed; `uids` outlives the pool because several generations of an image share it.
  SandboxPool(EventLoop& loop, ZygoteLink& link, ZygoteChannel& zygote, CgroupTree& cgroups,
              UidAllocator& uids, Options options);
  ~SandboxPool();
  SandboxPool(const SandboxPool&) = delete;
  SandboxPool& operator=(const SandboxPool&) = delete;

  // Starts filling up to the target.
  void Fill();
  // The same, and tells (later, once) when the target is reached.
  void FillThen(std::function<void()> filled);
  // Hands out a ready sandbox at once, or the next one to be made. Returns an id for Cancel.
  uint64_t Take(Taken taken);
  void Cancel(uint64_t request);

  // Takes the end of a sandbox upon itself: kills it if needed, waits until its init has been
  // reaped, removes its cgroup, returns its uid, then tells.
  void Dispose(std::unique_ptr<Sandbox> sandbox, std::function<void(const Gone&)> gone);
  // Kills the ready ones and makes no more: the zygote has gone. Tells (later, once) when the last
  // sandbox has gone, too.
  void Retire(std::function<void()> empty);

  size_t ready() const { return ready_.size(); }
  size_t spare() const { return spare_.size() + bare_.size(); }
  uint64_t ready_bytes() const;                     // memory of those; reads a file for each
  size_t in_use() const { return in_use_.size(); }  // taken, and not yet disposed of
  // Sandboxes that exist, whatever their state.
  size_t live() const {
    return ready_.size() + spare() + making_.size() + in_use_.size() + ending_.size();
  }

 private:
  struct Ending {
    std::unique_ptr<Sandbox> sandbox;
    std::function<void(const Gone&)> gone;
  };
  void MakeOne(bool spare);
  void Made(ZygoteLink::Made made);
  void ForkInto(Sandbox& sandbox, bool has_landlock, const std::vector<UniqueFd>& fds);
  void Forked(uint64_t id, Result<ZygoteLink::Forked> forked);
  void RuntimeEnded(uint64_t id);
  std::unique_ptr<Sandbox> ExtractMaking(uint64_t id);
  std::unique_ptr<Sandbox> ExtractUnused(uint64_t id);
  bool Drop(uint64_t id);
  void Deliver(std::unique_ptr<Sandbox> sandbox);
  void MakeFailed(const Error& error);
  void InitEnded(uint64_t id, const ZygoteLink::Exit& exited);
  void Finish(uint64_t id, const ZygoteLink::Exit& exited);
  void TellIfFilled();
  void TellIfEmpty();
  void HandOut(std::unique_ptr<Sandbox> sandbox, const Taken& taken);
  void RefillSoon();
  uint32_t Target() const;

  // sandbox_pool_spare.cc
  void FillSpareSoon();
  void FillSpare();
  Result<const std::vector<UniqueFd>*> EntriesOf(const Sandbox& sandbox);
  static void Rest(Sandbox& sandbox);
  static bool Rouse(Sandbox& sandbox);
  size_t CompleteTarget() const;
  std::unique_ptr<Sandbox> CompleteOne();  // null: none that could be
  Result<> Complete(Sandbox& sandbox);
  std::unique_ptr<Sandbox> TakeSpare();  // null: there is none
  bool WarmSpare();
  void ShrinkLater();
  void Shrink();
  void Release(std::unique_ptr<Sandbox> sandbox);
  bool Busy() const;
  void RemoveSoon();
  void RemoveSome();

  EventLoop& loop_;
  ZygoteLink& link_;
  ZygoteChannel& zygote_;  // of that supervisor
  CgroupTree& cgroups_;
  UidAllocator& uids_;
  Options options_;
  bool retired_ = false;
  std::function<void()> filled_;
  std::function<void()> empty_;
  uint32_t failures_ = 0;  // in a row
  uint64_t next_request_ = 1;
  EventLoop::TimerId refill_timer_ = 0;
  EventLoop::TimerId removal_timer_ = 0;
  EventLoop::TimerId shrink_timer_ = 0;
  Demand demand_;
  EventLoop::TimerId spare_timer_ = 0;
  size_t making_spare_ = 0;
  std::deque<std::unique_ptr<Sandbox>> ready_;
  std::deque<std::unique_ptr<Sandbox>> spare_;  // complete
  std::map<uint64_t, std::unique_ptr<Sandbox>> making_;
  std::map<uint64_t, Sandbox*> in_use_;
  std::map<uint64_t, Ending> ending_;
  std::map<uint64_t, Taken> waiting_;  // in the order of asking
  std::shared_ptr<bool> alive_;
  std::deque<std::unique_ptr<Sandbox>> bare_;
  std::deque<Cgroup> removals_;  // of sandboxes that have ended
  uint64_t last_taken_ns_ = 0;
  uint64_t refill_put_off_ns_ = 0;    // since when; 0: not
  std::optional<Cgroup> bare_place_;  // where those are in the hierarchies that limit
};

}  // namespace spore
