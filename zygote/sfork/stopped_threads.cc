#include "zygote/sfork/stopped_threads.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "zygote/sfork/arch.h"
#include "zygote/sfork/proc_text.h"
#include "zygote/sfork/timer_helper.h"

namespace spore {
namespace {

using Clock = std::chrono::steady_clock;

bool disowned = false;  // in a child: the table in use is its parent's

// Why a round of stopping came to nothing.
struct Obstacle {
  enum Kind {
    kNone,
    kRunning,        // not in a system call, or woken before it could be stopped
    kCall,           // in a call that cannot be made again
    kUnresponsive,   // does not take the signal
    kSignalBlocked,  // cannot take it
    kTooMany,
    kTimer,
    kSystem,  // errno
  };
  Kind kind = kNone;
  pid_t tid = 0;
  SleepingCall call;
  int errno_value = 0;
  TimerObstacle timer{};

  bool IsHopeless() const {
    return kind == kTooMany || kind == kSystem ||
           (kind == kTimer && timer.kind != TimerObstacle::kPending);
  }
};

// One attempt. Only raw calls and the table, see the header.
class Round {
 public:
  Round(NoteTable& table, Clock::time_point deadline) : table_(table), deadline_(deadline) {}

  // Stops threads until a listing shows none that is not stopped: one that ran when the list was
  // made may have started others.
  Obstacle Run() {
    for (;;) {
      const size_t before = table_.size();
      if (Obstacle o = NoteNewcomers(); o.kind != Obstacle::kNone) return o;
      if (table_.size() == before) return {};
      if (Obstacle o = Signal(before); o.kind != Obstacle::kNone) return o;
      if (Obstacle o = Await(before); o.kind != Obstacle::kNone) return o;
    }
  }

  size_t ended() const { return ended_; }

 private:
  // Looks at all before it disturbs any: a busy process is left alone.
  Obstacle NoteNewcomers() {
    const ssize_t count = ListThreadIds(tids_, NoteTable::kCapacity);
    if (count < 0) return {.kind = Obstacle::kSystem, .errno_value = errno};
    if (count > static_cast<ssize_t>(NoteTable::kCapacity)) return {.kind = Obstacle::kTooMany};
    const auto self = static_cast<pid_t>(arch::RawSyscall(SYS_gettid));
    ended_ = 0;
    for (ssize_t i = 0; i < count; ++i) {
      if (tids_[i] == self || table_.Find(tids_[i]) != nullptr) continue;
      SleepingCall call;
      const ThreadState state = ReadSleepingCall(tids_[i], &call);
      if (state == ThreadState::kEnded) {
        ++ended_;
        continue;
      }
      if (state == ThreadState::kRunning) return {Obstacle::kRunning, tids_[i], call, 0};
      if (ResumptionOf(call) == Resumption::kRefused) return {Obstacle::kCall, tids_[i], call, 0};
      // The mask of a sleeper does not change, so the signal need not even be sent.
      ProcText status;
      if (!status.ReadTask(tids_[i], "status")) return {Obstacle::kRunning, tids_[i], call, 0};
      const int32_t* helper = TimerHelperId();
      const bool is_helper = helper != nullptr && *helper == tids_[i];
      const int signal = is_helper ? kHelperFreezeSignal : kFreezeSignal;
      if ((status.Mask("SigBlk:") >> (signal - 1) & 1) != 0)
        return {Obstacle::kSignalBlocked, tids_[i], call, 0};
      ThreadNote* note = table_.Add(tids_[i], call);
      if (note == nullptr) return {.kind = Obstacle::kTooMany};
      note->is_timer_helper = is_helper;
    }
    return {};
  }

  Obstacle Signal(size_t first) {
    for (ThreadNote* note = table_.begin() + first; note != table_.end(); ++note) {
      const long rc = SendFreezeSignal(*note);
      if (rc < 0) {
        note->state.store(ThreadNote::kGone);
        return {Obstacle::kRunning, note->tid, note->call, static_cast<int>(-rc)};
      }
    }
    return {};
  }

  Obstacle Await(size_t first) {
    for (ThreadNote* note = table_.begin() + first; note != table_.end(); ++note) {
      if (Obstacle o = AwaitOne(*note); o.kind != Obstacle::kNone) return o;
      if (!PrepareResumption(note->call, *note->context))
        return {Obstacle::kRunning, note->tid, note->call, 0};
    }
    return {};
  }

  Obstacle AwaitOne(const ThreadNote& note) {
    for (;;) {
      const uint32_t stopped = table_.stopped.load();
      if (note.state.load() == ThreadNote::kStopped) return {};
      ProcText status;
      if (!status.ReadTask(note.tid, "status")) return {Obstacle::kRunning, note.tid, note.call, 0};
      if (Clock::now() > deadline_) return {Obstacle::kUnresponsive, note.tid, note.call, 0};
      const timespec slice{.tv_sec = 0, .tv_nsec = 20'000'000};
      FutexWait(table_.stopped, stopped, &slice);
    }
  }

  NoteTable& table_;
  Clock::time_point deadline_;
  size_t ended_ = 0;
  pid_t tids_[NoteTable::kCapacity];
};

// Lets every thread go and waits until none is in the handler any more: their notes are about to be
// forgotten.
void ReleaseAll(NoteTable& table) {
  for (ThreadNote& note : table) {
    uint32_t asked = ThreadNote::kAsked;
    // Signalled, but not there yet: it finds the note withdrawn and returns.
    if (note.state.compare_exchange_strong(asked, ThreadNote::kGone)) continue;
    while (note.state.load() == ThreadNote::kStopping) sched_yield();
    if (note.state.load() != ThreadNote::kStopped) continue;
    // So that it does not notice either: the others have been set up in Await.
    PrepareResumption(note.call, *note.context);
    note.state.store(ThreadNote::kReleased);
    FutexWake(note.state);
  }
  for (ThreadNote& note : table) {
    while (note.state.load() == ThreadNote::kReleased) sched_yield();
  }
  table.Clear();
}

std::string NameOf(pid_t tid) {
  ProcText text;
  text.ReadTask(tid, "comm");
  std::string name(text.view().substr(0, text.view().find('\n')));
  return "thread " + std::to_string(tid) + (name.empty() ? "" : " (" + name + ")");
}

tl::unexpected<Error> Refusal(const Obstacle& obstacle) {
  const std::string who = NameOf(obstacle.tid);
  const auto error = [](const std::string& text, std::string_view hint) {
    return MakeError(ErrorKind::kPrecondition, text, hint);
  };
  switch (obstacle.kind) {
    case Obstacle::kRunning:
      return error(who + " does not come to rest: it runs",
                   "wait until the runtime is idle, or give the freeze more patience");
    case Obstacle::kCall:
      return error(
          who + " is in " + CallName(obstacle.call) + ", which cannot be made a second time",
          "threads must sleep in futex, epoll_wait, poll, read, accept or a sleep");
    case Obstacle::kUnresponsive:
      return error(who + " in " + CallName(obstacle.call) + " does not take the freeze signal", {});
    case Obstacle::kSignalBlocked:
      return error(who + " blocks the freeze signal",
                   "preload libsfork's interposers, so that no mask contains it");
    case Obstacle::kTooMany:
      return error("the process has more threads than " + std::to_string(NoteTable::kCapacity), {});
    case Obstacle::kTimer:
      return RefuseTimer(obstacle.timer);
    default:
      return SysErrorOf(obstacle.errno_value, "list the threads");
  }
}

}  // namespace

StoppedThreads::StoppedThreads(StoppedThreads&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)), ended_(other.ended_) {}

StoppedThreads& StoppedThreads::operator=(StoppedThreads&& other) noexcept {
  if (this != &other) {
    Release();
    table_ = std::exchange(other.table_, nullptr);
    ended_ = other.ended_;
  }
  return *this;
}

Result<StoppedThreads> StoppedThreads::Stop(std::chrono::milliseconds patience,
                                            const int32_t* caller_id, ProcessTimers* timers) {
  if (UsedNoteTable() != nullptr)
    return MakeError(ErrorKind::kPrecondition, "this process is frozen already");
  StoppedThreads stopped;
  // One table serves every freeze of a process, since a thread that was signalled in vain may look
  // at it at any time. A child starts another: its new threads read this one.
  static NoteTable* table = nullptr;
  if (table == nullptr || disowned) table = NoteTable::Make();
  disowned = false;
  stopped.table_ = table;
  if (stopped.table_ == nullptr) return SysError("mmap the thread notes");
  SPORE_TRY(InstallFreezeHandler(stopped.table_));
  const Clock::time_point deadline = Clock::now() + patience;
  Obstacle last;
  for (timespec pause{.tv_sec = 0, .tv_nsec = 500'000};;) {
    Round round(*stopped.table_, deadline);
    Obstacle obstacle = round.Run();
    if (obstacle.kind == Obstacle::kNone) {
      obstacle.timer = timers->Hold(stopped.table_, caller_id);
      if (obstacle.timer.kind != TimerObstacle::kNone) obstacle.kind = Obstacle::kTimer;
    }
    if (obstacle.kind == Obstacle::kNone) {
      stopped.ended_ = round.ended();
      return stopped;
    }
    ReleaseAll(*stopped.table_);
    // The round in which patience ends is cut short: what the one before met says more.
    if (obstacle.kind == Obstacle::kUnresponsive && last.kind == Obstacle::kTimer) obstacle = last;
    if (obstacle.IsHopeless() || Clock::now() > deadline) return Refusal(obstacle);
    last = obstacle;
    nanosleep(&pause, nullptr);
    pause.tv_nsec = std::min(pause.tv_nsec * 2, 20'000'000L);
  }
}

void StoppedThreads::Release() {
  if (table_ == nullptr) return;
  if (UsedNoteTable() == table_) {  // else this is a child's copy
    ReleaseAll(*table_);
    UseNoteTable(nullptr);
  }
  table_ = nullptr;
}

void StoppedThreads::Disown() {
  UseNoteTable(nullptr);
  disowned = true;
}

Result<> StoppedThreads::NoteAttributes(uint64_t timer_signals) {
  const auto refuse = [](const ThreadNote& note, const std::string& why) {
    return MakeError(ErrorKind::kPrecondition, NameOf(note.tid) + " " + why);
  };
  const int own_policy = sched_getscheduler(0);
  const int own_nice = getpriority(PRIO_PROCESS, 0);
  const auto own_slack = static_cast<unsigned long>(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
  unsigned long own_affinity[16] = {};
  if (syscall(SYS_sched_getaffinity, 0, sizeof own_affinity, own_affinity) < 0)
    return SysError("sched_getaffinity");
  if (table_ == nullptr) return {};
  for (ThreadNote& note : *table_) {
    if (note.tid_address == nullptr || *note.tid_address != note.tid)
      return refuse(note, "was not made by pthread_create: glibc does not know its id");
    if (!note.plain_registers) return refuse(note, "uses the GS register base");
    note.policy = sched_getscheduler(note.tid);
    note.other_policy = note.policy != own_policy;
    if (note.other_policy && note.policy != SCHED_BATCH && note.policy != SCHED_IDLE)
      return refuse(note, "has a scheduling policy that takes privilege to give it again");
    note.nice = getpriority(PRIO_PROCESS, static_cast<id_t>(note.tid));
    note.other_nice = note.nice != own_nice;
    if (note.nice < own_nice)
      return refuse(note, "has a better nice value than the caller, which takes privilege");
    if (syscall(SYS_sched_getaffinity, note.tid, sizeof note.affinity, note.affinity) < 0)
      return SysError("sched_getaffinity", NameOf(note.tid));
    note.other_affinity = memcmp(note.affinity, own_affinity, sizeof own_affinity) != 0;
    note.other_slack = note.timer_slack != own_slack;
    SPORE_TRY(note.held.Find(note.tid, arch::StackPointer(*note.context),
                             arch::Registers(*note.context)));
    ProcText status;
    status.ReadTask(note.tid, "status");
    // One of our own, sent in an earlier round, is nothing to it. A timer's was sent while that was
    // being disarmed: it will expire again.
    const uint64_t freeze_signal = uint64_t{1} << (kFreezeSignal - 1);
    if ((status.Mask("SigPnd:") & ~(freeze_signal | timer_signals)) != 0)
      return refuse(note, "has signals pending");
  }
  return {};
}

}  // namespace spore
