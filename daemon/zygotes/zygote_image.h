// One image's zygote over time: started on first use, replaced when it dies, with back-off, or when
// it has served for long enough; and who waits for a sandbox of it.
//
// A zygote that is replaced while it serves (rotation) goes on serving until the fresh one and its
// sandboxes are ready, so that no request waits or fails for it.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/checkpoints/checkpoints.h"
#include "daemon/common/uid_allocator.h"
#include "daemon/config/config.h"
#include "daemon/history/history.h"
#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/memory_keeper.h"
#include "daemon/zygotes/rotation_schedule.h"
#include "daemon/zygotes/sandbox_pool.h"
#include "daemon/zygotes/tree_keeper.h"
#include "daemon/zygotes/zygote_generation.h"
#include "daemon/zygotes/zygote_link.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// What is known of an image without its zygote.
void DescribeManifest(const ImageManifest& manifest, v1::Image* image);

class ZygoteImage {
 public:
  struct Options {
    std::string program;  // spore-zygote
    std::string host_directory;
    uint32_t uid_base = 0;  // host uid of root in the image's user namespace
    uint32_t ready_sandboxes = 8;
    uint32_t max_ready_sandboxes = 32;
    uint32_t spare_sandboxes = 0;
    v1::Limits limits;        // of whoever asks for no others
    SandboxDefaults sandbox;  // what of them a sandbox is made with
    RotationSchedule::Limits rotation;
    BlockingLane* lane = nullptr;
    TreeKeeper* keeper = nullptr;
    Checkpoints* checkpoints = nullptr;  // outlives the image; null: it has none
    History* history = nullptr;          // likewise
  };
  // The library set that a start is to come from, if its zygote is there.
  struct Wish {
    std::string set;        // of the manifest, or empty
    uint64_t saves_us = 0;  // what that is thought to save
    bool egress = false;    // with a proxy's socket in it; of the image's own zygote
  };
  // A sandbox, and the generation of which one zygote was forked into it. Whoever holds it gives
  // the sandbox back by pool->Dispose; generation and pool outlive their sandboxes.
  struct Lease {
    ZygoteGeneration* generation = nullptr;
    SandboxPool* pool = nullptr;
    std::string set;  // that it comes from
    std::unique_ptr<Sandbox> sandbox;
    // FORK; or COLD or RESTORE where whoever took it had to wait for its zygote.
    v1::StartKind start_kind = v1::START_KIND_FORK;
    // Why, in words for whoever took it; empty for FORK.
    std::string StartReason() const;
  };
  using Taken = std::function<void(Result<Lease>)>;
  using Done = std::function<void(Result<>)>;

  ZygoteImage(EventLoop& loop, CgroupTree& cgroups, ImageManifest manifest, Options options);
  ~ZygoteImage();
  ZygoteImage(const ZygoteImage&) = delete;
  ZygoteImage& operator=(const ZygoteImage&) = delete;

  void StartIfNeeded();
  // Calls back at once when a sandbox is ready, else when there is one, at the latest after the
  // start limit. Returns an id for CancelTake.
  uint64_t Take(const Wish& wish, Taken taken);
  void CancelTake(uint64_t request);

  // Starts the zygote, now, unless there is one; done when it is ready, or why it is not.
  void Warm(Done done);
  // Ends the zygote and its waiting sandboxes; done when they are gone. kPrecondition when there is
  // none, or instances or requests need it.
  void Evict(Done done);
  // Of a zygote that nobody needs and nobody has needed for a while; nothing: there is none.
  std::optional<MemoryHolder> DescribeIdleMemory() const;
  // Replaces the zygote by a fresh one; done when that serves, or why it does not. One that is just
  // starting is fresh. kPrecondition when there is none.
  void Rotate(Done done);

  Error NoSuchSet(const std::string& set) const;
  // Makes the zygote of a library set, and those that it needs; done when it serves.
  void WarmSet(const std::string& set, Done done);
  // Ends the zygote of a library set and those made from it. kPrecondition when there is none.
  Result<> EvictSet(const std::string& set);
  // What the TreeKeeper has decided.
  void GrowSet(const std::string& set);
  void ShrinkSet(const std::string& set, const std::string& reason);

  // Starts nothing any more, and ends each supervisor with the last of its sandboxes; `done` runs
  // when the last supervisor has been reaped.
  void Leave(std::function<void()> done);
  // The same, but sandboxes that are there are killed.
  void ShutDown(std::function<void()> done);

  // Dumps a fresh zygote to disk, beside the one that serves. One at a time.
  using Checkpointed = std::function<void(Result<v1::Checkpoint>)>;
  void MakeCheckpoint(bool automatic, Checkpointed done);
  // Starts the zygote from the checkpoint, or replaces it; done when that serves. An empty id: the
  // newest. When it cannot be restored, one that serves goes on, and an image without one has it
  // started in the ordinary way.
  void Restore(const std::string& id, Done done);

  const ImageManifest& manifest() const { return manifest_; }
  const v1::Limits& limits() const { return options_.limits; }
  uint32_t uid_base() const { return options_.uid_base; }
  size_t ready_sandboxes() const;
  size_t spare_sandboxes() const;
  // A copy of the generation's zygote has been given to a function or run.
  void CountFork(ZygoteGeneration& generation);
  v1::Image Describe() const;
  // Of each generation, the oldest first, with its sets; without memory.
  std::vector<v1::Zygote> DescribeZygotes() const;
  // Of the one that serves or is to; of its set, if not empty.
  v1::Zygote DescribeZygote(const std::string& set = {}) const;

 private:
  struct Waiter {
    Taken taken;
    Wish wish;
    bool for_zygote = false;  // there was none that served when it came
    EventLoop::TimerId timer = 0;
    uint64_t pool_request = 0;    // when it waits at the pool
    SandboxPool* pool = nullptr;  // at which it waits
  };
  // A zygote that can serve now.
  struct Source {
    ZygoteGeneration* generation;
    SandboxPool* pool;
    LibraryZygote* library;  // null: the runtime's own
    Lease LeaseOf(std::unique_ptr<Sandbox> sandbox) const;
  };
  // zygote_image_life.cc
  // How a zygote is to be started.
  struct Origin {
    bool restore = false;    // when it can be
    std::string checkpoint;  // this one; empty: the newest
    Done asked = nullptr;    // told what came of the restore
  };
  // The zygote that is dumped, with its supervisor. It serves nobody.
  struct Dump {
    bool automatic = false;
    std::vector<Checkpointed> done;
    Checkpoints::MaterialPtr material;
    std::unique_ptr<ZygoteLink> link;
    EventLoop::TimerId timer = 0;
    bool ended = false;  // all have been told; its supervisor may still be there
  };
  void Start(Origin origin);
  Origin Usual() const;
  Result<ZygoteGeneration*> NewGeneration(Origin origin);
  Result<std::unique_ptr<ZygoteLink>> StartLink(const std::string& cgroup, const char* checkpoint,
                                                ZygoteLink::Handlers handlers);
  void StartTimedOut(ZygoteGeneration* generation);
  void StartFailed(const std::string& reason);
  void RetryLater();
  void Ready(ZygoteGeneration* generation, const wire::ZygoteReady& ready);
  void Serve();
  void ZygoteGone(ZygoteGeneration* generation, const std::string& reason);
  void CurrentGone(const std::string& reason);
  void Unset();
  void Retire(ZygoteGeneration& generation);
  void SupervisorGone(ZygoteGeneration* generation);
  void StoppedIfEmpty();
  void CancelTimer(EventLoop::TimerId& timer);
  static void Settle(std::vector<Done>& list, const Result<>& result);

  // zygote_image_checkpoint.cc
  void OrderRestore(ZygoteGeneration* generation, const Origin& origin);
  void SendRestore(ZygoteGeneration* generation, const Result<Checkpoints::MaterialPtr>& material);
  void RestoreDone(ZygoteGeneration* generation, const wire::CheckpointDone& done);
  void NotRestored(ZygoteGeneration* generation, const Error& error);
  void CheckpointIfSlow(const ZygoteGeneration& generation);
  void DumpPrepared(Result<Checkpoints::MaterialPtr> material);
  void Dumped(const wire::CheckpointDone& done);
  void EndDump(Result<v1::Checkpoint> result);
  void DumpGone();
  ZygoteGeneration* Find(uint64_t serial);

  // zygote_image_rotation.cc
  void StartRotation(Origin origin);
  void RotationFailed(const std::string& reason);
  void TakeOver();
  void ArmRotation();

  // zygote_image_sets.cc
  SandboxPool::Options PoolOptions() const;
  std::unique_ptr<LibraryZygotes> MakeLibraries(ZygoteGeneration* generation);
  Source SourceOf(const Wish& wish);
  SandboxPool& EgressPool(ZygoteGeneration& generation);
  void GrowAlike(ZygoteGeneration* generation, std::function<void()> done);
  void SetsServe();
  void ServeWaitersSoon();
  TreeKeeper::Key KeyOf(const std::string& set) const { return {manifest_.name, set}; }
  void DescribeSets(const ZygoteGeneration& generation, std::vector<v1::Zygote>& zygotes) const;

  // zygote_image.cc
  void ServeWaiters();
  void TakeFromPool(uint64_t request);
  void Answer(uint64_t request, Result<Lease> lease);
  void Withdraw(const Waiter& waiter);
  void RefuseWaiters(const Error& error);
  Error FailedError() const;
  // The history, with the image's name.
  void Tell(v1::HostEvent::Kind kind, const std::string& set, const std::string& message,
            const ZygoteGeneration* ready = nullptr) const;
  void TellCheckpoint(v1::HostEvent::Kind kind, const std::string& message) const;
  v1::Zygote Describe(const ZygoteGeneration& generation) const;

  EventLoop& loop_;
  CgroupTree& cgroups_;
  ImageManifest manifest_;
  Options options_;
  UidAllocator uids_;
  v1::Image::State state_ = v1::Image::STOPPED;
  std::string reason_;
  std::string runtime_version_;
  uint64_t forks_ = 0;
  uint64_t used_ns_ = 0;  // when it was last copied for somebody
  bool group_added_ = false;
  uint64_t generations_ = 0;
  std::chrono::milliseconds back_off_{};
  bool stopping_ = false;
  std::function<void()> stopped_;
  EventLoop::TimerId retry_timer_ = 0;
  uint64_t next_request_ = 1;
  std::map<uint64_t, Waiter> waiters_;
  std::vector<Done> awaiting_start_;
  std::vector<Done> awaiting_rotation_;
  RotationSchedule schedule_;
  EventLoop::TimerId rotation_timer_ = 0;
  std::string rotation_error_;
  ZygoteGeneration* current_ = nullptr;  // serves, or is to as soon as it is ready
  ZygoteGeneration* next_ = nullptr;     // is to replace it; only while it serves
  std::list<std::unique_ptr<ZygoteGeneration>> generations_list_;
  std::unique_ptr<Dump> dump_;  // while a checkpoint is made
  uint64_t dumps_ = 0;
  EventLoop::TimerId dump_timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
