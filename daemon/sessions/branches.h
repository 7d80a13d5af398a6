// Branches of sessions on their way: fresh sessions are made beside the source, a worker copies
// into them what the source has, and then they are sessions like any other. All or none.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/branch_worker.h"
#include "daemon/sessions/sessions.h"
#include "sandbox/sys/result.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

class Branches {
 public:
  struct Order {
    std::string source;        // its id
    SessionSettings settings;  // of each copy
    uint32_t copies = 1;
    bool only_interpreter = false;
    uint64_t asked_ns = 0;
  };
  using Done = std::function<void(Result<v1::BranchSandboxResponse>)>;

  Branches(EventLoop& loop, Sessions& sessions);
  ~Branches();
  Branches(const Branches&) = delete;
  Branches& operator=(const Branches&) = delete;

  // `done` is called once, unless it is cancelled. One of a source at a time: others wait. Returns
  // an id for Cancel.
  uint64_t Begin(Order order, Done done);
  // The client has gone: the copies end, if they are not complete.
  void Cancel(uint64_t id);

 private:
  struct Job {
    uint64_t id = 0;
    Order order;
    Done done;
    bool over = false;             // it has been answered, or nobody waits
    std::vector<std::string> ids;  // of the copies
    size_t waiting = 0;            // for so many: sessions to start, then interpreters
    std::shared_ptr<void> use;
    std::vector<int32_t> interpreters;
    std::unique_ptr<BranchWorker> worker;
  };
  using JobPtr = std::shared_ptr<Job>;
  void Start(const JobPtr& job);
  void Created(const JobPtr& job, const Result<Session*>& session);
  void StartWorker(const JobPtr& job);
  // The one that waits, or another one.
  Result<std::unique_ptr<BranchWorker>> BeginWorker(const BranchWorker::Order& order,
                                                    const BranchWorker::Handlers& handlers);
  void StartSpare();
  Result<BranchWorker::Order> WorkerOrder(const Job& job);
  void StartInterpreters(const JobPtr& job);
  void Copied(const JobPtr& job, Result<wire::BranchDone> done);
  void Fail(const JobPtr& job, Error error);
  void Finish(const JobPtr& job);

  EventLoop& loop_;
  Sessions& sessions_;
  uint64_t last_id_ = 0;
  std::map<std::string, std::deque<JobPtr>> jobs_;  // by source; the first is on its way
  std::unique_ptr<BranchWorker> spare_;             // once there has been a branch
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
