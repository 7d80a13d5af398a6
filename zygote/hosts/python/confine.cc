#include "zygote/hosts/python/confine.h"

#include <unistd.h>

namespace spore {

Result<ForkDescriptors> NameDescriptors(const wire::Fork& request, const ReceivedFds& fds) {
  if (request.cgroup_procs > wire::kMaxCgroupProcs)
    return MakeError(ErrorKind::kInternal, "Fork: too many v1 cgroups");
  ForkDescriptors named;
  uint32_t next = 0;
  bool enough = true;
  const auto take = [&](bool present) {
    if (!present) return -1;
    if (next >= fds.count) {
      enough = false;
      return -1;
    }
    return fds.fd[next++].get();
  };
  named.namespaces.pid = take(true);
  named.namespaces.mount = take(true);
  named.namespaces.ipc = take(true);
  named.namespaces.uts = take(true);
  named.namespaces.net = take(true);
  named.namespaces.cgroup = take(true);
  named.landlock = take(request.has_landlock != 0);
  named.instance = take(true);
  named.stdin_fd = take(request.has_stdin != 0);
  named.stdout_fd = take(true);
  named.stderr_fd = take(true);
  named.code = take(request.has_code != 0);
  named.cgroup_v2 = take(request.has_cgroup_v2 != 0);
  for (uint32_t i = 0; i < request.cgroup_procs; ++i) named.cgroup_procs[i] = take(true);
  if (!enough || next != fds.count)
    return MakeError(ErrorKind::kInternal, "Fork: the descriptors do not fit the message");
  return named;
}

// 1. thaw            glibc must know who it is before anything else runs
// 2. cgroup          limits hold from here on, for the set-up's own memory too
// 3. namespaces      prepared by the supervisor; still with the zygote's capabilities
// 4. mounts          the function's code, /tmp's size: need CAP_SYS_ADMIN in the user namespace
// 5. descriptors     the namespaces' and the code's are used up; all but four close
// 6. rlimits         while the hard limits can still be set freely
// 7. identity        needs CAP_SETUID; the bounding set and securebits before it (CAP_SETPCAP)
// 8. capabilities    none from here on
// 9. no_new_privs    required by the last two for a process without CAP_SYS_ADMIN
// 10. landlock       its own calls must pass before seccomp refuses them
// 11. seccomp        last: refuses what all of the above needed
StepResult Confine(const FrozenProcess& process, const wire::Fork& request,
                   const ForkDescriptors& fds, const SeccompProgram& final_program, StepLog& log) {
  uint64_t t = StepLog::Now();
  if (StepResult r = process.Thaw(); !r.ok()) return r;
  if (StepResult r = EnterCgroups(fds.cgroup_procs, request.cgroup_procs, false); !r.ok()) return r;
  t = log.Add("cgroup", t);
  if (StepResult r = JoinNamespaces(fds.namespaces); !r.ok()) return r;
  t = log.Add("namespaces", t);
  if (fds.code >= 0) {
    if (StepResult r = AttachMount(fds.code, "/var/task"); !r.ok()) return r;
  }
  if (request.tmp_bytes != 0) {
    if (StepResult r = ResizeTmp(request.tmp_bytes); !r.ok()) return r;
  }
  t = log.Add("mounts", t);
  // Landlock's descriptor takes the first free place and goes once it is used.
  const int places[] = {fds.stdin_fd, fds.stdout_fd, fds.stderr_fd, fds.instance, fds.landlock};
  if (StepResult r = PlaceDescriptors(places, fds.landlock >= 0 ? 5 : 4); !r.ok()) return r;
  t = log.Add("descriptors", t);
  const ResourceLimits limits{.open_files = request.open_files,
                              .file_size_bytes = request.file_size_bytes};
  if (StepResult r = LimitResources(limits); !r.ok()) return r;
  t = log.Add("rlimits", t);
  if (StepResult r = LimitBoundingSet(0); !r.ok()) return r;
  if (StepResult r = LockSecurebits(); !r.ok()) return r;
  if (StepResult r = TakeIdentity(request.uid, true); !r.ok()) return r;
  t = log.Add("identity", t);
  if (StepResult r = SetCapabilities(0); !r.ok()) return r;
  if (StepResult r = SetNoNewPrivs(); !r.ok()) return r;
  t = log.Add("capabilities", t);
  if (fds.landlock >= 0) {
    constexpr int kPlace = 4;
    if (StepResult r = RestrictWithLandlock(kPlace); !r.ok()) return r;
    if (close(kPlace) < 0) return StepFailed("close the Landlock ruleset");
    t = log.Add("landlock", t);
  }
  if (const int error = LoadSeccompProgram(final_program); error < 0)
    return {-error, "load the final seccomp filter"};
  log.Add("seccomp", t);
  return StepOk();
}

}  // namespace spore
