// libsfork: copy a running process, all of its threads included, without exec.
//
// In the process that is to be copied (the zygote), once, when the runtime is loaded and idle:
//
//   FrozenProcess::Freeze    stops every other thread in a system call that it sleeps in, and notes
//                            what the kernel and glibc know of it
// then as often as wanted:
//   Clone                    like fork(2): the child's pid in the zygote, 0 in the child
// and in the child, in this order:
//   Adopt                    glibc's identity of the calling thread
//   RenewDescriptors         epoll sets, eventfds, pipes, ... that must not be the zygote's
//   (namespaces, cgroups, identity, capabilities, Landlock, seccomp: there is one thread yet, and
//    attributes that the kernel keeps for each thread are set in one place)
//   ReviveThreads            makes every noted thread again, with the caller's privileges; each
//                            goes on with the call that it slept in. Timers go on, too
//
// The raw clone3(2) makes what fork(3) cannot: a sibling (CLONE_PARENT), in another cgroup
// (CLONE_INTO_CGROUP), with a pidfd. The price is that glibc does not know of it: handlers of
// pthread_atfork(3) do not run. A runtime has to run its own (CPython: PyOS_BeforeFork,
// PyOS_AfterFork_Child) and to renew its randomness.
//
// Errors are Error values before the clone; in the child a StepResult, since nothing may be
// allocated and no lock taken there before ReviveThreads has returned. docs/sfork.md explains how
// and why all of this works, and what a process may not have to be copied.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/descriptor_table.h"
#include "zygote/sfork/held_mutexes.h"
#include "zygote/sfork/process_timers.h"
#include "zygote/sfork/sfork_types.h"
#include "zygote/sfork/stopped_threads.h"

namespace spore {

struct FreezeOptions {
  // Descriptors that may be open whatever they are (the control socket). The child has them as the
  // zygote has them; they are not in RuntimeDescriptors. Any other must be harmless to share
  // (/dev/null and its like, files open for reading only) or be renewed, else the freeze fails by
  // its name.
  std::vector<int> allowed_descriptors;
  // False: a process with more than one thread is refused.
  bool stop_threads = false;
  // False: epoll sets, eventfds, pipes and the like are refused by name. True: they are noted, and
  // the child must call RenewDescriptors.
  bool renew_descriptors = false;
  // How long to wait for all other threads to be asleep in calls that can be made again.
  std::chrono::milliseconds patience{5000};
};

struct CloneRequest {
  uint64_t flags = 0;              // CLONE_* namespaces, CLONE_PARENT
  int cgroup_fd = -1;              // v2 directory, or -1
  uint32_t extra_descriptors = 0;  // open beyond those noted at the freeze, known to the caller
};

// Movable. Destroyed in the zygote, it lets threads and timers go on; in a child it does nothing.
class FrozenProcess {
 public:
  // Stops all other threads, and the process's timers. Any thread may call it: Node's is the
  // process's first, the JVM's is not. In each child the caller is the first thread, whatever it
  // was here. One freeze at a time.
  static Result<FrozenProcess> Freeze(const FreezeOptions& options);

  // Compares threads and descriptors with the notes. An Error names the first surprise.
  Result<> Audit(uint32_t extra_descriptors) const;

  // Audits, then clones; only by the thread that froze. 0 in the child; in the parent the child's
  // pid, and its pidfd.
  Result<pid_t> Clone(const CloneRequest& request, UniqueFd* pidfd) const;

  // ---- in the child, in this order ----

  // Before anything else: gives glibc back what the kernel does not copy of the calling thread.
  StepResult Adopt() const;

  // Before the child leaves the zygote's mount namespace (files are opened again through /proc) and
  // before it loses the right to make what it renews. Every number stays what it was.
  StepResult RenewDescriptors() const;

  // The new threads are born with the caller's identity, capabilities, no_new_privs, Landlock
  // domain and seccomp filters, so it comes after those. Needs clone(2) with the flags of a thread,
  // set_robust_list, rseq, prctl(PR_GET_NAME, PR_SET_NAME), rt_sigprocmask, rt_sigreturn, and where
  // a thread differs from the caller sched_setaffinity, sched_setscheduler and setpriority; where
  // the process has timers timer_create, timer_delete, timer_settime and setitimer: the final
  // seccomp program allows them. Fails with EAGAIN when a limit is too low for all: on processes,
  // or on pending signals, which timers count as.
  StepResult ReviveThreads() const;

  // A copy of such a child, made by that after its confinement, by clone(2): its child, in its
  // namespaces and cgroup. 0 in the copy, which has adopted itself, may renew the noted descriptors
  // (but inotify, which the final seccomp program refuses) and revive the noted threads, if the
  // caller has not; -1 and errno. Of the caller's descriptors it has all.
  pid_t CloneConfined() const;

  // All three in a row, for who confines nothing in between.
  StepResult Thaw() const {
    if (StepResult r = Adopt(); !r.ok()) return r;
    if (StepResult r = RenewDescriptors(); !r.ok()) return r;
    return ReviveThreads();
  }

  // The runtime's own descriptors, ascending: what a child has to keep open besides its own.
  std::span<const int> RuntimeDescriptors() const { return table_.numbers(); }

  // Threads that ReviveThreads will make.
  size_t NotedThreads() const { return threads_.size(); }
  // Whether it has anything to do.
  bool NeedsRevival() const { return threads_.size() > 0 || !timers_.empty(); }

 private:
  Result<> StopThreads(const FreezeOptions& options);
  Result<> HoldTimers(std::chrono::milliseconds patience);
  Result<> CheckThreads() const;

  StoppedThreads threads_;
  ProcessTimers timers_;
  uint32_t rseq_length_ = 0;  // with which glibc registered its threads' areas
  pid_t caller_ = 0;          // the thread that froze
  HeldMutexes held_;          // its own
  std::vector<DescriptorNote> descriptors_;
  DescriptorTable table_;
  int32_t* tid_address_ = nullptr;  // glibc's own note of the calling thread's id
  void* robust_list_ = nullptr;     // head of glibc's robust mutex list
  size_t robust_list_size_ = 0;
};

}  // namespace spore
