// One zygote of a library set: copied from the zygote above it, it imports the set's modules and is
// forked from then on, as that is. It has the sandboxes that are made from it.
//
//   starting --(ready, sandboxes made)--> ready --(End, death)--> ending --(all gone)--> finished
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/common/uid_allocator.h"
#include "daemon/config/config.h"
#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/copied_zygote.h"
#include "daemon/zygotes/sandbox_pool.h"
#include "daemon/zygotes/zygote_channel.h"
#include "daemon/zygotes/zygote_link.h"
#include "sandbox/cgroup.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class LibraryZygote {
 public:
  // Of its generation; borrowed.
  struct Parts {
    EventLoop& loop;
    BlockingLane& lane;
    ZygoteLink& link;
    CgroupTree& cgroups;
    UidAllocator& uids;
    SandboxPool::Options pool;
  };
  struct Handlers {
    std::function<void(LibraryZygote&)> on_ready;
    // Nothing more is forked from it: why. At most once.
    std::function<void(LibraryZygote&, const std::string& reason)> on_gone;
    // It has ended, and all of its sandboxes. After on_gone; last call.
    std::function<void(LibraryZygote&)> on_finished;
  };

  LibraryZygote(const Parts& parts, const LibrarySet& set, const std::string& image,
                Handlers handlers);
  ~LibraryZygote();
  LibraryZygote(const LibraryZygote&) = delete;
  LibraryZygote& operator=(const LibraryZygote&) = delete;

  // Has it copied from the zygote of `from`, as CopiedZygote does. `parent`: others will be made
  // from it in turn.
  Result<> Start(ZygoteChannel& from, bool parent);
  // Kills it. Instances made from it go on.
  void End(const std::string& reason);

  const LibrarySet& set() const { return set_; }
  v1::Zygote::State state() const { return state_; }
  bool usable() const { return state_ == v1::Zygote::READY && zygote_.channel().usable(); }
  // Of what others are copied from; null: there is none.
  ZygoteChannel* stem() { return stem_ ? &stem_->channel() : nullptr; }
  SandboxPool& pool() { return *pool_; }
  uint64_t import_us() const { return import_us_; }
  uint64_t unique_bytes() const { return unique_bytes_; }
  void CountFork() { ++forks_; }
  void Describe(v1::Zygote& zygote) const;

 private:
  void Imported(const wire::ZygoteReady& ready);
  void Measured();
  void StartStem();
  void Gone(const std::string& reason);
  void FinishIfOver();

  Parts parts_;
  LibrarySet set_;
  std::string name_;  // in messages
  Handlers handlers_;
  v1::Zygote::State state_ = v1::Zygote::STARTING;
  int64_t started_unix_ms_;
  uint64_t import_us_ = 0;
  uint64_t unique_bytes_ = 0;
  uint64_t forks_ = 0;
  bool parent_ = false;
  bool ended_ = false;
  bool pool_empty_ = false;
  EventLoop::TimerId start_timer_ = 0;
  CopiedZygote zygote_;
  std::unique_ptr<CopiedZygote> stem_;
  std::unique_ptr<SandboxPool> pool_;
  std::shared_ptr<bool> alive_;
  uint64_t flat_bytes_ = 0;  // of the memory that it has alone
};

}  // namespace spore
