#include "zygote/hosts/python/zygote_loop.h"

#include <sched.h>
#include <unistd.h>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/hosts/python/channel.h"
#include "zygote/hosts/python/confine.h"

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
  Zygote(FrozenProcess process, SeccompProgram program, const RuntimeHooks& hooks)
      : process_(std::move(process)), final_program_(std::move(program)), hooks_(hooks) {}

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
      mode_ = request.mode;
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

  wire::Mode mode() const { return mode_; }

 private:
  Result<pid_t> ForkInto(const wire::Fork& request, const ReceivedFds& fds, uint64_t received_ns,
                         StepLog& log, UniqueFd& pidfd) {
    SPORE_ASSIGN(const ForkDescriptors named, NameDescriptors(request, fds));
    // Only children are born there (pid_namespaces(7)); the zygote stays where it is.
    if (setns(named.namespaces.pid, CLONE_NEWPID) < 0)
      return SysError("setns into a sandbox's pid namespace");
    uint64_t t = log.Add("receive order", received_ns);
    hooks_.before();
    t = log.Add("before-fork hooks", t);
    const CloneRequest clone{
        .flags = CLONE_PARENT, .cgroup_fd = named.cgroup_v2, .extra_descriptors = fds.count};
    Result<pid_t> pid = process_.Clone(clone, &pidfd);
    if (pid && *pid == 0) {
      Become(request, named, t);
      return 0;
    }
    t = log.Add("audit and clone", t);
    hooks_.in_parent();
    log.Add("parent hooks", t);
    return pid;
  }

  void Become(const wire::Fork& request, const ForkDescriptors& named, uint64_t clone_ns) {
    wire::Confined confined;
    uint64_t t = confined.steps.Add("clone", clone_ns);
    const StepResult result = Confine(process_, request, named, final_program_, confined.steps);
    // The socket has moved if the failure came after the descriptors' step.
    if (!result.ok()) EndChild(named.instance, result);
    t = StepLog::Now();
    hooks_.in_child();
    confined.steps.Add("child hooks", t);
    if (!WriteFrame(kInstanceFd, wire::FrameType::kConfined, 0, &confined, sizeof confined))
      _exit(1);
  }

  FrozenProcess process_;
  SeccompProgram final_program_;
  RuntimeHooks hooks_;
  wire::Mode mode_ = wire::Mode::kFunction;
};

}  // namespace

void ReportUnready(const char* reason) {
  wire::ZygoteReady ready{.header = {.type = wire::Type::kZygoteReady}, .pid = getpid()};
  ready.failure = wire::MakeFailure(0, reason);
  // When even this fails spored is gone, and the caller exits anyway.
  (void)SendStruct(kZygoteFd, ready);
}

Result<wire::Mode> ServeForks(wire::ZygoteReady ready, const RuntimeHooks& hooks) {
  SPORE_ASSIGN(SeccompProgram program, CompileFinalProgram(NetworkPolicy::kNone));
  SPORE_ASSIGN(FrozenProcess process,
               FrozenProcess::Freeze({.allowed_descriptors = {0, 1, 2, kZygoteFd}}));
  ready.header.type = wire::Type::kZygoteReady;
  ready.pid = getpid();
  SPORE_TRY(SendStruct(kZygoteFd, ready));
  Zygote zygote(std::move(process), std::move(program), hooks);
  for (;;) {
    SPORE_ASSIGN(const bool in_child, zygote.ServeOne());
    if (in_child) return zygote.mode();
  }
}

}  // namespace spore
