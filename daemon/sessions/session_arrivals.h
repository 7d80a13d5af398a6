// Sessions on their way from the files of a checkpoint: a sandbox is made and emptied, a worker has
// CRIU restore the processes in it and looks at them, and their agent gets a channel. All of a
// session, or nothing. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/checkpoint_worker.h"
#include "daemon/sessions/session_checkpoint_lane.h"
#include "daemon/sessions/sessions.h"
#include "sandbox/sys/result.h"
#include "spore/v1/session_checkpoints.pb.h"

namespace spore {

class SessionArrivals {
 public:
  struct Order {
    v1::SessionCheckpointRecord record;
    SessionSettings settings;  // that arrive
    std::string image;
    // Called when there is a sandbox: the files, for who has this uid on the host.
    std::function<void(const ImageManifest& image, uid_t uid,
                       SessionCheckpointLane::Prepared prepared)>
        prepare;
  };
  using Done = std::function<void(Result<Session*>)>;

  SessionArrivals(EventLoop& loop, Sessions& sessions);
  ~SessionArrivals();
  SessionArrivals(const SessionArrivals&) = delete;
  SessionArrivals& operator=(const SessionArrivals&) = delete;

  // `done` is called once, maybe at once, unless it is cancelled. Returns an id for Cancel.
  uint64_t Start(Order order, Done done);
  // The session ends, if it is not complete.
  void Cancel(uint64_t id);

 private:
  struct Job {
    uint64_t id = 0;
    Order order;
    Done done;
    bool over = false;  // it has been answered, or nobody waits
    SessionCheckpointLane::MaterialPtr material;
    std::string session;  // its id
    std::unique_ptr<CheckpointWorker> worker;
  };
  using JobPtr = std::shared_ptr<Job>;
  void Made(const JobPtr& job, const Session& session);
  void StartWorker(const JobPtr& job);
  void OnRestored(const JobPtr& job, Result<CheckpointWorker::Restored> restored);
  void Fail(const JobPtr& job, const Error& error);
  void Release(const JobPtr& job);

  EventLoop& loop_;
  Sessions& sessions_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, JobPtr> jobs_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
