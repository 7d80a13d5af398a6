#include "daemon/events/schedules.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/unix_time.h"
#include "daemon/rpc/payload.h"

namespace spore {
namespace {

constexpr int64_t kSetBackMs = 3 * 3'600'000;
// The timer's own bound: whatever happens, times are looked at once an hour.
constexpr int64_t kLongestMs = 3'600'000;

}  // namespace

Result<ScheduleTimes> ScheduleTimes::Of(const v1::Schedule& schedule) {
  ScheduleTimes times;
  if (schedule.cron().empty()) return times;
  SPORE_ASSIGN(times.cron, Cron::Parse(schedule.cron()));
  SPORE_ASSIGN(times.zone, TimeZone::Load(schedule.time_zone()));
  return times;
}

int64_t ScheduleTimes::Next(const v1::Schedule& schedule, int64_t now_ms) const {
  const int64_t last = schedule.last_unix_ms();
  const int64_t after = last > now_ms && last - now_ms <= kSetBackMs ? last : now_ms;
  if (cron) return cron->Next(after / 1000, zone).value_or(0) * 1000;
  if (schedule.every_ms() > 0) {
    return NextOfInterval(schedule.created_unix_ms() + static_cast<int64_t>(schedule.every_ms()),
                          static_cast<int64_t>(schedule.every_ms()), after);
  }
  return schedule.at_unix_ms();
}

Schedules::Schedules(EventLoop& loop, AsyncDispatcher& async, FunctionStore& functions,
                     uint32_t client_most)
    : loop_(loop), async_(async), functions_(functions), client_most_(client_most) {}

Schedules::~Schedules() = default;

Result<std::unique_ptr<Schedules>> Schedules::Create(EventLoop& loop, AsyncDispatcher& async,
                                                     FunctionStore& functions,
                                                     uint32_t client_most) {
  std::unique_ptr<Schedules> made(new Schedules(loop, async, functions, client_most));
  made->clock_.Reset(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!made->clock_) return SysError("timerfd_create");
  return made;
}

Result<> Schedules::Load() {
  SPORE_ASSIGN(std::vector<v1::Schedule> stored, async_.store().disk().LoadSchedules());
  for (v1::Schedule& schedule : stored) {
    auto entry = std::make_shared<Entry>();
    auto times = ScheduleTimes::Of(schedule);
    if (times) {
      entry->times = std::move(*times);
    } else {
      Log(LogLevel::kWarning,
          "schedule " + schedule.name() + " does not fire: " + times.error().Message());
      schedule.set_last_error(times.error().Message());
      schedule.set_next_unix_ms(0);
    }
    const std::string name = schedule.name();
    entry->schedule = std::move(schedule);
    entries_[name] = std::move(entry);
  }
  return {};
}

void Schedules::Start() {
  started_ = true;
  watch_ = loop_.WatchReadable(clock_.get(), [this] { ClockReady(); });
  FireDue();
}

void Schedules::Stop() {
  stopping_ = true;
  watch_.reset();
}

void Schedules::ClockReady() {
  uint64_t expired = 0;
  bool set = false;
  while (true) {
    if (read(clock_.get(), &expired, sizeof expired) == sizeof expired) continue;
    if (errno != ECANCELED) break;
    set = true;
    break;
  }
  if (set) {
    Log(LogLevel::kInfo, "the clock was set: the times of schedules are computed again");
    const int64_t now = NowUnixMs();
    for (auto& [name, entry] : entries_) {
      v1::Schedule& schedule = entry->schedule;
      // What has come due meanwhile still fires, once.
      if (schedule.next_unix_ms() > now)
        schedule.set_next_unix_ms(entry->times.Next(schedule, now));
    }
  }
  FireDue();
}

void Schedules::Arm() {
  int64_t next = 0;
  for (const auto& [name, entry] : entries_) {
    const int64_t due = entry->schedule.next_unix_ms();
    if (due != 0 && !entry->busy && (next == 0 || due < next)) next = due;
  }
  itimerspec at{};  // none: disarmed
  if (next != 0) {
    next = std::min(next, NowUnixMs() + kLongestMs);
    at.it_value.tv_sec = next / 1000;
    at.it_value.tv_nsec = next % 1000 * 1'000'000 + 1;
  }
  if (timerfd_settime(clock_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr) == 0)
    return;
  // The clock was set since it was last read (the manual page): it is armed all the same.
  if (errno != ECANCELED) Log(LogLevel::kError, SysError("timerfd_settime").value().Message());
}

void Schedules::FireDue() {
  if (!started_ || stopping_) return;
  const int64_t now = NowUnixMs();
  std::vector<EntryPtr> due;
  for (const auto& [name, entry] : entries_) {
    const int64_t next = entry->schedule.next_unix_ms();
    if (next != 0 && next <= now && !entry->busy) due.push_back(entry);
  }
  for (const EntryPtr& entry : due) Fire(entry, now);
  Arm();
}

void Schedules::Fire(const EntryPtr& entry, int64_t now_ms) {
  v1::Schedule changed = entry->schedule;
  const bool once = changed.at_unix_ms() != 0;
  changed.set_last_unix_ms(now_ms);
  changed.set_next_unix_ms(once ? 0 : entry->times.Next(changed, now_ms));
  entry->busy = true;
  AsyncDispatcher::Asked asked;
  asked.version = functions_.Find(changed.function());
  if (!asked.version || asked.version->function.owner_uid() != changed.owner_uid())
    return Missed(entry, std::move(changed), "no function \"" + changed.function() + "\"");
  const uint64_t most = asked.version->function.settings().limits().payload_bytes();
  if (changed.payload().size() > most) {
    const std::string why = PayloadTooLarge(changed.payload().size(), most).Message();
    return Missed(entry, std::move(changed), why);
  }
  changed.set_fired(changed.fired() + 1);
  changed.clear_last_error();
  asked.payload = changed.payload();
  asked.origin = "schedule " + changed.name();
  asked.also = [changed, once](AsyncDisk& disk, const StoredEvent& event) -> Result<> {
    if (once) return disk.RemoveSchedule(changed.name());
    v1::Schedule written = changed;
    written.set_last_event(event.event.id());
    return disk.PutSchedule(written);
  };
  async_.Accept(std::move(asked),
                [this, entry, changed, once](const Result<std::string>& id) mutable {
                  if (!id) {
                    changed.set_fired(entry->schedule.fired());
                    return Missed(entry, std::move(changed), id.error().Message());
                  }
                  async_.CountFiring(true);
                  changed.set_last_event(*id);
                  if (once) {
                    const auto found = entries_.find(changed.name());
                    if (found != entries_.end() && found->second == entry) entries_.erase(found);
                  }
                  entry->schedule = std::move(changed);
                  Free(*entry);
                  FireDue();
                });
}

// The next firing is another chance; of what fires once there is none.
void Schedules::Missed(const EntryPtr& entry, v1::Schedule changed, const std::string& why) {
  async_.CountFiring(false);
  changed.set_last_error(why);
  Log(LogLevel::kWarning, "schedule " + changed.name() + " did not fire: " + why);
  const auto done = [this, entry, changed](const Result<>&) {
    // Not on disk: it holds for as long as the daemon lives.
    entry->schedule = changed;
    Free(*entry);
    Arm();
  };
  async_.store().Submit(
      AsyncStore::Kind::kChange, [changed](AsyncDisk& disk) { return disk.PutSchedule(changed); },
      done);
}

void Schedules::Free(Entry& entry) {
  entry.busy = false;
  for (const auto& task : std::exchange(entry.when_free, {})) task();
}

// True: the task has been put off, until the schedule's change is done.
bool Schedules::WhenFree(const std::string& name, std::function<void()> task) {
  const auto found = entries_.find(name);
  if (found == entries_.end() || !found->second->busy) return false;
  found->second->when_free.push_back(std::move(task));
  return true;
}

const v1::Schedule* Schedules::Find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second->schedule;
}

std::vector<v1::Schedule> Schedules::List() const {
  std::vector<v1::Schedule> list;
  for (const auto& [name, entry] : entries_) list.push_back(entry->schedule);
  return list;
}

void Schedules::Add(v1::Schedule schedule, Done done) {
  const std::string name = schedule.name();
  if (entries_.contains(name)) {
    return done(MakeError(ErrorKind::kExists, "schedule \"" + name + "\" exists already",
                          "use another name (--name), or remove it first"));
  }
  const uid_t owner = schedule.owner_uid();
  size_t count = 0;
  for (const auto& [other, entry] : entries_)
    if (entry->schedule.owner_uid() == owner) ++count;
  if (owner != 0 && count >= client_most_) {
    return done(MakeError(ErrorKind::kOverloaded,
                          "uid " + std::to_string(owner) + " has " + std::to_string(count) +
                              " schedules, the most it may have (async.client-schedules)",
                          "remove one first"));
  }
  auto entry = std::make_shared<Entry>();
  entry->schedule = std::move(schedule);
  entry->busy = true;
  entries_[name] = entry;  // the name is taken from now on
  const auto made = std::make_shared<Entry>(*entry);
  async_.store().Submit(
      AsyncStore::Kind::kChange,
      [made](AsyncDisk& disk) -> Result<> {
        v1::Schedule& stored = made->schedule;
        SPORE_ASSIGN(made->times, ScheduleTimes::Of(stored));
        const int64_t next = made->times.Next(stored, stored.created_unix_ms());
        if (next == 0)
          return MakeError(ErrorKind::kInvalid, "cron: \"" + stored.cron() + "\" is never reached");
        stored.set_next_unix_ms(stored.paused() ? 0 : next);
        return disk.PutSchedule(stored);
      },
      [this, entry, made, name, done = std::move(done)](const Result<>& written) {
        if (!written) {
          entries_.erase(name);
          done(tl::unexpected(written.error()));
          return Free(*entry);
        }
        entry->schedule = made->schedule;
        entry->times = made->times;
        done(entry->schedule);
        Free(*entry);
        FireDue();
      });
}

void Schedules::Remove(const std::string& name, std::function<void(Result<>)> done) {
  if (WhenFree(name, [this, name, done] { Remove(name, done); })) return;
  const auto found = entries_.find(name);
  if (found == entries_.end())
    return done(MakeError(ErrorKind::kNotFound, "no schedule \"" + name + "\""));
  const EntryPtr entry = found->second;
  entry->busy = true;
  async_.store().Submit(
      AsyncStore::Kind::kChange, [name](AsyncDisk& disk) { return disk.RemoveSchedule(name); },
      [this, name, entry, done](Result<> removed) {
        if (removed) entries_.erase(name);
        done(std::move(removed));
        Free(*entry);
        FireDue();
      });
}

void Schedules::SetPaused(const std::string& name, bool paused, Done done) {
  if (WhenFree(name, [this, name, paused, done] { SetPaused(name, paused, done); })) return;
  const auto found = entries_.find(name);
  if (found == entries_.end())
    return done(MakeError(ErrorKind::kNotFound, "no schedule \"" + name + "\""));
  const EntryPtr entry = found->second;
  v1::Schedule changed = entry->schedule;
  if (changed.paused() == paused) return done(changed);
  changed.set_paused(paused);
  changed.set_next_unix_ms(paused ? 0 : entry->times.Next(changed, NowUnixMs()));
  entry->busy = true;
  async_.store().Submit(
      AsyncStore::Kind::kChange, [changed](AsyncDisk& disk) { return disk.PutSchedule(changed); },
      [this, entry, changed, done](const Result<>& stored) {
        if (stored) entry->schedule = changed;
        done(stored ? Result<v1::Schedule>(changed) : tl::unexpected(stored.error()));
        Free(*entry);
        FireDue();
      });
}

}  // namespace spore
