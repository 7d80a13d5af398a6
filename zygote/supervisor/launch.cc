#include "zygote/supervisor/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "sandbox/root_fs.h"
#include "sandbox/sys/clone.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

void Report(const Error& error) {
  fprintf(stderr, "spore-zygote: %s\n", error.Message().c_str());
}

// One byte each way between launcher and supervisor; false when the other end is gone.
bool Signal(int socket) {
  return send(socket, "x", 1, MSG_NOSIGNAL) == 1;
}
bool Await(int socket) {
  char byte;
  return TEMP_FAILURE_RETRY(recv(socket, &byte, 1, 0)) == 1;
}

// Of the supervisor, which is pid 1 of the /proc that is the image's by now.
Result<> WriteMap(const char* file, const SupervisorOptions& options) {
  const std::string path = std::string("/proc/1/") + file;
  const std::string map =
      "0 " + std::to_string(options.uid_base) + " " + std::to_string(options.uid_count);
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return SysError("open", path);
  if (write(fd.get(), map.data(), map.size()) != static_cast<ssize_t>(map.size()))
    return SysError("write \"" + map + "\" to", path,
                    "the uid range must be unused and below 4294967295");
  return {};
}

// Only a process of a pid namespace can mount its /proc, and only root of the host makes a mount
// that is locked against the image. So a child of the launcher goes there for it.
Result<> MountProcOf(const UniqueFd& supervisor) {
  if (setns(supervisor.get(), CLONE_NEWPID) < 0) return SysError("setns to the image's processes");
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (pid < 0) return SysError("clone the process that mounts /proc");
  if (pid == 0) {
    const Result<> mounted = MountImageProc();
    if (!mounted) Report(mounted.error());
    _exit(mounted ? 0 : 1);
  }
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) return SysError("wait for a process");
  if (status != 0) return MakeError(ErrorKind::kInternal, "the image has no /proc");
  return {};
}

// The rest of the namespaces that the image's user namespace shall own, the mount namespace copied
// so that everything made before is locked against the zygote.
Result<> EnterImage(int launcher) {
  if (!Await(launcher))
    return MakeError(ErrorKind::kInternal, "the launcher could not make the image's world");
  if (setgroups(0, nullptr) < 0) return SysError("setgroups to none");
  if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
    return SysError("become root of the user namespace");
  // No cgroup namespace: where cgroup2 is mounted with nsdelegate (systemd does), one would keep
  // the zygote from cloning into a sandbox's cgroup. Each sandbox gets its own.
  constexpr int kOwned = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
  if (unshare(kOwned) < 0) return SysError("unshare the zygote's namespaces");
  // A changed uid cleared both: /proc/<pid>/ns of a sandbox's init must open, and the kernel must
  // end us with spored however spored ends.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) return SysError("prctl PR_SET_DUMPABLE");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return SysError("prctl PR_SET_PDEATHSIG");
  return {};
}

int RunSupervisor(UniqueFd launcher, const std::function<int()>& supervise) {
  if (Result<> entered = EnterImage(launcher.get()); !entered) {
    Report(entered.error());
    return 1;
  }
  launcher.Reset();
  return supervise();
}

// Order matters: root and mounts while still root of the host (device nodes, /usr); then the
// supervisor in a user namespace that owns its pid namespace, as who restores a checkpoint there
// must choose pids (clone3(2), set_tid); then that namespace's /proc.
Result<> LaunchSupervisor(const SupervisorOptions& options, const std::function<int()>& supervise) {
  if (unshare(CLONE_NEWNS) < 0) return SysError("unshare CLONE_NEWNS");
  SPORE_TRY(EnterImageRoot({.host_dir = options.host_dir, .tree = options.root}));
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return SysError("socketpair");
  UniqueFd ours(pair[0]), theirs(pair[1]), supervisor;
  const CloneOptions clone{.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_PARENT};
  const pid_t pid = CloneProcess(clone, &supervisor);
  if (pid < 0)
    return SysError("clone the supervisor", {}, "see `spore check`: user.max_user_namespaces");
  if (pid == 0) {
    ours.Reset();
    _exit(RunSupervisor(std::move(theirs), supervise));
  }
  theirs.Reset();
  SPORE_TRY(MountProcOf(supervisor));
  for (const char* file : {"uid_map", "gid_map"}) SPORE_TRY(WriteMap(file, options));
  if (!Signal(ours.get())) return MakeError(ErrorKind::kInternal, "the supervisor has ended");
  return {};
}

}  // namespace

int Launch(const SupervisorOptions& options, const std::function<int()>& supervise) {
  // spored sends one byte once it has put this process into the image's cgroup.
  if (!Await(options.supervisor_fd)) return 1;
  if (Result<> launched = LaunchSupervisor(options, supervise); !launched) {
    Report(launched.error());
    return 1;
  }
  return 0;
}

}  // namespace spore
