// AsyncDisk for the loop: its jobs run on a lane of their own, those that have come while others
// ran in one transaction (group commit).
//
// Fault points: async-accept-commit, async-accept-committed, async-record-commit,
// async-record-committed: before and after the commit of a transaction with such a job in it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/events/async_disk.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"

namespace spore {

class AsyncStore {
 public:
  enum class Kind {
    kRead,    // changes nothing
    kChange,  // something else
    kAccept,  // makes an event
    kRecord,  // what came of an attempt
  };
  using Job = std::function<Result<>(AsyncDisk&)>;
  using Done = std::function<void(Result<>)>;

  static Result<std::unique_ptr<AsyncStore>> Open(EventLoop& loop,
                                                  const AsyncDisk::Options& options);
  ~AsyncStore();
  AsyncStore(const AsyncStore&) = delete;
  AsyncStore& operator=(const AsyncStore&) = delete;

  // Runs the job on the lane, after those that were submitted before. `done`, on the loop: it
  // succeeded and what it changed is durable; or it failed and changed nothing.
  void Submit(Kind kind, Job job, Done done);
  // Calls `idle` when nothing that was submitted is left.
  void WhenIdle(std::function<void()> idle);

  // Before the loop runs.
  AsyncDisk& disk() { return *disk_; }

 private:
  struct Item {
    Kind kind;
    Job job;
    Done done;
    Result<> result;
  };
  using Batch = std::vector<Item>;

  AsyncStore(EventLoop& loop, std::unique_ptr<AsyncDisk> disk);
  void RunNext();
  static void RunBatch(AsyncDisk& disk, Batch& batch);

  EventLoop& loop_;
  std::unique_ptr<AsyncDisk> disk_;
  Batch waiting_;
  bool running_ = false;
  std::vector<std::function<void()>> when_idle_;
  std::unique_ptr<BlockingLane> lane_;  // destroyed first
};

}  // namespace spore
