// What is asked of sessions on disk: docs/decisions/0031-checkpoints-of-sessions.md.
//
//   to    SessionDumps fills the files of a checkpoint, the lane packs them, and the session is
//         ended, or goes on
//   from  the lane unpacks them for a sandbox that SessionArrivals has made, which fills it
//
// Loop thread only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/config/config.h"
#include "daemon/images/images.h"
#include "daemon/sessions/session_arrivals.h"
#include "daemon/sessions/session_checkpoint_lane.h"
#include "daemon/sessions/session_dumps.h"
#include "daemon/sessions/sessions.h"
#include "sandbox/sys/result.h"
#include "spore/v1/session_checkpoints.pb.h"

namespace spore {

class SessionCheckpoints {
 public:
  using Created = std::function<void(Result<v1::CreateSessionCheckpointResponse>)>;
  struct RestoreOrder {
    uid_t peer = 0;  // who asks
    std::string name;
    std::string label;    // empty: the checkpoint's
    uint64_t ttl_ms = 0;  // 0: what the session had left
  };
  using Restored = std::function<void(Result<v1::Session>)>;

  // All borrowed.
  SessionCheckpoints(Images& images, Sessions& sessions, SessionCheckpointLane& lane,
                     SessionDumps& dumps, SessionArrivals& arrivals, const SessionsConfig& config);
  ~SessionCheckpoints();
  SessionCheckpoints(const SessionCheckpoints&) = delete;
  SessionCheckpoints& operator=(const SessionCheckpoints&) = delete;

  // `name` empty: one is made. `created` is called once. A client that goes away changes nothing.
  void Create(SessionDumps::Order order, const std::string& name, Created created);
  // `restored` is called once. A client that goes away has the session ended, if it is not
  // complete: the returned function does so.
  std::function<void()> Restore(RestoreOrder order, Restored restored);

 private:
  struct Creating {
    SessionDumps::Order order;
    Created created;
    std::shared_ptr<void> place;  // SessionDumps::TakePlace
    std::shared_ptr<void> use;    // of the session: it waits, and may go on after all
    SessionCheckpointLane::MaterialPtr material;
    std::shared_ptr<UniqueFd> door;
    v1::CreateSessionCheckpointResponse response;
  };
  using CreatingPtr = std::shared_ptr<Creating>;
  struct Restoring {
    RestoreOrder order;
    Restored restored;  // null: nobody waits
    uint64_t arrival = 0;
  };
  using RestoringPtr = std::shared_ptr<Restoring>;
  void Dump(const CreatingPtr& job);
  void Kept(const CreatingPtr& job, const Result<v1::SessionCheckpointRecord>& kept);
  Result<> Found(const RestoringPtr& job, const v1::SessionCheckpointRecord& record);
  Result<SessionArrivals::Order> ArrivalOf(const RestoreOrder& order,
                                           const v1::SessionCheckpointRecord& record);

  Images& images_;
  Sessions& sessions_;
  SessionCheckpointLane& lane_;
  const SessionsConfig& config_;
  SessionDumps& dumps_;
  SessionArrivals& arrivals_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
