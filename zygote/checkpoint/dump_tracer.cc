#include "zygote/checkpoint/dump_tracer.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/branch/enter_cgroup.h"
#include "zygote/branch/worker_process.h"
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
      (void)AwaitOrder();
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
    if (AwaitOrder() != kGo) return {};
    in_place_ = true;
    SPORE_TRY(BecomeTenant());
    return Execute();
  }

  char AwaitOrder() const {
    char order = 0;
    return TEMP_FAILURE_RETRY(recv(socket_, &order, 1, 0)) == 1 ? order : '\0';
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

Result<Report> Receive(int socket, UniqueFd& fd) {
  Report report;
  SPORE_ASSIGN(ReceivedMessage received,
               ReceiveMessage(socket, std::as_writable_bytes(std::span(&report, 1))));
  if (received.bytes != sizeof report)
    return MakeError(ErrorKind::kUnavailable, "the process that holds the session has ended");
  if (report.error[0] != '\0')
    return MakeError(static_cast<ErrorKind>(report.error_kind), report.error);
  if (received.fds.count != 1) return MakeError(ErrorKind::kInternal, "a descriptor did not come");
  fd = std::move(received.fds.fd[0]);
  return report;
}

}  // namespace

Result<DumpTracer> DumpTracer::Start(const TracerParts& parts) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return SysError("socketpair");
  DumpTracer tracer;
  tracer.socket_.Reset(pair[0]);
  UniqueFd theirs(pair[1]);
  SPORE_ASSIGN(tracer.pid_, CloneInside(parts.session, &tracer.pidfd_));
  if (tracer.pid_ == 0) {
    tracer.socket_.Reset();
    const Result<> done = Tracer(parts, theirs.get()).Run();
    if (!done) (void)SendStruct(theirs.get(), ReportOf(done.error()));
    _exit(done ? 0 : kNotExecuted);
  }
  theirs.Reset();
  auto report = Receive(tracer.socket_.get(), tracer.transport_);
  if (!report) {
    // It ends by itself, and so lets go what has not stopped.
    (void)TEMP_FAILURE_RETRY(waitpid(std::exchange(tracer.pid_, 0), nullptr, 0));
    return tl::unexpected(std::move(report).error());
  }
  tracer.processes_ = report->processes;
  tracer.last_number_ = report->last_number;
  return tracer;
}

DumpTracer::DumpTracer(DumpTracer&& other) noexcept
    : socket_(std::move(other.socket_)),
      pidfd_(std::move(other.pidfd_)),
      transport_(std::move(other.transport_)),
      pid_(std::exchange(other.pid_, 0)),
      processes_(other.processes_),
      last_number_(other.last_number_) {}

DumpTracer::~DumpTracer() {
  End();
}

void DumpTracer::End() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
  int status = 0;
  while (TEMP_FAILURE_RETRY(waitpid(pid_, &status, __WALL)) == pid_ && WIFSTOPPED(status)) {
  }
  pid_ = 0;
}

Result<> DumpTracer::LetGo() {
  if (send(socket_.get(), &kLetGo, 1, MSG_NOSIGNAL) != 1) return SysError("let the session go");
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(std::exchange(pid_, 0), &status, 0)) < 0 || !WIFEXITED(status))
    return MakeError(ErrorKind::kInternal, "the process that held the session was ended");
  return {};
}

Result<UniqueFd> DumpTracer::BecomeCriu() {
  if (send(socket_.get(), &kGo, 1, MSG_NOSIGNAL) != 1) return SysError("begin to dump");
  UniqueFd listener;
  SPORE_TRY(Receive(socket_.get(), listener));
  return listener;
}

}  // namespace spore
