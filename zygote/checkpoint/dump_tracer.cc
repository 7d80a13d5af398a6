#include "zygote/checkpoint/dump_tracer.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/branch/enter_cgroup.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/child_process.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/criu_rights.h"
#include "zygote/checkpoint/dump_filter.h"
#include "zygote/checkpoint/held_session.h"
#include "zygote/checkpoint/transport_socket.h"
#include "zygote/checkpoint/try_step.h"
#include "zygote/checkpoint_protocol.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

namespace spore {
namespace {

constexpr uint64_t kDumping = 1ull << CAP_SYS_PTRACE | 1ull << CAP_CHECKPOINT_RESTORE;
constexpr uint64_t kOpenFiles = 65536;
constexpr char kGo = 'g', kLetGo = 'l';

// Of the tracer; with a descriptor: the transport socket, then the listener of its filter.
struct Report {
  uint32_t error_kind = 0;
  uint32_t processes = 0;
  pid_t last_number = 0;
  char error[400] = {};  // empty: none
};

Report ReportOf(const Error& error) {
  Report report;
  PutError(error, report);
  return report;
}

class Tracer {
 public:
  Tracer(const TracerParts& parts, int socket) : parts_(parts), socket_(socket) {}

  // Comes back with an error, or when it has let go.
  Result<> Run() {
    SPORE_TRY(EnterCgroups(parts_.options.enter));
    SPORE_TRY(JoinSession(parts_.session));
    SPORE_ASSIGN(HeldSession session, HeldSession::Hold(parts_.cgroup, parts_.limit_ns));
    const Result<> done = RunHolding(session);
    if (!done && in_place_) {
      // What CRIU needs must go before anything of the session does: so we are told when.
      (void)SendStruct(socket_, ReportOf(done.error()));
      (void)AwaitWord(socket_);
    }
    SPORE_TRY(session.LetGo());
    return done;
  }

 private:
  Result<> RunHolding(const HeldSession& session) {
    const pid_t agent = parts_.options.agent;
    SPORE_TRY(session.CheckDescent(agent));
    // All of it stands in stops of ours. What is frozen makes no call.
    SPORE_TRY(parts_.cgroup.Thaw());
    SPORE_ASSIGN(const UniqueFd transport, MakeTransportSocket(agent));
    SPORE_TRY(session.TieToUs());
    const Report report{.processes = static_cast<uint32_t>(session.processes().size()),
                        .last_number = session.last_number()};
    const int sent[] = {transport.get()};
    SPORE_TRY(SendStruct(socket_, report, sent));
    if (AwaitWord(socket_) != kGo) return {};
    in_place_ = true;
    SPORE_TRY(BecomeTenant());
    return Execute();
  }

  Result<> BecomeTenant() {
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) return SysError("open", "/dev/null");
    if (setns(parts_.user_namespace, CLONE_NEWUSER) < 0)
      return SysError("setns to the image's user namespace");
    SPORE_TRY(Try(LimitResources({.open_files = kOpenFiles})));
    SPORE_TRY(TakeCriuRights(parts_.options.uid, kDumping));
    if (chdir("/") < 0) return SysError("chdir", "/");
    for (int fd = 0; fd <= STDERR_FILENO; ++fd)
      if (dup2(null.get(), fd) < 0) return SysError("dup2", "/dev/null");
    return {};
  }

  Result<> Execute() {
    SPORE_ASSIGN(UniqueFd listener, LoadDumpProgram(parts_.program));
    const int sent[] = {listener.get()};
    in_place_ = false;  // letting go is told by the filter
    SPORE_TRY(SendStruct(socket_, Report{}, sent));
    listener.Reset();
    const std::string place = kCheckpointPlace, images = place + "/" + wire::kCheckpointImages;
    // Nothing that the session can be told by: all descriptors are close-on-exec.
    return ExecuteCriu(
        {"dump", "--tree", std::to_string(parts_.options.agent), "--leave-running",
         "--unprivileged", "--network-lock", "skip", "--manage-cgroups=ignore", "--file-locks",
         "--ghost-limit", "1G", "--images-dir", images, "--log-file", wire::kCheckpointLog, "-v2"},
        images);
  }

  const TracerParts& parts_;
  int socket_;
  bool in_place_ = false;  // what CRIU needs is in the session
};

Result<Report> Receive(const ChildProcess& tracer, UniqueFd& fd) {
  Report report;
  SPORE_ASSIGN(ReceivedFds received, tracer.Receive(report));
  if (received.count != 1) return MakeError(ErrorKind::kInternal, "a descriptor did not come");
  fd = std::move(received.fd[0]);
  return report;
}

}  // namespace

Result<DumpTracer> DumpTracer::Start(const TracerParts& parts) {
  UniqueFd pidfd;
  SPORE_ASSIGN(ChildProcess process, ChildProcess::Start(
                                         "the process that holds the session",
                                         [&] { return CloneInside(parts.session, &pidfd); },
                                         [&](int socket) {
                                           const Result<> done = Tracer(parts, socket).Run();
                                           if (!done)
                                             (void)SendStruct(socket, ReportOf(done.error()));
                                           return done ? 0 : kNotExecuted;
                                         }));
  DumpTracer tracer(std::move(process), std::move(pidfd));
  auto report = Receive(tracer.process_, tracer.transport_);
  if (!report) {
    // It ends by itself, and so lets go what has not stopped.
    (void)tracer.process_.Wait();
    return tl::unexpected(std::move(report).error());
  }
  tracer.processes_ = report->processes;
  tracer.last_number_ = report->last_number;
  return tracer;
}

Result<> DumpTracer::LetGo() {
  if (!process_.Say(kLetGo)) return SysError("let the session go");
  const Result<int> status = process_.Wait();
  if (!status || !WIFEXITED(*status))
    return MakeError(ErrorKind::kInternal, "the process that held the session was ended");
  return {};
}

Result<UniqueFd> DumpTracer::BecomeCriu() {
  if (!process_.Say(kGo)) return SysError("begin to dump");
  UniqueFd listener;
  SPORE_TRY(Receive(process_, listener));
  return listener;
}

}  // namespace spore
