#include "zygote/sfork/sfork.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/sys/clone.h"
#include "zygote/sfork/audit.h"
#include "zygote/sfork/process_checks.h"
#include "zygote/sfork/robust_list.h"
#include "zygote/sfork/trial.h"

namespace spore {
namespace {

Result<> CheckAlone() {
  SPORE_ASSIGN(const size_t threads, CountThreads());
  if (threads == 1) return {};
  return MakeError(ErrorKind::kPrecondition,
                   "the zygote has " + std::to_string(threads) + " threads (" + DescribeThreads() +
                       ") where one is expected",
                   "a preloaded module starts threads: take it off the image's preload list");
}

}  // namespace

Result<FrozenProcess> FrozenProcess::Freeze(const FreezeOptions& options) {
  FrozenProcess frozen;
  // The kernel was told this address by glibc (set_tid_address(2), or clone(2) for a later thread):
  // it is the `tid` field of the caller's descriptor, which must hold the child's id in the child.
  if (prctl(PR_GET_TID_ADDRESS, &frozen.tid_address_, 0, 0, 0) < 0)
    return SysError("prctl PR_GET_TID_ADDRESS", {}, "the kernel needs CONFIG_CHECKPOINT_RESTORE");
  if (syscall(SYS_get_robust_list, 0, &frozen.robust_list_, &frozen.robust_list_size_) < 0)
    return SysError("get_robust_list");
  frozen.caller_ = gettid();
  if (options.stop_threads) {
    SPORE_TRY(frozen.StopThreads(options));
  } else {
    SPORE_TRY(CheckAlone());
    SPORE_TRY(frozen.HoldTimers(options.patience));
  }
  SPORE_TRY(CheckChildren());
  SPORE_TRY(CheckMappings());
  SPORE_ASSIGN(frozen.descriptors_, ListDescriptors());
  SPORE_ASSIGN(frozen.table_,
               DescriptorTable::Note(frozen.descriptors_, options.allowed_descriptors,
                                     options.renew_descriptors));
  return frozen;
}

Result<> FrozenProcess::StopThreads(const FreezeOptions& options) {
  SPORE_ASSIGN(threads_, StoppedThreads::Stop(options.patience, tid_address_, &timers_));
  if (threads_.size() == 0) return {};
  TrialFindings findings;
  const char* hung_at = nullptr;
  if (!RunTrial(tid_address_, &findings, &hung_at)) {
    const int error = errno;
    timers_ = ProcessTimers();
    threads_ = StoppedThreads();  // whoever holds malloc's lock goes on first
    if (hung_at == nullptr) return SysErrorOf(error, "clone a trial child");
    return MakeError(ErrorKind::kPrecondition,
                     std::string("a thread that sleeps holds ") + hung_at +
                         ", which children would wait for in vain",
                     "a signal handler or an allocator's hook sleeps inside of it");
  }
  rseq_length_ = findings.rseq_length;
  SPORE_TRY(held_.Find(caller_, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), {}));
  return threads_.NoteAttributes(timers_.Signals());
}

// Of a process without other threads: a signal that is on its way is for the caller.
Result<> FrozenProcess::HoldTimers(std::chrono::milliseconds patience) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + patience;
  for (;;) {
    const TimerObstacle obstacle = timers_.Hold(nullptr, tid_address_);
    if (obstacle.kind == TimerObstacle::kNone) return {};
    if (obstacle.kind != TimerObstacle::kPending || Clock::now() > deadline)
      return RefuseTimer(obstacle);
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    nanosleep(&pause, nullptr);
  }
}

Result<> FrozenProcess::CheckThreads() const {
  SPORE_ASSIGN(const size_t threads, CountThreads());
  const size_t expected = 1 + threads_.size() + threads_.ended();
  if (threads == expected) return {};
  return MakeError(ErrorKind::kPrecondition, "the zygote has " + std::to_string(threads) +
                                                 " threads (" + DescribeThreads() + ") where " +
                                                 std::to_string(expected) + " are expected");
}

Result<> FrozenProcess::Audit(uint32_t extra_descriptors) const {
  SPORE_TRY(CheckThreads());
  SPORE_ASSIGN(const size_t open_now, CountDescriptors());
  if (open_now != descriptors_.size() + extra_descriptors) {
    return MakeError(ErrorKind::kInternal,
                     "the zygote has " + std::to_string(open_now) + " descriptors open where " +
                         std::to_string(descriptors_.size() + extra_descriptors) + " are expected");
  }
  for (const DescriptorNote& note : descriptors_) {
    struct stat status {};
    if (fstat(note.fd, &status) < 0 || status.st_dev != note.device || status.st_ino != note.inode)
      return MakeError(ErrorKind::kInternal, "the zygote's descriptor " +
                                                 DescribeDescriptor(note.fd) +
                                                 " is not what it was at the freeze");
  }
  return {};
}

Result<pid_t> FrozenProcess::Clone(const CloneRequest& request, UniqueFd* pidfd) const {
  SPORE_TRY(Audit(request.extra_descriptors));
  const pid_t pid = CloneProcess(
      {.flags = request.flags, .cgroup_fd = request.cgroup_fd, .child_tid = tid_address_}, pidfd);
  if (pid < 0) return SysError("clone the zygote");
  if (pid == 0) {
    StoppedThreads::Disown();
    ProcessTimers::Disown();
  }
  return pid;
}

StepResult FrozenProcess::Adopt() const {
  // The kernel gives a forked child no robust list; glibc's fork registers it again, so do we.
  // (Its rseq registration it keeps, since the child has an address space of its own.)
  TakeOverRobustMutexes(robust_list_, caller_, *tid_address_);
  held_.TakeOver(*tid_address_);
  if (syscall(SYS_set_robust_list, robust_list_, robust_list_size_) < 0)
    return StepFailed("set_robust_list");
  return StepOk();
}

pid_t FrozenProcess::CloneConfined() const {
  const pid_t before = *tid_address_;
  // clone3(2) is refused from the confinement on.
  constexpr unsigned long kFlags = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
  const auto pid =
      static_cast<pid_t>(syscall(SYS_clone, kFlags, nullptr, nullptr, tid_address_, nullptr));
  if (pid != 0) return pid;
  TakeOverRobustMutexes(robust_list_, before, *tid_address_);
  return Adopt().ok() ? 0 : (_exit(125), -1);
}

StepResult FrozenProcess::RenewDescriptors() const {
  return table_.Renew();
}

StepResult FrozenProcess::ReviveThreads() const {
  return threads_.Revive(rseq_length_, timers_);
}

}  // namespace spore
