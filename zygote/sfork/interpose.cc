// Functions of libc that a program calls with ours in place: for the object that is preloaded into
// a runtime (LD_PRELOAD), or for a program that links libsfork itself. (Those for memory are in
// interpose_memory.cc.) The freeze signal is taken out of the program's hands: no mask contains it,
// no set that is waited for, no handler of the program's. (libuv's pool threads block all signals;
// to them it could never be delivered.)
//
// One is only watched, timer_create(3): where glibc keeps the id of its thread for timers shows
// when it makes that thread.
//
// glibc keeps two signals of its own (32 and 33) out of the same sets; so do these functions.
// What a program does by raw system calls, and what glibc does inside itself, passes by here: the
// freeze then names the thread that blocks the signal.
#undef _FORTIFY_SOURCE  // its inline wrappers of ppoll would collide with ours

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "zygote/sfork/freeze_signal.h"
#include "zygote/sfork/timer_helper.h"

#define SPORE_EXPORT extern "C" __attribute__((visibility("default")))

// glibc's own name for it, which nobody else calls.
extern "C" int __sigaction(int number, const struct sigaction* action,
                           struct sigaction* old) noexcept;

namespace {

using spore::kFreezeSignal;

// A copy of a set without what must not be in it; null stays null.
class Stripped {
 public:
  explicit Stripped(const sigset_t* set) {
    if (set == nullptr) return;
    copy_ = *set;
    constexpr unsigned long kOurs = 1ul << (kFreezeSignal - 1);
    constexpr unsigned long kGlibcs = 1ul << (32 - 1) | 1ul << (33 - 1);
    copy_.__val[0] &= ~(kOurs | kGlibcs);
    get_ = &copy_;
  }
  Stripped(const Stripped&) = delete;
  Stripped& operator=(const Stripped&) = delete;
  const sigset_t* get() const { return get_; }

 private:
  sigset_t copy_;
  const sigset_t* get_ = nullptr;
};

constexpr size_t kKernelSetBytes = 8;

// The function that ours stands in front of. Looked up once, at start: dlsym(3) is not to be called
// from a signal handler.
template <typename F>
F* Next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

struct Originals {
  decltype(&ppoll) ppoll_ = Next<decltype(ppoll)>("ppoll");
  decltype(&pselect) pselect_ = Next<decltype(pselect)>("pselect");
  decltype(&epoll_pwait) epoll_pwait_ = Next<decltype(epoll_pwait)>("epoll_pwait");
  decltype(&epoll_pwait2) epoll_pwait2_ = Next<decltype(epoll_pwait2)>("epoll_pwait2");
  decltype(&sigsuspend) sigsuspend_ = Next<decltype(sigsuspend)>("sigsuspend");
  decltype(&sigwait) sigwait_ = Next<decltype(sigwait)>("sigwait");
  decltype(&sigwaitinfo) sigwaitinfo_ = Next<decltype(sigwaitinfo)>("sigwaitinfo");
  decltype(&sigtimedwait) sigtimedwait_ = Next<decltype(sigtimedwait)>("sigtimedwait");
  decltype(&signalfd) signalfd_ = Next<decltype(signalfd)>("signalfd");
  decltype(&pthread_attr_setsigmask_np) attr_setsigmask_ =
      Next<decltype(pthread_attr_setsigmask_np)>("pthread_attr_setsigmask_np");
  decltype(&timer_create) timer_create_ = Next<decltype(timer_create)>("timer_create");
};

const Originals& Original() {
  static const Originals originals;
  return originals;
}
// Before any thread or handler of the program's; a constructor of another library may come earlier
// still, and then does the same.
[[maybe_unused]] const Originals& at_start = Original();

}  // namespace

// ---- masks ----

SPORE_EXPORT int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  const Stripped stripped(set);
  // Of the kernel's 64 signals only: what glibc's function does, too.
  const int saved = errno;
  const long rc = syscall(SYS_rt_sigprocmask, how, stripped.get(), old, kKernelSetBytes);
  const int error = rc < 0 ? errno : 0;
  errno = saved;
  return error;
}

SPORE_EXPORT int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  const int error = pthread_sigmask(how, set, old);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

SPORE_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t* attributes,
                                            const sigset_t* set) noexcept {
  return Original().attr_setsigmask_(attributes, Stripped(set).get());
}

// ---- handlers ----

SPORE_EXPORT int sigaction(int number, const struct sigaction* action,
                           struct sigaction* old) noexcept {
  if (number == kFreezeSignal) {  // as glibc answers for its own
    errno = EINVAL;
    return -1;
  }
  if (action == nullptr) return __sigaction(number, nullptr, old);
  struct sigaction changed = *action;
  changed.sa_mask = *Stripped(&action->sa_mask).get();
  return __sigaction(number, &changed, old);
}

// signal(3) and, below, signalfd(2): defined under other names than they are linked by.
SPORE_EXPORT sighandler_t InterposedSignal(int number, sighandler_t handler) noexcept asm("signal");
sighandler_t InterposedSignal(int number, sighandler_t handler) noexcept {
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  return sigaction(number, &action, &old) < 0 ? SIG_ERR : old.sa_handler;
}

// ---- waiting with another mask, or for signals ----

SPORE_EXPORT int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return Original().ppoll_(fds, count, timeout, Stripped(mask).get());
}
// What a program calls that was built with _FORTIFY_SOURCE.
SPORE_EXPORT int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout,
                             const sigset_t* mask, size_t bytes) {
  if (bytes / sizeof *fds < count) __builtin_trap();
  return ppoll(fds, count, timeout, mask);
}
SPORE_EXPORT int pselect(int count, fd_set* in, fd_set* out, fd_set* except,
                         const timespec* timeout, const sigset_t* mask) {
  return Original().pselect_(count, in, out, except, timeout, Stripped(mask).get());
}
SPORE_EXPORT int epoll_pwait(int fd, epoll_event* events, int count, int timeout,
                             const sigset_t* mask) {
  return Original().epoll_pwait_(fd, events, count, timeout, Stripped(mask).get());
}
SPORE_EXPORT int epoll_pwait2(int fd, epoll_event* events, int count, const timespec* timeout,
                              const sigset_t* mask) {
  return Original().epoll_pwait2_(fd, events, count, timeout, Stripped(mask).get());
}
SPORE_EXPORT int sigsuspend(const sigset_t* mask) {
  return Original().sigsuspend_(Stripped(mask).get());
}
SPORE_EXPORT int sigwait(const sigset_t* set, int* number) {
  return Original().sigwait_(Stripped(set).get(), number);
}
SPORE_EXPORT int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  return Original().sigwaitinfo_(Stripped(set).get(), info);
}
SPORE_EXPORT int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  return Original().sigtimedwait_(Stripped(set).get(), info, timeout);
}
SPORE_EXPORT int InterposedSignalfd(int fd, const sigset_t* set, int flags) noexcept
    asm("signalfd");
int InterposedSignalfd(int fd, const sigset_t* set, int flags) noexcept {
  return Original().signalfd_(fd, Stripped(set).get(), flags);
}

// ---- timers ----

SPORE_EXPORT int timer_create(clockid_t clock, sigevent* event, timer_t* id) noexcept {
  const auto original = Original().timer_create_;
  const bool for_a_function = event != nullptr && event->sigev_notify == SIGEV_THREAD;
  if (!for_a_function || spore::TimerHelperId() != nullptr) return original(clock, event, id);
  const spore::TimerHelperSearch search(reinterpret_cast<const void*>(original));
  const int rc = original(clock, event, id);
  if (rc == 0) search.Finish();
  return rc;
}
