// Sessions on their way into the files of a checkpoint: an agent lets go of its channel, and a
// worker has CRIU dump its processes, and copies its files.
//
// Whatever fails, the session goes on, unless the worker says that it is lost. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/checkpoint_worker.h"
#include "daemon/sessions/session_checkpoint_lane.h"
#include "daemon/sessions/sessions.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

class SessionDumps {
 public:
  struct Order {
    std::string session;  // its id
    bool leave_running = false;
    uint64_t asked_ns = 0;  // CLOCK_MONOTONIC
  };
  struct Dumped {
    uint64_t stopped_us = 0;
    v1::Trace trace;
    std::shared_ptr<UniqueFd> door;  // agent_door.h
  };
  using Done = std::function<void(Result<Dumped>)>;
  using Then = std::function<void(Result<>)>;

  SessionDumps(EventLoop& loop, CgroupTree& cgroups, Sessions& sessions);
  ~SessionDumps();
  SessionDumps(const SessionDumps&) = delete;
  SessionDumps& operator=(const SessionDumps&) = delete;

  // Whether it can be dumped, as far as spored knows; and the most that it can be.
  static Result<> Check(Session& session);
  static uint64_t MostBytes(const Session& session);

  // Into the files of `material`, whose record is completed. `done` is called once. With an error
  // the session goes on, or has ended. Else it goes on, too, if it is left running, or it stands
  // frozen, and is ended by the caller, or goes on by GoOn.
  void Start(Order order, SessionCheckpointLane::MaterialPtr material, Done done);
  void GoOn(const std::string& session, const UniqueFd& door, Then then);

  // Each dump holds memory of the host's until its files are gone, so there are not many at once:
  // kOverloaded. Held from before the files are made.
  Result<std::shared_ptr<void>> TakePlace();

 private:
  struct Job {
    Order order;
    SessionCheckpointLane::MaterialPtr material;
    Done done;
    std::shared_ptr<void> use;  // of the session
    std::shared_ptr<UniqueFd> door;
    EventLoop::TimerId late = 0;  // its agent does not park
    bool told = false;
    std::optional<Cgroup> cgroup;  // CRIU's
    std::unique_ptr<CheckpointWorker> worker;
  };
  using JobPtr = std::shared_ptr<Job>;
  void Parked(const JobPtr& job, const Result<int32_t>& descriptor);
  void DoorFetched(const JobPtr& job, Result<UniqueFd> door);
  void Tell(const JobPtr& job, const Result<Dumped>& result);
  Result<> StartWorker(const JobPtr& job, Session& session);
  void OnDumped(const JobPtr& job, const CheckpointWorker::Dumped& dumped);
  void Fail(const JobPtr& job, const Error& error);
  void GoOnThenFail(const JobPtr& job, const Error& error);

  EventLoop& loop_;
  CgroupTree& cgroups_;
  Sessions& sessions_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, JobPtr> jobs_;                         // whose workers have not ended
  std::shared_ptr<int> places_ = std::make_shared<int>(0);  // that are taken
  std::shared_ptr<bool> alive_;
  std::unique_ptr<BlockingLane> fetching_;  // joined before all above
};

}  // namespace spore
