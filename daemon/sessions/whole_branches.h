// Branches of sessions that the quick way cannot copy (daemon/sessions/branches.h): with programs
// beside the interpreter, with one of another language, with one that came from disk. The session
// is dumped as it would be for the disk, goes on, and the files become sessions without having been
// there. All or none. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/branches.h"
#include "daemon/sessions/session_arrivals.h"
#include "daemon/sessions/session_checkpoint_lane.h"
#include "daemon/sessions/session_dumps.h"
#include "daemon/sessions/sessions.h"

namespace spore {

class WholeBranches {
 public:
  // All borrowed.
  WholeBranches(Sessions& sessions, SessionCheckpointLane& lane, SessionDumps& dumps,
                SessionArrivals& arrivals);
  ~WholeBranches();
  WholeBranches(const WholeBranches&) = delete;
  WholeBranches& operator=(const WholeBranches&) = delete;

  // As Branches::Begin; only_interpreter means nothing here.
  uint64_t Begin(Branches::Order order, Branches::Done done);
  void Cancel(uint64_t id);

 private:
  struct Job {
    uint64_t id = 0;
    Branches::Order order;
    Branches::Done done;
    bool over = false;            // it has been answered, or nobody waits
    std::shared_ptr<void> place;  // SessionDumps::TakePlace
    SessionCheckpointLane::MaterialPtr material;
    uint64_t arrival = 0;           // that is on its way
    std::vector<std::string> made;  // ids of sessions
    v1::BranchSandboxResponse response;
  };
  using JobPtr = std::shared_ptr<Job>;
  void Prepared(const JobPtr& job, const Result<SessionCheckpointLane::MaterialPtr>& material);
  void NextCopy(const JobPtr& job);
  SessionArrivals::Order ArrivalOf(const JobPtr& job);
  void Copied(const JobPtr& job, const Result<Session*>& session);
  void Complete(const JobPtr& job);
  void Fail(const JobPtr& job, const Error& error);

  Sessions& sessions_;
  SessionCheckpointLane& lane_;
  SessionDumps& dumps_;
  SessionArrivals& arrivals_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, JobPtr> jobs_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
