#include "zygote/supervisor/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

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

Result<> WriteMap(pid_t pid, const char* file, const SupervisorOptions& options) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const std::string map =
      "0 " + std::to_string(options.uid_base) + " " + std::to_string(options.uid_count);
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return SysError("open", path);
  if (write(fd.get(), map.data(), map.size()) != static_cast<ssize_t>(map.size()))
    return SysError("write \"" + map + "\" to", path,
                    "the uid range must be unused and below 4294967295");
  return {};
}

// Order matters: root and mounts while still root of the host (device nodes, /usr); then the user
// namespace; then the namespaces that it shall own, the mount namespace copied so that everything
// made before is locked against the zygote.
Result<> EnterImage(const SupervisorOptions& options, int launcher) {
  SPORE_TRY(EnterImageRoot({.host_dir = options.host_dir, .tree = options.root}));
  if (unshare(CLONE_NEWUSER) < 0)
    return SysError("unshare CLONE_NEWUSER", {}, "see `spore check`: user.max_user_namespaces");
  if (!Signal(launcher) || !Await(launcher))
    return MakeError(ErrorKind::kInternal, "the launcher could not write the uid map");
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

int RunSupervisor(const SupervisorOptions& options, UniqueFd launcher,
                  const std::function<int()>& supervise) {
  if (Result<> entered = EnterImage(options, launcher.get()); !entered) {
    Report(entered.error());
    return 1;
  }
  launcher.Reset();
  return supervise();
}

}  // namespace

int Launch(const SupervisorOptions& options, const std::function<int()>& supervise) {
  // spored sends one byte once it has put this process into the image's cgroup.
  if (!Await(options.supervisor_fd)) return 1;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
    Report(SysError("socketpair").value());
    return 1;
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const CloneOptions clone{.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_PARENT};
  const pid_t pid = CloneProcess(clone, nullptr);
  if (pid < 0) {
    Report(SysError("clone the supervisor").value());
    return 1;
  }
  if (pid == 0) {
    ours.Reset();
    return RunSupervisor(options, std::move(theirs), supervise);
  }
  theirs.Reset();
  if (!Await(ours.get())) return 1;  // the supervisor has said why
  for (const char* file : {"uid_map", "gid_map"}) {
    if (Result<> written = WriteMap(pid, file, options); !written) {
      Report(written.error());
      return 1;
    }
  }
  return Signal(ours.get()) ? 0 : 1;
}

}  // namespace spore
