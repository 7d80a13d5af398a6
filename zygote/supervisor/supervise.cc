#include "zygote/supervisor/supervise.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdio>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/protocol.h"
#include "zygote/supervisor/checkpoint.h"
#include "zygote/supervisor/sandbox_maker.h"
#include "zygote/supervisor/start_zygote.h"

namespace spore {
namespace {

// Handles one request; false when spored is gone or talks nonsense.
bool ServeRequest(int socket, const SeccompProgram& init_program) {
  wire::MakeSandbox request;
  Result<ReceivedMessage> received =
      ReceiveMessage(socket, std::as_writable_bytes(std::span(&request, 1)));
  if (!received || received->bytes != sizeof request || request.header.magic != wire::kMagic ||
      request.header.type != wire::Type::kMakeSandbox) {
    return false;
  }
  int in[kMaxMessageFds];
  for (uint32_t i = 0; i < received->fds.count; ++i) in[i] = received->fds.fd[i].get();

  wire::SandboxMade reply;
  reply.sandbox_id = request.sandbox_id;
  Result<MadeSandbox> made = MakeSandbox(request, std::span(in, received->fds.count), init_program);
  if (!made) {
    reply.failure = wire::MakeFailure(made.error().errno_value, made.error().operation.c_str());
    return SendStruct(socket, reply).has_value();
  }
  reply.init_pid = made->init_pid;
  reply.has_landlock = made->fd[wire::kLandlockRuleset].valid();
  reply.has_listener = made->fd[wire::kListener].valid();
  reply.steps = made->steps;
  int out[wire::kSandboxFds];
  size_t count = 0;
  for (const UniqueFd& fd : made->fd)
    if (fd.valid()) out[count++] = fd.get();
  return SendStruct(socket, reply, std::span(out, count)).has_value();
}

// Reports every child that has ended. False when spored is gone.
bool ReportDeaths(int socket) {
  for (;;) {
    siginfo_t info{};
    rusage usage{};
    // The raw call, because glibc's waitid has no rusage.
    if (syscall(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOHANG | __WALL, &usage) < 0) return true;
    if (info.si_pid == 0) return true;
    wire::ProcessExited message;
    message.pid = info.si_pid;
    message.code = info.si_code;
    message.status = info.si_status;
    const auto micros = [](const timeval& t) {
      return static_cast<uint64_t>(t.tv_sec) * 1'000'000u + static_cast<uint64_t>(t.tv_usec);
    };
    message.cpu_us = micros(usage.ru_utime) + micros(usage.ru_stime);
    message.max_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
    if (!SendStruct(socket, message)) return false;
  }
}

Result<> Run(const SupervisorOptions& options) {
  if (options.checkpoint == "dump") return DumpZygote(options);
  SPORE_ASSIGN(const SeccompProgram base, CompileBaseProgram());
  SPORE_ASSIGN(const SeccompProgram init_program, CompileInitProgram());
  SPORE_ASSIGN(const pid_t zygote, options.checkpoint == "restore" ? RestoreZygote(options, base)
                                                                   : StartZygote(options, &base));
  fprintf(stderr, "zygote of image %s is pid %d here\n", options.image.c_str(), zygote);

  // Blocked from here on; a sandbox's init inherits that and waits for it with sigwait.
  sigset_t child_died;
  sigemptyset(&child_died);
  sigaddset(&child_died, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &child_died, nullptr) < 0) return SysError("block SIGCHLD");
  UniqueFd deaths(signalfd(-1, &child_died, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!deaths) return SysError("signalfd");
  // A zygote that died before the block has left no signal behind.
  if (!ReportDeaths(options.supervisor_fd)) return {};

  pollfd waiting[] = {{options.supervisor_fd, POLLIN, 0}, {deaths.get(), POLLIN, 0}};
  for (;;) {
    if (TEMP_FAILURE_RETRY(poll(waiting, 2, -1)) < 0) return SysError("poll");
    if (waiting[1].revents != 0) {
      signalfd_siginfo drained[8];
      while (read(deaths.get(), drained, sizeof drained) > 0) {
      }
      if (!ReportDeaths(options.supervisor_fd)) return {};
    }
    if (waiting[0].revents != 0 && !ServeRequest(options.supervisor_fd, init_program)) return {};
  }
}

}  // namespace

int Supervise(const SupervisorOptions& options) {
  if (Result<> run = Run(options); !run) {
    fprintf(stderr, "spore-zygote: %s\n", run.error().Message().c_str());
    return 1;
  }
  return 0;
}

}  // namespace spore
