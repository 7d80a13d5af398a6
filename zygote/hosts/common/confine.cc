#include "zygote/hosts/common/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <algorithm>

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
  named.cgroup_v2 = take(request.has_cgroup_v2 != 0);
  for (uint32_t i = 0; i < request.cgroup_procs; ++i) named.cgroup_procs[i] = take(true);
  if (!enough || next != fds.count)
    return MakeError(ErrorKind::kInternal, "Fork: the descriptors do not fit the message");
  return named;
}

bool KeptDescriptors::Set(std::span<const int> runtime, int ruleset) {
  if (runtime.size() >= fd_.size()) return false;
  std::copy(runtime.begin(), runtime.end(), fd_.begin());
  count_ = runtime.size();
  ruleset_ = ruleset;
  if (ruleset >= 0) fd_[count_++] = ruleset;
  std::sort(fd_.begin(), fd_.begin() + static_cast<std::ptrdiff_t>(count_));
  return true;
}

StepResult EnterSandbox(const FrozenProcess& process, const wire::Fork& request,
                        const ForkDescriptors& fds, const KeptDescriptors& kept, StepLog& log) {
  if (StepResult r = process.Adopt(); !r.ok()) return r;  // glibc must know who it is first
  const uint64_t t = StepLog::Now();
  if (StepResult r = process.RenewDescriptors(); !r.ok()) return r;
  if (!process.RuntimeDescriptors().empty()) log.Add("renew descriptors", t);
  // v1 takes a thread at a time, so before there can be a second one.
  if (StepResult r = EnterCgroups(fds.cgroup_procs, request.cgroup_procs, false); !r.ok()) return r;
  if (StepResult r = JoinNamespaces(fds.namespaces); !r.ok()) return r;
  const int places[] = {-1, -1, -1, fds.instance};
  return PlaceDescriptors(places, 4, kept.all());
}

namespace {

constexpr const char* kTaskRoot = "/var/task";

// stdin, stdout, stderr, the code's mount and the program, as wire::Specialise orders them.
struct TenantDescriptors {
  int streams[3] = {-1, -1, -1};
  int code = -1;
  int program = -1, program_place = -1;
};
bool NameTenantDescriptors(const wire::Specialise& order, const ReceivedFds& received,
                           TenantDescriptors& named) {
  const uint32_t count =
      2u + (order.has_stdin != 0) + (order.has_code != 0) + (order.has_program != 0 ? 2u : 0u);
  if (received.count != count) return false;
  uint32_t next = 0;
  for (int i = order.has_stdin != 0 ? 0 : 1; i < 3; ++i)
    named.streams[i] = received.fd[next++].get();
  if (order.has_code != 0) named.code = received.fd[next++].get();
  if (order.has_program == 0) return true;
  named.program = received.fd[next++].get();
  named.program_place = received.fd[next].get();
  return named.code >= 0;
}

}  // namespace

// Ahead, when it is not known yet for whom:
// 1. rlimits         while the hard limits can still be set freely
// 2. identity        needs CAP_SETUID and CAP_SETGID; the bounding set before it (CAP_SETPCAP)
// 3. capabilities    none but what the mount of the code needs; securebits while it has CAP_SETPCAP
// 4. seccomp, final  refuses all that is not needed for what follows
StepResult ConfineAhead(uint32_t uid, const SeccompProgram& final_program) {
  if (StepResult r = LimitFixedResources(); !r.ok()) return r;
  if (StepResult r = LimitBoundingSet(0); !r.ok()) return r;
  if (StepResult r = KeepCapabilities(); !r.ok()) return r;
  if (StepResult r = TakeIdentity(uid, true); !r.ok()) return r;
  constexpr uint64_t kMount = 1ull << CAP_SYS_ADMIN;
  if (StepResult r = SetCapabilities(kMount | 1ull << CAP_SETPCAP); !r.ok()) return r;
  if (StepResult r = LockSecurebits(); !r.ok()) return r;
  if (StepResult r = SetCapabilities(kMount); !r.ok()) return r;
  if (StepResult r = SetNoNewPrivs(); !r.ok()) return r;
  if (const int error = LoadSeccompProgram(final_program); error < 0)
    return {-error, "load the final seccomp filter"};
  return StepOk();
}

// 5. mounts          the function's code, /tmp's size: need CAP_SYS_ADMIN in the user namespace;
//                    a program, whose mount is read-only from then on
// 6. descriptors     the code's mount is used up; all but the pass-list close
// 7. rlimits         its own
// 8. capabilities    none from here on
// 9. landlock        forbids mounts from here on
// 10. seccomp, last  refuses what these steps needed
StepResult Confine(const wire::Specialise& order, const KeptDescriptors& kept,
                   const ReceivedFds& received, const SeccompProgram& last_program, StepLog& log) {
  TenantDescriptors fds;
  if (!NameTenantDescriptors(order, received, fds))
    return {EPROTO, "the descriptors do not fit the Specialise message"};
  uint64_t t = StepLog::Now();
  if (fds.code >= 0) {
    if (StepResult r = AttachMount(fds.code, kTaskRoot); !r.ok()) return r;
  }
  if (order.tmp_bytes != 0) {
    if (StepResult r = ResizeTmp(order.tmp_bytes); !r.ok()) return r;
  }
  t = log.Add("mounts", t);
  if (fds.program >= 0) {
    if (StepResult r = PlaceProgram(fds.program, fds.program_place, kTaskRoot); !r.ok()) return r;
    t = log.Add("program", t);
  }
  const int places[] = {fds.streams[0], fds.streams[1], fds.streams[2], kInstanceFd};
  if (StepResult r = PlaceDescriptors(places, 4, kept.all()); !r.ok()) return r;
  // The runtime is not executed again, and no program that the tenant starts shall answer for it.
  if (fcntl(kInstanceFd, F_SETFD, FD_CLOEXEC) < 0) return StepFailed("fcntl F_SETFD");
  t = log.Add("descriptors", t);
  const ResourceLimits limits{.open_files = order.open_files,
                              .file_size_bytes = order.file_size_bytes};
  if (StepResult r = LimitResources(limits); !r.ok()) return r;
  t = log.Add("rlimits", t);
  if (StepResult r = SetCapabilities(0); !r.ok()) return r;
  t = log.Add("capabilities", t);
  if (kept.ruleset() >= 0) {
    if (StepResult r = RestrictWithLandlock(kept.ruleset()); !r.ok()) return r;
    if (close(kept.ruleset()) < 0) return StepFailed("close the Landlock ruleset");
    t = log.Add("landlock", t);
  }
  if (const int error = LoadSeccompProgram(last_program); error < 0)
    return {-error, "load the last seccomp filter"};
  log.Add("seccomp", t);
  return StepOk();
}

}  // namespace spore
