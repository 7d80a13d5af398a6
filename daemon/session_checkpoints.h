// Sessions on their way to the disk, and from there:
// docs/decisions/0031-checkpoints-of-sessions.md.
//
//   to    its agent lets go of its channel -> a worker has CRIU dump its processes, and copies its
//         files -> they are packed -> it is ended, or its agent gets a channel again
//   from  a sandbox is made and emptied -> the archive is unpacked -> a worker has CRIU restore
//         them, and looks at them -> the agent gets a channel
//
// Whatever fails on the way to the disk, the session goes on, unless the worker says that it is
// lost. All on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/checkpoint_worker.h"
#include "daemon/event_loop.h"
#include "daemon/images.h"
#include "daemon/session_checkpoint_lane.h"
#include "daemon/sessions.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore/v1/session_checkpoints.pb.h"

namespace spore {

class SessionCheckpoints {
 public:
  struct Order {
    std::string session;  // its id
    std::string name;     // of the checkpoint; empty: one is made
    bool leave_running = false;
    uint64_t asked_ns = 0;
  };
  using Created = std::function<void(Result<v1::CreateSessionCheckpointResponse>)>;
  struct RestoreOrder {
    uid_t peer = 0;  // who asks
    std::string name;
    std::string label;    // empty: the checkpoint's
    uint64_t ttl_ms = 0;  // 0: what the session had left
  };
  using Restored = std::function<void(Result<v1::Session>)>;

  SessionCheckpoints(EventLoop& loop, CgroupTree& cgroups, Images& images, Sessions& sessions,
                     SessionCheckpointLane& lane, const SessionsConfig& config);
  ~SessionCheckpoints();
  SessionCheckpoints(const SessionCheckpoints&) = delete;
  SessionCheckpoints& operator=(const SessionCheckpoints&) = delete;

  // `created` is called once. A client that goes away changes nothing.
  void Create(Order order, Created created);
  // `restored` is called once, unless it is cancelled. Returns an id for CancelRestore.
  uint64_t Restore(RestoreOrder order, Restored restored);
  // The client has gone: the session ends, if it is not complete.
  void CancelRestore(uint64_t id);

 private:
  struct Dump {
    Order order;
    Created created;
    SessionCheckpointLane::MaterialPtr material;
    std::shared_ptr<void> use;
    int32_t descriptor = -1;
    std::optional<Cgroup> cgroup;  // CRIU's
    std::unique_ptr<CheckpointWorker> worker;
    v1::CreateSessionCheckpointResponse response;
  };
  using DumpPtr = std::shared_ptr<Dump>;
  void Prepared(const DumpPtr& dump, Result<SessionCheckpointLane::MaterialPtr> material);
  Result<> StartDump(const DumpPtr& dump, Session& session);
  void Dumped(const DumpPtr& dump, CheckpointWorker::Dumped dumped);
  void Keep(const DumpPtr& dump);
  void Kept(const DumpPtr& dump, Result<v1::SessionCheckpointRecord> kept);
  // Back to its owner; `then` when its agent can be asked.
  void GoOn(const DumpPtr& dump, std::function<void(Result<>)> then);
  void FailDump(const DumpPtr& dump, Error error);

  struct Restoring {
    uint64_t id = 0;
    RestoreOrder order;
    Restored restored;
    bool over = false;  // it has been answered, or nobody waits
    v1::SessionCheckpointRecord record;
    SessionCheckpointLane::MaterialPtr material;
    std::string session;  // its id
    std::unique_ptr<CheckpointWorker> worker;
  };
  using RestoringPtr = std::shared_ptr<Restoring>;
  Result<> Begin(const RestoringPtr& job);
  Result<SessionSettings> SettingsOf(const Restoring& job) const;
  void Unpack(const RestoringPtr& job, const Session& session);
  void StartRestore(const RestoringPtr& job);
  void Arrived(const RestoringPtr& job, Result<CheckpointWorker::Restored> restored);
  void FailRestore(const RestoringPtr& job, Error error);

  EventLoop& loop_;
  CgroupTree& cgroups_;
  Images& images_;
  Sessions& sessions_;
  SessionCheckpointLane& lane_;
  const SessionsConfig& config_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, RestoringPtr> restoring_;
  std::map<uint64_t, DumpPtr> dumping_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
