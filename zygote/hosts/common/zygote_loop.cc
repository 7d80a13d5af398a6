#include "zygote/hosts/common/zygote_loop.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "sandbox/policy/denied_calls.h"
#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/checkpoint_stop.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/copy_zygote.h"
#include "zygote/hosts/common/session_agent.h"
#include "zygote/hosts/common/working_set.h"

namespace spore {
namespace {

[[noreturn]] void EndChild(int instance_fd, const StepResult& failure) {
  wire::Confined confined;
  confined.failure = wire::MakeFailure(failure.errno_value, failure.operation);
  WriteFrame(instance_fd, wire::FrameType::kConfined, 0, &confined, sizeof confined);
  _exit(1);
}

// What a bare child lacks.
StepResult Complete(const ReceivedFds& cgroups) {
  int entries[kMaxMessageFds];
  for (uint32_t i = 0; i < cgroups.count; ++i) entries[i] = cgroups.fd[i].get();
  if (StepResult r = EnterCgroups(entries, cgroups.count, false); !r.ok()) return r;
  return CompleteNamespaces();
}

// In a spare child: until spored wants it to warm up, or gives it to somebody, which is left to be
// read. False: it is not needed any more.
bool AwaitWarmUp(bool bare) {
  for (;;) {
    wire::FrameHeader header{};
    const ssize_t got =
        TEMP_FAILURE_RETRY(recv(kInstanceFd, &header, sizeof header, MSG_PEEK | MSG_WAITALL));
    if (got != sizeof header) return false;
    if (bare != (header.type == wire::FrameType::kComplete))
      EndChild(kInstanceFd, {EPROTO, "complete a spare sandbox"});
    if (!bare && header.type != wire::FrameType::kWarmUp) return true;
    const Result<ReceivedMessage> received =
        ReceiveMessage(kInstanceFd, std::as_writable_bytes(std::span(&header, 1)));
    if (!received || received->bytes != sizeof header) return false;
    if (!bare) return true;
    if (const StepResult r = Complete(received->fds); !r.ok()) EndChild(kInstanceFd, r);
    bare = false;
  }
}

class Zygote {
 public:
  Zygote(FrozenProcess process, ChildPrograms programs, const ForkOptions& options,
         WorkingSet working_set)
      : process_(std::move(process)),
        programs_(std::move(programs)),
        hooks_(options.hooks),
        copies_zygotes_(options.copies_zygotes),
        runs_code_(options.runs_code),
        working_set_(std::move(working_set)) {}

  enum class Became { kItself, kInstance, kZygote };

  // Serves one order; in a copy, what that is to be.
  Result<Became> ServeOne() {
    static_assert(sizeof(wire::ForkZygote) > sizeof(wire::Fork));
    std::array<std::byte, sizeof(wire::ForkZygote)> buffer;
    SPORE_ASSIGN(ReceivedMessage received, ReceiveMessage(kZygoteFd, buffer));
    const uint64_t received_ns = StepLog::Now();
    if (received.bytes == 0)
      return MakeError(ErrorKind::kUnavailable, "spored closed the zygote socket");
    if (wire::Fork request; IsOrder(buffer, received.bytes, request)) {
      forked_ = true;
      return ServeFork(request, received.fds, received_ns);
    }
    wire::ForkZygote request;
    if (copies_zygotes_ && !forked_ && IsOrder(buffer, received.bytes, request))
      return ServeForkZygote(request, received.fds);
    return MakeError(ErrorKind::kInternal, "an order that this zygote does not take");
  }

  Unspecialised child() {
    return {uid_, kept_, entered_, std::move(process_), std::move(programs_), hooks_, runs_code_};
  }
  LibraryZygote library_zygote() { return {std::move(modules_)}; }

 private:
  template <typename Order>
  static bool IsOrder(std::span<const std::byte> bytes, size_t size, Order& order) {
    const wire::Type type = order.header.type;
    if (size != sizeof order) return false;
    memcpy(static_cast<void*>(&order), bytes.data(), sizeof order);
    return order.header.magic == wire::kMagic && order.header.type == type;
  }

  Result<Became> ServeFork(const wire::Fork& request, ReceivedFds& fds, uint64_t received_ns) {
    wire::Forked reply;
    reply.sandbox_id = request.sandbox_id;
    UniqueFd pidfd;
    Result<pid_t> pid = ForkInto(request, fds, received_ns, reply.steps, pidfd);
    if (pid && *pid == 0) {
      uid_ = request.uid;
      if (request.loopback != 0) programs_.final_program = std::move(programs_.loopback_program);
      // EnterSandbox has closed them by number, and other files have those numbers now.
      for (UniqueFd& fd : fds.fd) (void)fd.Release();
      return Became::kInstance;
    }
    return Answer(reply, pid, pidfd);
  }

  Result<Became> ServeForkZygote(const wire::ForkZygote& request, ReceivedFds& fds) {
    wire::Forked reply;
    reply.sandbox_id = request.zygote_id;
    UniqueFd pidfd;
    Result<pid_t> pid = CopyZygote(process_, fds, hooks_, &pidfd);
    if (pid && *pid == 0) {
      modules_.assign(request.modules, strnlen(request.modules, sizeof request.modules));
      return Became::kZygote;
    }
    return Answer(reply, pid, pidfd);
  }

  static Result<Became> Answer(wire::Forked& reply, const Result<pid_t>& pid,
                               const UniqueFd& pidfd) {
    if (pid) {
      reply.pid = *pid;
    } else {
      const Error& error = pid.error();
      reply.failure =
          wire::MakeFailure(error.errno_value, (error.operation + " " + error.hint).c_str());
    }
    const int fd = pidfd.get();
    SPORE_TRY(SendStruct(kZygoteFd, reply, std::span(&fd, pidfd.valid() ? 1 : 0)));
    return Became::kItself;
  }

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
      // Its memory is the zygote's until somebody needs it.
      if (request.spare != 0 && !AwaitWarmUp(request.bare != 0)) _exit(0);
      working_set_.Populate();
      if (hooks_.in_child != nullptr) hooks_.in_child();
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
  bool copies_zygotes_;
  bool runs_code_;
  bool forked_ = false;  // into a sandbox
  WorkingSet working_set_;
  KeptDescriptors kept_;  // of the next child; in a child, its own
  uint32_t uid_ = 0;      // in a child: of its sandbox
  StepLog entered_;       // in a child: how it came there
  std::string modules_;   // in a zygote to be: what it shall import
};

// What spored sent before this process was started, or the one that it is a copy of. The defaults
// where it sent nothing.
wire::Prepare Preparation() {
  static wire::Prepare prepare;
  wire::Prepare received;
  const ssize_t got = recv(kZygoteFd, &received, sizeof received, MSG_PEEK | MSG_DONTWAIT);
  if (got != sizeof received || received.header.magic != wire::kMagic ||
      received.header.type != wire::Type::kPrepare) {
    return prepare;
  }
  (void)recv(kZygoteFd, &prepare, sizeof prepare, MSG_DONTWAIT);
  return prepare;
}

// Makes forks cheap whose zygote is large; one that cannot be flat serves as it is. What is flat in
// a zygote that was copied is so in its copy; this moves what has come since.
Result<> Flatten(bool wanted, uint64_t from_bytes, wire::ZygoteReady& ready) {
  FlatReport report{.note = "the image says flat = false"};
  if (wanted) {
    SPORE_ASSIGN(report, FlattenMemory({.worthwhile_bytes = from_bytes}));
  }
  ready.flat_bytes = report.flat_bytes;
  ready.unmoved_bytes = report.unmoved_bytes;
  strncpy(ready.flat_note, report.note.c_str(), sizeof ready.flat_note - 1);
  return {};
}

// True in the child that rehearses. Under `trial`, so that a policy that the runtime cannot live
// with is told now, not by the first request.
Result<bool> Rehearse(const FrozenProcess& process, const ForkOptions& options,
                      const SeccompProgram* trial, WorkingSet& working_set) {
  const auto call = [&](void (*hook)()) {
    if (options.warms_up && hook != nullptr) hook();
  };
  call(options.hooks.before);
  Result<bool> rehearses =
      working_set.Rehearse(process, options.rehearsal_load, options.rehearsal_invoke, trial);
  call(rehearses && *rehearses ? options.hooks.in_child : options.hooks.in_parent);
  if (!rehearses && trial != nullptr) {
    Error error = std::move(rehearses).error();
    error.hint = "the image's policy denies system calls: the runtime may need one of them";
    return tl::unexpected(std::move(error));
  }
  return rehearses;
}

}  // namespace

wire::Mode Unspecialised::AwaitTenant() const {
  if (warms_up_) ReportWorkingSet(kInstanceFd);
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
  // Confine has closed them by number.
  for (UniqueFd& fd : received->fds.fd) (void)fd.Release();
  if (frame.order.mode == wire::Mode::kSession) {
    ServeAsAgent(confined);
    return wire::Mode::kSession;
  }
  if (process_.NeedsRevival()) {
    const uint64_t revive = StepLog::Now();
    const StepResult revived = process_.ReviveThreads();
    if (!revived.ok()) EndChild(kInstanceFd, revived);
    confined.steps.Add("threads", revive);
  }
  // The channel of a script or program ends before that starts.
  const auto tell = frame.order.mode == wire::Mode::kFunction ? QueueFrame : WriteFrame;
  if (!tell(kInstanceFd, wire::FrameType::kConfined, 0, &confined, sizeof confined)) _exit(1);
  return frame.order.mode;
}

// Returns in an interpreter.
void Unspecialised::ServeAsAgent(const wire::Confined& confined) const {
  if (!WriteFrame(kInstanceFd, wire::FrameType::kConfined, 0, &confined, sizeof confined)) _exit(1);
  SessionHost host;
  if (runs_code_) host.copy = [this] { return CopyForCode(); };
  std::vector<int> runtime_descriptors;
  for (const int fd : kept_.all())
    if (fd != kept_.ruleset()) runtime_descriptors.push_back(fd);
  host.runtime_descriptors = runtime_descriptors;
  ServeSession(host);
  // They are the agent's, and so would be every interpreter's after this one.
  if (!process_.RuntimeDescriptors().empty() && !process_.RenewDescriptors().ok()) _exit(125);
  if (process_.NeedsRevival() && !process_.ReviveThreads().ok()) _exit(125);
}

pid_t Unspecialised::CopyForCode() const {
  if (hooks_.before != nullptr) hooks_.before();
  const pid_t pid = process_.CloneConfined();
  const int error = errno;
  if (pid == 0 && hooks_.in_child != nullptr) hooks_.in_child();
  if (pid != 0 && hooks_.in_parent != nullptr) hooks_.in_parent();
  errno = error;
  return pid;
}

void ReportUnready(const char* reason) {
  wire::ZygoteReady ready{.header = {.type = wire::Type::kZygoteReady}, .pid = getpid()};
  ready.failure = wire::MakeFailure(0, reason);
  // When even this fails spored is gone, and the caller exits anyway.
  (void)SendStruct(kZygoteFd, ready);
}

Result<Copy> ServeOrders(wire::ZygoteReady ready, const ForkOptions& options) {
  SPORE_TRY(StopForCheckpoint());
  const wire::Prepare preparation = Preparation();
  const std::string_view list(preparation.denied,
                              strnlen(preparation.denied, sizeof preparation.denied));
  SPORE_ASSIGN(const DeniedCalls denied, DeniedCalls::Parse(list));
  const NetworkPolicy network =
      preparation.loopback != 0 ? NetworkPolicy(LoopbackSockets()) : NetworkPolicy();
  ChildPrograms programs;
  SPORE_ASSIGN(programs.final_program, CompileFinalProgram(network));
  SPORE_ASSIGN(programs.loopback_program, CompileFinalProgram(NetworkPolicy(LoopbackSockets())));
  SPORE_ASSIGN(programs.last_program, CompileLastProgram(denied));
  SPORE_ASSIGN(FrozenProcess process,
               FrozenProcess::Freeze({.allowed_descriptors = {0, 1, 2, kZygoteFd},
                                      .stop_threads = options.threads,
                                      .renew_descriptors = options.threads}));
  SPORE_TRY(Flatten(preparation.flat != 0, options.flat_from_bytes, ready));
  WorkingSet working_set;
  if (options.warms_up || !options.rehearsal_load.empty()) {
    const SeccompProgram* const trial = denied.empty() ? nullptr : &programs.last_program;
    SPORE_ASSIGN(const bool rehearses, Rehearse(process, options, trial, working_set));
    if (rehearses)
      return Copy(Unspecialised(std::move(process), std::move(programs), options.warms_up));
  }
  ready.header.type = wire::Type::kZygoteReady;
  ready.pid = getpid();
  SPORE_TRY(SendStruct(kZygoteFd, ready));
  Zygote zygote(std::move(process), std::move(programs), options, std::move(working_set));
  for (;;) {
    SPORE_ASSIGN(const Zygote::Became became, zygote.ServeOne());
    if (became == Zygote::Became::kInstance) return Copy(zygote.child());
    if (became == Zygote::Became::kZygote) return Copy(zygote.library_zygote());
  }
}

Result<Unspecialised> ServeForks(wire::ZygoteReady ready, const ForkOptions& options) {
  SPORE_ASSIGN(Copy copy, ServeOrders(ready, options));
  if (auto* child = std::get_if<Unspecialised>(&copy)) return std::move(*child);
  return MakeError(ErrorKind::kInternal, "a copy that this runtime cannot be");
}

}  // namespace spore
