#include "zygote/supervisor/start_zygote.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <map>

#include "sandbox/steps/step.h"
#include "sandbox/sys/clone.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/protocol.h"
#include "zygote/supervisor/runtime.h"

namespace spore {
namespace {

struct ExecPlan {
  std::vector<char*> argv, envp;
  int null_fd, zygote_fd;
  const SeccompProgram* base;  // null: one that is to be dumped, see CheckpointStop
};

StepResult ConfineAndExec(const ExecPlan& plan) {
  const int places[] = {plan.null_fd, plan.null_fd, -1, plan.zygote_fd};
  if (StepResult r = PlaceDescriptors(places, 4); !r.ok()) return r;
  if (StepResult r = LimitBoundingSet(kZygoteCapabilities); !r.ok()) return r;
  if (StepResult r = SetCapabilities(kZygoteCapabilities); !r.ok()) return r;
  if (StepResult r = SetNoNewPrivs(); !r.ok()) return r;
  if (plan.base == nullptr) {
    // CRIU restores no process whose session's leader is elsewhere.
    if (setsid() < 0) return StepFailed("setsid");
  } else if (const int error = LoadSeccompProgram(*plan.base); error < 0) {
    return {-error, "load the base seccomp filter"};
  }
  execve(plan.argv[0], plan.argv.data(), plan.envp.data());
  return StepFailed("execute the runtime");
}

// A sandbox's runtime is always pid 2. OpenSSL notices a fork by a changed pid, so the zygote must
// never have that pid itself: it is used up first.
Result<> SkipOnePid() {
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (pid < 0) return SysError("clone");
  if (pid == 0) _exit(0);
  if (TEMP_FAILURE_RETRY(waitpid(pid, nullptr, 0)) < 0) return SysError("wait for a process");
  return {};
}

// The next process gets kCheckpointPid. CRIU and its helpers, which run in this pid namespace, and
// whatever else is there before a restore must never have the zygote's or its threads'.
Result<> ReachCheckpointPid() {
  constexpr const char* kPath = "/proc/sys/kernel/ns_last_pid";
  UniqueFd fd(open(kPath, O_WRONLY | O_CLOEXEC));
  if (!fd) return SysError("open", kPath, "the kernel needs CONFIG_CHECKPOINT_RESTORE");
  const std::string last = std::to_string(kCheckpointPid - 1);
  if (write(fd.get(), last.data(), last.size()) != static_cast<ssize_t>(last.size()))
    return SysError("write to", kPath);
  return {};
}

// The image's root is this process's own by now. spored is told in the zygote's place.
Result<> CheckInstalled(const std::string& program, int zygote_fd) {
  if (access(program.c_str(), X_OK) == 0) return {};
  const std::string text = program + " is not installed";
  wire::ZygoteReady ready;
  ready.failure = wire::MakeFailure(0, text.c_str());
  // When even this fails spored is gone, and the error below ends this process.
  (void)SendStruct(zygote_fd, ready);
  return MakeError(ErrorKind::kPrecondition, text);
}

// One value a name: programs differ in which of two they take. The image's manifest says what it
// likes but for what the runtime's host needs.
std::vector<std::string> EnvironmentOf(const SupervisorOptions& options,
                                       const RuntimeStart& start) {
  const std::vector<std::string> usual = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                          "HOME=/tmp",
                                          "TMPDIR=/tmp",
                                          "LANG=C.UTF-8",
                                          "TZ=UTC",
                                          "USER=sandbox",
                                          "LOGNAME=sandbox"};
  std::map<std::string, std::string> variables;
  for (const auto* words : {&usual, &options.environment, &start.environment}) {
    for (const std::string& word : *words) variables[word.substr(0, word.find('='))] = word;
  }
  std::vector<std::string> environment;
  for (const auto& [name, word] : variables) environment.push_back(word);
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<pid_t> StartZygote(const SupervisorOptions& options, const SeccompProgram* base) {
  UniqueFd null_fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_fd) return SysError("open", "/dev/null");
  const DescribeStart describe = FindRuntime(options.runtime);
  if (describe == nullptr)
    return MakeError(ErrorKind::kInvalid, "unknown runtime " + options.runtime);
  RuntimeStart start = describe(options);
  SPORE_TRY(CheckInstalled(start.arguments.front(), options.zygote_fd));
  std::vector<std::string> environment = EnvironmentOf(options, start);
  SPORE_TRY(base != nullptr ? SkipOnePid() : ReachCheckpointPid());
  const ExecPlan plan{Pointers(start.arguments), Pointers(environment), null_fd.get(),
                      options.zygote_fd, base};
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (pid < 0) return SysError("clone the zygote");
  if (pid == 0) {
    const StepResult failed = ConfineAndExec(plan);
    dprintf(STDERR_FILENO, "spore-zygote: %s: %s %s\n", failed.operation,
            strerrordesc_np(failed.errno_value), plan.argv[0]);
    _exit(127);
  }
  return pid;
}

}  // namespace spore
