#include "zygote/sfork/process_timers.h"

#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "zygote/sfork/arch.h"
#include "zygote/sfork/proc_text.h"
#include "zygote/sfork/signals_blocked.h"

namespace spore {
namespace {

using arch::RawSyscall;

// glibc's timer_create(3) writes a process's own CPU clock so: that of process 0, the caller.
constexpr int kOwnCpuClock = -6;
constexpr std::array kIntervalSignals = {SIGALRM, SIGVTALRM, SIGPROF};
constexpr long kNanoseconds = 1'000'000'000;

bool held = false;  // not in a child

template <typename T>
long Word(T pointer) {
  return reinterpret_cast<long>(pointer);
}

bool CountsCpuTime(int clock) {
  return clock == CLOCK_PROCESS_CPUTIME_ID || clock == kOwnCpuClock;
}

// Those that may wake the machine take a privilege; CPU clocks of threads and of other processes
// name them by ids that a child has not.
bool IsKnownClock(int clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
         clock == CLOCK_TAI || CountsCpuTime(clock);
}

bool IsZero(const timespec& time) {
  return time.tv_sec == 0 && time.tv_nsec == 0;
}
bool IsZero(const timeval& time) {
  return time.tv_sec == 0 && time.tv_usec == 0;
}

timespec Sum(const timespec& a, const timespec& b) {
  timespec sum{.tv_sec = a.tv_sec + b.tv_sec, .tv_nsec = a.tv_nsec + b.tv_nsec};
  if (sum.tv_nsec < kNanoseconds) return sum;
  return {.tv_sec = sum.tv_sec + 1, .tv_nsec = sum.tv_nsec - kNanoseconds};
}

// At least a microsecond: nothing would disarm.
timeval TimeUntil(const timespec& deadline) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t left =
      (deadline.tv_sec - now.tv_sec) * 1'000'000 + (deadline.tv_nsec - now.tv_nsec) / 1000;
  if (left <= 0) return {.tv_sec = 0, .tv_usec = 1};
  return {.tv_sec = left / 1'000'000, .tv_usec = std::max<int64_t>(left % 1'000'000, 1)};
}

bool Set(int number, const itimerval& time) {
  // The set of interval timers is an enum of glibc's in C++.
  return setitimer(static_cast<__itimer_which>(number), &time, nullptr) == 0;
}

// A record of /proc/self/timers (proc_pid_timers(5)). Returns its end, or null.
const char* ReadRecord(const char* text, PosixTimerNote& note) {
  char way[8] = {}, whom[4] = {};
  int length = 0;
  if (sscanf(text, "ID: %d signal: %d/%lx notify: %7[^/]/%3[a-z].%d ClockID: %d %n", &note.id,
             &note.signal, &note.value, way, whom, &note.tid, &note.clock, &length) != 7) {
    return nullptr;
  }
  const bool one_thread = std::string_view(whom) == "tid";
  note.notify = -1;
  if (std::string_view(way) == "none" && !one_thread) note.notify = SIGEV_NONE;
  if (std::string_view(way) == "signal") note.notify = one_thread ? SIGEV_THREAD_ID : SIGEV_SIGNAL;
  return text + length;
}

TimerObstacle::Kind WhyNot(const PosixTimerNote& note) {
  if (note.notify < 0) return TimerObstacle::kNotify;
  if (note.id > ProcessTimers::kHighestId) return TimerObstacle::kHighId;
  if (!IsKnownClock(note.clock)) return TimerObstacle::kClock;
  if (note.notify != SIGEV_NONE &&
      (note.signal == kFreezeSignal || note.signal == kHelperFreezeSignal)) {
    return TimerObstacle::kOwnSignal;
  }
  return TimerObstacle::kNone;
}

const int32_t* WhereItsIdIs(pid_t tid, const NoteTable* stopped, const int32_t* caller_id) {
  if (*caller_id == tid) return caller_id;
  if (stopped == nullptr) return nullptr;
  for (const ThreadNote& note : *stopped)
    if (note.tid == tid) return note.tid_address;
  return nullptr;
}

// Of the given signals, those that wait for the process or for one of the stopped threads.
uint64_t Pending(uint64_t signals, const NoteTable* stopped) {
  ProcText status;
  if (!status.Read("/proc/thread-self/status")) return 0;
  uint64_t pending = status.Mask("ShdPnd:") | status.Mask("SigPnd:");
  if (stopped != nullptr) {
    for (const ThreadNote& note : *stopped)
      if (status.ReadTask(note.tid, "status")) pending |= status.Mask("SigPnd:");
  }
  return pending & signals;
}

// 0, or -errno. The kernel gives ids in their order; those that the process had and deleted are
// passed over.
long Create(const PosixTimerNote& note) {
  sigevent event{};
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(note.value);
  event.sigev_signo = note.signal;
  event.sigev_notify = note.notify;
  if (note.thread != nullptr) event._sigev_un._tid = *note.thread;
  for (;;) {
    int id = 0;
    const long rc = RawSyscall(SYS_timer_create, note.clock, Word(&event), Word(&id));
    if (rc < 0 || id == note.id) return rc;
    RawSyscall(SYS_timer_delete, id);
    if (id > note.id) return -EBUSY;  // the child has made timers of its own
  }
}

}  // namespace

ProcessTimers::ProcessTimers(ProcessTimers&& other) noexcept {
  *this = std::move(other);
}

ProcessTimers& ProcessTimers::operator=(ProcessTimers&& other) noexcept {
  if (this == &other) return *this;
  Release();
  count_ = std::exchange(other.count_, 0);
  notes_ = other.notes_;
  interval_timers_ = other.interval_timers_;
  real_deadline_ = other.real_deadline_;
  has_interval_timers_ = std::exchange(other.has_interval_timers_, false);
  holds_ = std::exchange(other.holds_, false);
  return *this;
}

TimerObstacle ProcessTimers::Hold(const NoteTable* stopped, const int32_t* caller_id) {
  // What expires meanwhile and is for the caller is seen to be pending.
  const SignalsBlocked blocked;
  TimerObstacle obstacle = List(stopped, caller_id);
  if (obstacle.kind != TimerObstacle::kNone) return obstacle;
  if (!NoteTimes()) return {.kind = TimerObstacle::kUnreadable};
  if (empty()) return {};
  // A signal that has been sent is not copied, and its timer says no more that it was armed. One
  // that is sent after this look was still armed when its time was noted: it expires again.
  if (const uint64_t pending = Pending(Signals(), stopped); pending != 0)
    return {.kind = TimerObstacle::kPending, .value = __builtin_ctzl(pending) + 1};
  Disarm();
  held = holds_ = true;
  return {};
}

TimerObstacle ProcessTimers::List(const NoteTable* stopped, const int32_t* caller_id) {
  count_ = 0;
  ProcText text;
  text.Read("/proc/self/timers");  // absent in kernels without POSIX timers
  for (const char* at = text.data(); *at != '\0';) {
    if (count_ == kCapacity) return {.kind = TimerObstacle::kTooMany};
    PosixTimerNote note;
    at = ReadRecord(at, note);
    if (at == nullptr) return {.kind = TimerObstacle::kUnreadable};
    const TimerObstacle::Kind why = WhyNot(note);
    const int number = why == TimerObstacle::kClock ? note.clock : note.signal;
    if (why != TimerObstacle::kNone) return {why, note.id, number};
    if (note.notify == SIGEV_THREAD_ID) {
      note.thread = WhereItsIdIs(note.tid, stopped, caller_id);
      if (note.thread == nullptr) return {TimerObstacle::kThread, note.id, note.tid};
    }
    notes_[count_++] = note;
  }
  std::sort(begin(), end(),
            [](const PosixTimerNote& a, const PosixTimerNote& b) { return a.id < b.id; });
  return {};
}

bool ProcessTimers::NoteTimes() {
  for (PosixTimerNote& note : *this) {
    timespec now{};
    if (clock_gettime(note.clock, &now) < 0) return false;
    if (RawSyscall(SYS_timer_gettime, note.id, Word(&note.time)) < 0) return false;
    if (!IsZero(note.time.it_value) && !CountsCpuTime(note.clock))
      note.time.it_value = Sum(now, note.time.it_value);
  }
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  has_interval_timers_ = false;
  for (size_t i = 0; i < interval_timers_.size(); ++i) {
    itimerval& time = interval_timers_[i];
    if (getitimer(static_cast<__itimer_which>(i), &time) < 0) return false;
    if (!IsZero(time.it_value)) has_interval_timers_ = true;
  }
  const timeval& left = interval_timers_[ITIMER_REAL].it_value;
  real_deadline_ = Sum(now, {.tv_sec = left.tv_sec, .tv_nsec = left.tv_usec * 1000});
  return true;
}

uint64_t ProcessTimers::Signals() const {
  uint64_t signals = 0;
  for (const PosixTimerNote& note : *this)
    if (note.notify != SIGEV_NONE) signals |= uint64_t{1} << (note.signal - 1);
  for (size_t i = 0; i < interval_timers_.size(); ++i)
    if (!IsZero(interval_timers_[i].it_value)) signals |= uint64_t{1} << (kIntervalSignals[i] - 1);
  return signals;
}

void ProcessTimers::Disarm() const {
  const itimerspec never{};
  for (const PosixTimerNote& note : *this)
    if (!IsZero(note.time.it_value)) RawSyscall(SYS_timer_settime, note.id, 0, Word(&never));
  for (size_t i = 0; i < interval_timers_.size(); ++i)
    if (!IsZero(interval_timers_[i].it_value)) Set(static_cast<int>(i), {});
}

bool ProcessTimers::Arm() const {
  for (const PosixTimerNote& note : *this) {
    if (IsZero(note.time.it_value)) continue;
    const int flags = CountsCpuTime(note.clock) ? 0 : TIMER_ABSTIME;
    if (RawSyscall(SYS_timer_settime, note.id, flags, Word(&note.time)) < 0) return false;
  }
  for (size_t i = 0; i < interval_timers_.size(); ++i) {
    itimerval time = interval_timers_[i];
    if (IsZero(time.it_value)) continue;
    if (i == ITIMER_REAL) time.it_value = TimeUntil(real_deadline_);
    if (!Set(static_cast<int>(i), time)) return false;
  }
  return true;
}

void ProcessTimers::Release() {
  if (holds_ && held) {  // else this is a child's copy
    Arm();
    held = false;
  }
  holds_ = false;
}

void ProcessTimers::Disown() {
  held = false;
}

StepResult ProcessTimers::MakeAgain() const {
  for (const PosixTimerNote& note : *this) {
    const long rc = Create(note);
    if (rc == -EBUSY) return {EBUSY, "make a timer again: its id is taken"};
    if (rc < 0) return {static_cast<int>(-rc), "make a timer of the runtime again"};
  }
  if (!Arm()) return StepFailed("arm a timer of the runtime again");
  return StepOk();
}

tl::unexpected<Error> RefuseTimer(const TimerObstacle& obstacle) {
  const std::string value = std::to_string(obstacle.value);
  const auto error = [&](const std::string& why, std::string_view hint = {}) {
    return MakeError(ErrorKind::kPrecondition,
                     "the process's POSIX timer " + std::to_string(obstacle.id) + " " + why, hint);
  };
  switch (obstacle.kind) {
    case TimerObstacle::kPending:
      return MakeError(ErrorKind::kPrecondition,
                       "a timer's signal " + value + " is pending and is not taken",
                       "unblock it, or disarm the timer before the freeze");
    case TimerObstacle::kTooMany:
      return MakeError(
          ErrorKind::kPrecondition,
          "the process has more POSIX timers than " + std::to_string(ProcessTimers::kCapacity),
          "delete those that it does not need");
    case TimerObstacle::kHighId:
      return error("has a higher id than " + std::to_string(ProcessTimers::kHighestId),
                   "make those that stay before those that come and go");
    case TimerObstacle::kClock:
      return error("runs by clock " + value + ", which a child would not have",
                   "CPU clocks of threads and other processes name them by ids; alarm clocks wake "
                   "the machine");
    case TimerObstacle::kNotify:
      return error("notifies in a way that is not known");
    case TimerObstacle::kOwnSignal:
      return error("sends signal " + value + ", by which threads are stopped");
    case TimerObstacle::kThread:
      return error("is for thread " + value + ", which has ended", "delete it");
    default:
      return MakeError(ErrorKind::kInternal, "the process's timers cannot be read");
  }
}

}  // namespace spore
