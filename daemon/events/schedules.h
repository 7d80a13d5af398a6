// Schedules: each firing is an event, accepted in the same transaction in which the schedule's next
// firing is written down. So none is lost or doubled by the daemon's death; what was missed while
// it was down is made up for by one firing.
//
// The clock may be set at any time: the timer ends then (timerfd_create(2),
// TFD_TIMER_CANCEL_ON_SET) and all next firings are computed again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/common/time_zone.h"
#include "daemon/events/async_dispatcher.h"
#include "daemon/events/cron.h"
#include "daemon/functions/function_store.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/schedules.pb.h"

namespace spore {

// When a schedule fires.
struct ScheduleTimes {
  std::optional<Cron> cron;
  TimeZone zone;

  // kInvalid names the field. Reads the time zone's file.
  static Result<ScheduleTimes> Of(const v1::Schedule& schedule);
  // The first firing after `now_ms`; 0: there is none. A clock that was set back by up to three
  // hours has nothing fire twice: time goes on from the last firing.
  int64_t Next(const v1::Schedule& schedule, int64_t now_ms) const;
};

class Schedules {
 public:
  static Result<std::unique_ptr<Schedules>> Create(EventLoop& loop, AsyncDispatcher& async,
                                                   FunctionStore& functions, uint32_t client_most);
  ~Schedules();
  Schedules(const Schedules&) = delete;
  Schedules& operator=(const Schedules&) = delete;

  // Before the loop runs.
  Result<> Load();
  void Start();
  void Stop();

  using Done = std::function<void(Result<v1::Schedule>)>;
  // `schedule`: checked but for its times and time zone; with owner.
  void Add(v1::Schedule schedule, Done done);
  void Remove(const std::string& name, std::function<void(Result<>)> done);
  void SetPaused(const std::string& name, bool paused, Done done);
  // Null: there is none.
  const v1::Schedule* Find(const std::string& name) const;
  std::vector<v1::Schedule> List() const;

 private:
  struct Entry {
    v1::Schedule schedule;
    ScheduleTimes times;
    bool busy = false;  // a change of it is on its way to the disk
    std::vector<std::function<void()>> when_free;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  Schedules(EventLoop& loop, AsyncDispatcher& async, FunctionStore& functions,
            uint32_t client_most);
  void ClockReady();
  void Arm();
  void FireDue();
  void Fire(const EntryPtr& entry, int64_t now_ms);
  void Missed(const EntryPtr& entry, v1::Schedule changed, const std::string& why);
  void Free(Entry& entry);
  bool WhenFree(const std::string& name, std::function<void()> task);

  EventLoop& loop_;
  AsyncDispatcher& async_;
  FunctionStore& functions_;
  uint32_t client_most_;
  std::map<std::string, EntryPtr> entries_;
  UniqueFd clock_;
  std::unique_ptr<EventLoop::Watch> watch_;
  bool started_ = false;
  bool stopping_ = false;
};

}  // namespace spore
