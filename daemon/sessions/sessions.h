// All sessions: those that live, and for a while those that did.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/history/history.h"
#include "daemon/images/images.h"
#include "daemon/instances/invoker.h"
#include "daemon/sessions/session.h"

namespace spore {

class Sessions : private Session::Owner {
 public:
  using Created = std::function<void(Result<Session*>)>;
  using Visible = std::function<bool(uid_t owner)>;
  struct Found {
    Session* live = nullptr;
    const v1::Session* dead = nullptr;
    std::shared_ptr<SessionLog> log;  // null: of a dead one it is not kept any more
  };

  // A session takes the place of an instance with `invoker`.
  // `proxies` outlives it.
  Sessions(EventLoop& loop, Images& images, Invoker& invoker, History& history,
           EgressProxies& proxies, uint32_t dead_kept);
  ~Sessions() override;
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // The image is known, all else is valid; the id is given here. `created` is called once. Returns
  // the id.
  std::string Create(const std::string& image, SessionSettings settings, Created created);
  // The same in a sandbox of the zygote that `settings.branch_of`'s comes from.
  std::string CreateBranch(const Session& source, SessionSettings settings, Created created);
  // The client has gone before its session was there.
  void CancelCreate(const std::string& id, const std::string& why = "the client went away");
  // Null: it has ended, or ends.
  Session* Live(const std::string& id) const;
  // By a prefix that no other has among those that `visible` admits.
  Result<Found> Find(const std::string& prefix, const Visible& visible);
  std::vector<v1::Session> List(bool include_dead, const Visible& visible) const;
  // Ids of the live ones of an image.
  std::vector<std::string> Of(const ZygoteImage& image) const;
  void EvictAllOf(const ZygoteImage& image, const std::string& message);
  // Ends all; `done` runs when they are gone.
  void ShutDown(std::function<void()> done);

 private:
  struct Held {
    std::string image;
    SessionSettings settings;  // until there is a session
    Created created;
    uint64_t place_request = 0;
    bool placed = false;
    SlotId slot = 0;
    ZygoteImage* zygote_image = nullptr;
    uint64_t take_request = 0;
    SandboxPool* branch_pool = nullptr;  // that it takes from; of a branch
    bool taken = false;                  // a sandbox, or why there is none
    std::unique_ptr<Session> session;    // null: it waits for a place
  };
  struct Dead {
    v1::Session info;
    std::shared_ptr<SessionLog> log;
  };
  uint64_t Take(const std::string& id, Held& held);
  uint64_t TakeForBranch(const std::string& id, Held& held);
  Result<ZygoteImage*> ImageFor(const Held& held);
  void Placed(const std::string& id, Result<SlotId> slot);
  void Taken(const std::string& id, Result<ZygoteImage::Lease> lease);
  void Ready(const std::string& id, const Result<>& started);
  void SessionGone(Session& session) override;
  void CheckStopped();
  void Tell(v1::HostEvent::Kind kind, const v1::Session& session);

  EventLoop& loop_;
  Images& images_;
  Invoker& invoker_;
  History& history_;
  EgressProxies& proxies_;
  uint32_t dead_kept_;
  std::map<std::string, Held> held_;
  std::deque<Dead> dead_;  // the youngest last
  bool stopping_ = false;
  std::function<void()> stopped_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
