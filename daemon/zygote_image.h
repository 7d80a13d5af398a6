// One image's zygote over time: started on first use, replaced when it dies, with back-off.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "daemon/config.h"
#include "daemon/event_loop.h"
#include "daemon/sandbox_pool.h"
#include "daemon/uid_allocator.h"
#include "daemon/zygote_link.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore.pb.h"

namespace spore {

// A supervisor, its zygote and its sandboxes. An old generation lives on until its last sandbox
// has ended.
struct ZygoteGeneration {
  uint64_t serial = 0;  // of all generations of all images; never used again
  std::unique_ptr<ZygoteLink> link;
  std::unique_ptr<SandboxPool> pool;
};

class ZygoteImage {
 public:
  struct Options {
    std::string program;  // spore-zygote
    std::string host_directory;
    uint32_t uid_base = 0;  // host uid of root in the image's user namespace
    uint32_t ready_sandboxes = 8;
    v1::Limits limits;        // of whoever asks for no others
    SandboxDefaults sandbox;  // what of them a sandbox is made with
  };
  // A sandbox, and the generation whose zygote is to be forked into it. Whoever holds it gives the
  // sandbox back by generation->pool->Dispose; the generation outlives its sandboxes.
  struct Lease {
    ZygoteGeneration* generation = nullptr;
    std::unique_ptr<Sandbox> sandbox;
  };
  using Taken = std::function<void(Result<Lease>)>;

  ZygoteImage(EventLoop& loop, CgroupTree& cgroups, ImageManifest manifest, Options options);
  ~ZygoteImage();
  ZygoteImage(const ZygoteImage&) = delete;
  ZygoteImage& operator=(const ZygoteImage&) = delete;

  void StartIfNeeded();
  // Calls back at once when a sandbox is ready, else when there is one, at the latest after the
  // start limit. Returns an id for CancelTake.
  uint64_t Take(Taken taken);
  void CancelTake(uint64_t request);
  // Closes every supervisor; `done` runs when the last has been reaped.
  void ShutDown(std::function<void()> done);

  const ImageManifest& manifest() const { return manifest_; }
  uint32_t uid_base() const { return options_.uid_base; }
  size_t ready_sandboxes() const;
  void CountFork() { ++forks_; }
  v1::Image Describe() const;

 private:
  struct Waiter {
    Taken taken;
    EventLoop::TimerId timer = 0;
    uint64_t pool_request = 0;  // when it waits at the pool
    ZygoteGeneration* generation = nullptr;
  };
  void StartGeneration();
  Result<std::unique_ptr<ZygoteLink>> StartLink(ZygoteGeneration* generation);
  void Ready(ZygoteGeneration* generation, const wire::ZygoteReady& ready);
  void ZygoteGone(ZygoteGeneration* generation, const std::string& reason);
  void SupervisorGone(ZygoteGeneration* generation);
  void StartFailed(const std::string& reason);
  void StartTimedOut(ZygoteGeneration* generation);
  void RetryLater();
  void CloseDrained();
  void TakeFromPool(uint64_t request);
  void Answer(uint64_t request, Result<Lease> lease);
  Error FailedError() const;

  EventLoop& loop_;
  CgroupTree& cgroups_;
  ImageManifest manifest_;
  Options options_;
  UidAllocator uids_;
  v1::Image::State state_ = v1::Image::STOPPED;
  std::string reason_;
  std::string runtime_version_;
  uint64_t forks_ = 0;
  bool group_added_ = false;
  uint32_t generations_ = 0;
  uint64_t ready_since_ns_ = 0;
  std::chrono::milliseconds back_off_{};
  bool stopping_ = false;
  std::function<void()> stopped_;
  EventLoop::TimerId retry_timer_ = 0;
  EventLoop::TimerId start_timer_ = 0;
  EventLoop::TimerId drain_timer_ = 0;
  uint64_t next_request_ = 1;
  std::map<uint64_t, Waiter> waiters_;
  ZygoteGeneration* current_ = nullptr;
  std::list<std::unique_ptr<ZygoteGeneration>> generations_list_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
