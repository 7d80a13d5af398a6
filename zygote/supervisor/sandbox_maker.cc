#include "zygote/supervisor/sandbox_maker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <iterator>

#include "sandbox/steps/step.h"
#include "sandbox/sys/clone.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/supervisor/reap_forever.h"

namespace spore {
namespace {

// What the init tells the supervisor; its descriptors are those of wire::SandboxFd but the first.
// The init opens them itself: once it has its identity it is not dumpable, and then nobody else
// may.
struct InitReport {
  wire::Failure failure;
  uint32_t has_landlock = 0;
  uint32_t reserved = 0;
  StepLog steps;
};

struct InitPlan {
  const wire::MakeSandbox* request;
  const int* cgroup_procs;
  const SeccompProgram* program;
  int report_fd;
  uint64_t clone_started_ns;
};

constexpr int kInitFds = wire::kSandboxFds - 1;
constexpr int Slot(wire::SandboxFd fd) {
  return fd - 1;
}

StepResult OpenNamespaces(int (&fds)[kInitFds]) {
  static constexpr struct {
    wire::SandboxFd slot;
    const char* path;
  } kNamespaces[] = {
      {wire::kPidNamespace, "/proc/self/ns/pid"}, {wire::kMountNamespace, "/proc/self/ns/mnt"},
      {wire::kIpcNamespace, "/proc/self/ns/ipc"}, {wire::kUtsNamespace, "/proc/self/ns/uts"},
      {wire::kNetNamespace, "/proc/self/ns/net"}, {wire::kCgroupNamespace, "/proc/self/ns/cgroup"}};
  for (const auto& ns : kNamespaces) {
    fds[Slot(ns.slot)] = open(ns.path, O_RDONLY | O_CLOEXEC);
    if (fds[Slot(ns.slot)] < 0) return StepFailed("open /proc/self/ns");
  }
  return StepOk();
}

NetworkPolicy NetworkOf(const wire::MakeSandbox& request) {
  return request.loopback != 0 ? NetworkPolicy(LoopbackSockets()) : NetworkPolicy();
}

// Of a network namespace that is new.
StepResult SetUpNetwork(NetworkPolicy network) {
  return network.allows_loopback() ? SetLoopback(true) : StepOk();
}

StepResult SetUp(const InitPlan& plan, InitReport& report, int (&fds)[kInitFds]) {
  const wire::MakeSandbox& request = *plan.request;
  StepLog& log = report.steps;
  uint64_t t = log.Add("clone", plan.clone_started_ns);
  if (StepResult r = EnterCgroups(plan.cgroup_procs, request.cgroup_procs, true); !r.ok()) return r;
  if (StepResult r = OpenNamespaces(fds); !r.ok()) return r;
  t = log.Add("cgroup", t);
  const NetworkPolicy network = NetworkOf(request);
  if (StepResult r = SetUpNetwork(network); !r.ok()) return r;
  if (network.allows_loopback() && request.listen_port != 0) {
    int& listener = fds[Slot(wire::kListener)];
    const auto port = static_cast<uint16_t>(request.listen_port);
    if (StepResult r = ListenOnLoopback(port, &listener); !r.ok()) return r;
  }
  if (network.allows_loopback()) t = log.Add("network", t);
  if (sethostname(request.hostname, strnlen(request.hostname, sizeof request.hostname)) < 0)
    return StepFailed("sethostname");
  const PrivateMounts mounts{.tmp_bytes = request.tmp_bytes, .tmp_inodes = request.tmp_inodes};
  if (StepResult r = MountPrivate(mounts); !r.ok()) return r;
  t = log.Add("mounts", t);
  int& ruleset = fds[Slot(wire::kLandlockRuleset)];
  if (StepResult r =
          MakeLandlockRuleset(kWritablePlaces, std::size(kWritablePlaces), network, &ruleset);
      !r.ok()) {
    return r;
  }
  t = log.Add("landlock", t);
  // Not dumpable: the tenant has the same uid and must not look into this process.
  if (StepResult r = LimitBoundingSet(0); !r.ok()) return r;
  if (StepResult r = LockSecurebits(); !r.ok()) return r;
  if (StepResult r = TakeIdentity(request.uid, false); !r.ok()) return r;
  if (StepResult r = SetCapabilities(0); !r.ok()) return r;
  if (StepResult r = SetNoNewPrivs(); !r.ok()) return r;
  log.Add("identity", t);
  return StepOk();
}

// The report, with those of `fds` that there are.
bool SendReport(int socket, const InitReport& report, const int (&fds)[kInitFds]) {
  int sent[kInitFds];
  size_t count = 0;
  if (!report.failure.failed()) {
    for (const int fd : fds)
      if (fd >= 0) sent[count++] = fd;
  }
  return SendStruct(socket, report, std::span(sent, count)).has_value();
}

[[noreturn]] void RunInit(const InitPlan& plan) {
  InitReport report;
  int fds[kInitFds];
  std::fill(std::begin(fds), std::end(fds), -1);
  const StepResult result = SetUp(plan, report, fds);
  report.failure = wire::MakeFailure(result.errno_value, result.operation);
  report.has_landlock = fds[Slot(wire::kLandlockRuleset)] >= 0;
  if (!SendReport(plan.report_fd, report, fds) || !result.ok()) _exit(1);
  if (close_range(0, ~0u, 0) < 0) _exit(1);
  const bool prepared = PrepareToReap();
  if (LoadSeccompProgram(*plan.program) < 0) _exit(1);
  ReapForever(prepared);
}

Result<> AwaitReport(int socket, MadeSandbox& made) {
  InitReport report;
  SPORE_ASSIGN(ReceivedMessage received,
               ReceiveMessage(socket, std::as_writable_bytes(std::span(&report, 1))));
  if (received.bytes != sizeof report)
    return MakeError(ErrorKind::kInternal, "a sandbox's init ended during its set-up");
  if (report.failure.failed()) {
    return SysErrorOf(report.failure.errno_value,
                      std::string("set up a sandbox: ") + report.failure.operation);
  }
  int slot = wire::kPidNamespace;
  for (uint32_t i = 0; i < received.fds.count && slot < wire::kSandboxFds; ++i, ++slot) {
    if (slot == wire::kLandlockRuleset && report.has_landlock == 0) ++slot;
    if (slot < wire::kSandboxFds) made.fd[slot] = std::move(received.fds.fd[i]);
  }
  made.steps = report.steps;
  return {};
}

}  // namespace

Result<MadeSandbox> MakeSandbox(const wire::MakeSandbox& request, std::span<const int> fds,
                                const SeccompProgram& program) {
  if (fds.size() != request.has_cgroup_v2 + request.cgroup_procs)
    return MakeError(ErrorKind::kInternal, "MakeSandbox: the descriptors do not fit the message");
  // It would be the image's own device.
  if (request.bare != 0 && request.loopback != 0)
    return MakeError(ErrorKind::kInternal, "MakeSandbox: a bare sandbox has no loopback device");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return SysError("socketpair");
  UniqueFd ours(pair[0]), theirs(pair[1]);

  const InitPlan plan{&request, fds.data() + request.has_cgroup_v2, &program, theirs.get(),
                      StepLog::Now()};
  constexpr uint64_t kNamespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
  CloneOptions clone{.flags = kNamespaces, .exit_signal = SIGCHLD};
  if (request.bare == 0) clone.flags |= CLONE_NEWNET;
  if (request.has_cgroup_v2) clone.cgroup_fd = fds[0];
  MadeSandbox made;
  made.init_pid = CloneProcess(clone, &made.fd[wire::kInitPidfd]);
  if (made.init_pid < 0) return SysError("clone a sandbox's init");
  if (made.init_pid == 0) {
    ours.Reset();
    prctl(PR_SET_NAME, "spore-init", 0, 0, 0);
    RunInit(plan);
  }
  theirs.Reset();
  if (Result<> reported = AwaitReport(ours.get(), made); !reported) {
    kill(made.init_pid, SIGKILL);  // the supervisor's loop reaps it
    return tl::unexpected(std::move(reported).error());
  }
  return made;
}

}  // namespace spore
