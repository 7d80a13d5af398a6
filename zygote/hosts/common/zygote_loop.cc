#include "zygote/hosts/common/zygote_loop.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/checkpoint_stop.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/working_set.h"

namespace spore {
namespace {

[[noreturn]] void EndChild(int instance_fd, const StepResult& failure) {
  wire::Confined confined;
  confined.failure = wire::MakeFailure(failure.errno_value, failure.operation);
  WriteFrame(instance_fd, wire::FrameType::kConfined, 0, &confined, sizeof confined);
  _exit(1);
}

class Zygote {
 public:
  Zygote(FrozenProcess process, ChildPrograms programs, const RuntimeHooks& hooks,
         WorkingSet working_set)
      : process_(std::move(process)),
        programs_(std::move(programs)),
        hooks_(hooks),
        working_set_(std::move(working_set)) {}

  // True in a child.
  Result<bool> ServeOne() {
    wire::Fork request;
    SPORE_ASSIGN(ReceivedMessage received,
                 ReceiveMessage(kZygoteFd, std::as_writable_bytes(std::span(&request, 1))));
    const uint64_t received_ns = StepLog::Now();
    if (received.bytes == 0)
      return MakeError(ErrorKind::kUnavailable, "spored closed the zygote socket");
    if (received.bytes != sizeof request || request.header.magic != wire::kMagic ||
        request.header.type != wire::Type::kFork) {
      return MakeError(ErrorKind::kInternal, "an order that is not a Fork message");
    }
    wire::Forked reply;
    reply.sandbox_id = request.sandbox_id;
    UniqueFd pidfd;
    Result<pid_t> pid = ForkInto(request, received.fds, received_ns, reply.steps, pidfd);
    if (pid && *pid == 0) {
      uid_ = request.uid;
      // EnterSandbox has closed them by number, and other files have those numbers now.
      for (UniqueFd& fd : received.fds.fd) (void)fd.Release();
      return true;
    }
    if (pid) {
      reply.pid = *pid;
    } else {
      const Error& error = pid.error();
      reply.failure =
          wire::MakeFailure(error.errno_value, (error.operation + " " + error.hint).c_str());
    }
    const int fd = pidfd.get();
    SPORE_TRY(SendStruct(kZygoteFd, reply, std::span(&fd, pidfd.valid() ? 1 : 0)));
    return false;
  }

  Unspecialised child() {
    return {uid_, kept_, entered_, std::move(process_), std::move(programs_)};
  }

 private:
  Result<pid_t> ForkInto(const wire::Fork& request, const ReceivedFds& fds, uint64_t received_ns,
                         StepLog& log, UniqueFd& pidfd) {
    SPORE_ASSIGN(const ForkDescriptors named, NameDescriptors(request, fds));
    if (!kept_.Set(process_.RuntimeDescriptors(), named.landlock))
      return MakeError(ErrorKind::kPrecondition, "the zygote has too many descriptors open");
    // Only children are born there (pid_namespaces(7)); the zygote stays where it is.
    if (setns(named.namespaces.pid, CLONE_NEWPID) < 0)
      return SysError("setns into a sandbox's pid namespace");
    uint64_t t = log.Add("receive order", received_ns);
    if (hooks_.before != nullptr) hooks_.before();
    t = log.Add("before-fork hooks", t);
    const CloneRequest clone{
        .flags = CLONE_PARENT, .cgroup_fd = named.cgroup_v2, .extra_descriptors = fds.count};
    Result<pid_t> pid = process_.Clone(clone, &pidfd);
    if (pid && *pid == 0) {
      const StepResult entered = EnterSandbox(process_, request, named, kept_, entered_);
      // The socket has moved if the failure came with the last descriptor.
      if (!entered.ok()) EndChild(named.instance, entered);
      if (hooks_.in_child != nullptr) hooks_.in_child();
      working_set_.Populate();
      return 0;
    }
    t = log.Add("audit and clone", t);
    if (hooks_.in_parent != nullptr) hooks_.in_parent();
    log.Add("parent hooks", t);
    return pid;
  }

  FrozenProcess process_;
  ChildPrograms programs_;
  RuntimeHooks hooks_;
  WorkingSet working_set_;
  KeptDescriptors kept_;  // of the next child; in a child, its own
  uint32_t uid_ = 0;      // in a child: of its sandbox
  StepLog entered_;       // in a child: how it came there
};

}  // namespace

wire::Mode Unspecialised::AwaitTenant() const {
  if (rehearses_) return wire::Mode::kFunction;
  if (const StepResult r = ConfineAhead(uid_, programs_.final_program); !r.ok())
    EndChild(kInstanceFd, r);
  TouchChannel();
  // Exactly the first frame: what follows stays in the socket for the runtime's host.
  struct {
    wire::FrameHeader header;
    wire::Specialise order;
  } frame{};
  Result<ReceivedMessage> received =
      ReceiveMessage(kInstanceFd, std::as_writable_bytes(std::span(&frame, 1)));
  if (received && received->bytes == 0) _exit(0);  // not needed any more
  wire::Confined confined;
  const uint64_t t = StepLog::Now();
  if (!received || received->bytes != sizeof frame ||
      frame.header.type != wire::FrameType::kSpecialise) {
    EndChild(kInstanceFd, {EPROTO, "receive the Specialise message"});
  }
  confined.steps = entered_;
  confined.steps.Add("specialise", t);
  const StepResult result =
      Confine(frame.order, kept_, received->fds, programs_.last_program, confined.steps);
  if (!result.ok()) EndChild(kInstanceFd, result);
  if (process_.NeedsRevival()) {
    const uint64_t revive = StepLog::Now();
    const StepResult revived = process_.ReviveThreads();
    if (!revived.ok()) EndChild(kInstanceFd, revived);
    confined.steps.Add("threads", revive);
  }
  // Confine has closed them by number.
  for (UniqueFd& fd : received->fds.fd) (void)fd.Release();
  // The channel of a script or program ends before that starts.
  const auto tell = frame.order.mode == wire::Mode::kFunction ? QueueFrame : WriteFrame;
  if (!tell(kInstanceFd, wire::FrameType::kConfined, 0, &confined, sizeof confined)) _exit(1);
  return frame.order.mode;
}

void ReportUnready(const char* reason) {
  wire::ZygoteReady ready{.header = {.type = wire::Type::kZygoteReady}, .pid = getpid()};
  ready.failure = wire::MakeFailure(0, reason);
  // When even this fails spored is gone, and the caller exits anyway.
  (void)SendStruct(kZygoteFd, ready);
}

Result<Unspecialised> ServeForks(wire::ZygoteReady ready, const ForkOptions& options) {
  SPORE_TRY(StopForCheckpoint());
  ChildPrograms programs;
  SPORE_ASSIGN(programs.final_program, CompileFinalProgram(NetworkPolicy::kNone));
  SPORE_ASSIGN(programs.last_program, CompileLastProgram());
  SPORE_ASSIGN(FrozenProcess process,
               FrozenProcess::Freeze({.allowed_descriptors = {0, 1, 2, kZygoteFd},
                                      .stop_threads = options.threads,
                                      .renew_descriptors = options.threads}));
  WorkingSet working_set;
  if (!options.rehearsal_load.empty()) {
    SPORE_ASSIGN(const bool rehearses,
                 working_set.Rehearse(process, options.rehearsal_load, options.rehearsal_invoke));
    if (rehearses) return Unspecialised(std::move(process), std::move(programs));
  }
  ready.header.type = wire::Type::kZygoteReady;
  ready.pid = getpid();
  SPORE_TRY(SendStruct(kZygoteFd, ready));
  Zygote zygote(std::move(process), std::move(programs), options.hooks, std::move(working_set));
  for (;;) {
    SPORE_ASSIGN(const bool in_child, zygote.ServeOne());
    if (in_child) return zygote.child();
  }
}

}  // namespace spore
