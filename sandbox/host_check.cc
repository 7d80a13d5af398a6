// `spore check`: what this host can and cannot do, in lines for a person.
#include <sys/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <climits>

#include "sandbox/cgroup_file.h"
#include "sandbox/cgroup_layout.h"
#include "sandbox/kernel_features.h"
#include "sandbox/uid_range.h"

namespace spore {
namespace {

using Verdict = HostCheck::Verdict;

class Checks {
 public:
  void Ok(std::string name, std::string finding) {
    list_.push_back({std::move(name), Verdict::kOk, std::move(finding), {}});
  }
  void Bad(Verdict verdict, std::string name, std::string finding, std::string advice) {
    list_.push_back({std::move(name), verdict, std::move(finding), std::move(advice)});
  }
  // A plain yes or no.
  void Have(bool have, Verdict otherwise, std::string name, std::string advice) {
    if (have)
      Ok(std::move(name), "available");
    else
      Bad(otherwise, std::move(name), "not available", std::move(advice));
  }
  std::vector<HostCheck> Take() { return std::move(list_); }

 private:
  std::vector<HostCheck> list_;
};

uint64_t Number(const std::string& path, uint64_t fallback) {
  return ReadNumberAt(-1, path.c_str(), fallback);
}

void CheckPrivileges(Checks& checks) {
  if (geteuid() != 0) {
    checks.Bad(Verdict::kFailure, "privileges", "user " + std::to_string(geteuid()),
               "run spored as root; what it starts gives up every privilege");
    return;
  }
  const std::pair<cap_value_t, const char*> needed[] = {
      {CAP_SYS_ADMIN, "sys_admin"}, {CAP_SETUID, "setuid"}, {CAP_SETGID, "setgid"},
      {CAP_CHOWN, "chown"},         {CAP_KILL, "kill"},     {CAP_DAC_OVERRIDE, "dac_override"},
      {CAP_FOWNER, "fowner"},       {CAP_MKNOD, "mknod"},   {CAP_SETPCAP, "setpcap"}};
  std::string missing;
  cap_t current = cap_get_proc();
  for (const auto& [capability, name] : needed) {
    cap_flag_value_t value = CAP_CLEAR;
    cap_get_flag(current, capability, CAP_EFFECTIVE, &value);
    if (value != CAP_SET) missing += std::string(missing.empty() ? "" : ", ") + name;
  }
  cap_free(current);
  if (missing.empty())
    checks.Ok("privileges", "root with the capabilities needed");
  else
    checks.Bad(Verdict::kFailure, "privileges", "root without " + missing,
               "start spored where these capabilities are not taken away");
}

void CheckKernel(Checks& checks, const KernelFeatures& features) {
  checks.Ok("kernel", features.release);
  checks.Have(features.user_namespaces, Verdict::kFailure, "user namespaces",
              "sysctl user.max_user_namespaces=15000; CONFIG_USER_NS");
  checks.Have(features.clone3, Verdict::kFailure, "clone3", "Linux 5.3 or later");
  checks.Have(features.pidfd, Verdict::kFailure, "process descriptors", "Linux 5.4 or later");
  checks.Have(features.open_tree, Verdict::kFailure, "mounts by descriptor",
              "Linux 5.12 or later (open_tree, move_mount, mount_setattr)");
  checks.Have(features.seccomp_filter, Verdict::kFailure, "seccomp filters",
              "a kernel with CONFIG_SECCOMP_FILTER");
  if (features.io_uring)
    checks.Ok("io_uring", "with buffer rings and multishot receive");
  else if (Number("/proc/sys/kernel/io_uring_disabled", 0) == 2)
    checks.Bad(Verdict::kFailure, "io_uring", "switched off",
               "sysctl kernel.io_uring_disabled=1 leaves it to root");
  else
    checks.Bad(Verdict::kFailure, "io_uring", "missing or older than needed", "Linux 6.0 or later");
  if (features.landlock_abi > 0)
    checks.Ok("Landlock", "ABI " + std::to_string(features.landlock_abi));
  else
    checks.Bad(Verdict::kWarning, "Landlock", "not available",
               "sandboxes do without this second fence; put landlock into the lsm= list of the "
               "kernel's command line");
  if (features.fd_count_by_stat)
    checks.Ok("descriptor audit", "by one stat of /proc/self/fd");
  else
    checks.Bad(Verdict::kWarning, "descriptor audit", "by reading /proc/self/fd",
               "a little slower at each fork; Linux 6.2 or later counts for us");
}

const char* LayoutName(CgroupLayout layout) {
  switch (layout) {
    case CgroupLayout::kV2:
      return "v2";
    case CgroupLayout::kHybrid:
      return "hybrid: v1 hierarchies beside v2";
    case CgroupLayout::kV1:
      return "v1 only";
  }
  return "unknown";
}

void CheckCgroups(Checks& checks, const KernelFeatures& features) {
  auto host = DetectCgroupHost();
  if (!host) {
    checks.Bad(Verdict::kFailure, "cgroups", host.error().Message(), host.error().hint);
    return;
  }
  checks.Ok("cgroup layout", LayoutName(host->layout));
  const std::pair<const char*, bool CgroupRoles::*> controllers[] = {
      {"memory", &CgroupRoles::memory}, {"cpu", &CgroupRoles::cpu}, {"pids", &CgroupRoles::pids}};
  for (const auto& [name, role] : controllers) {
    const std::string title = "cgroup " + std::string(name) + " controller";
    if (const CgroupHierarchy* hierarchy = host->Find(role))
      checks.Ok(title, (hierarchy->v2 ? "v2 at " : "v1 hierarchy at ") + hierarchy->mount_point);
    else
      checks.Bad(Verdict::kFailure, title, "not available",
                 "cgroup_enable=" + std::string(name) + " on the kernel's command line");
  }
  checks.Have(features.clone_into_cgroup || !host->v2(), Verdict::kFailure, "fork into a cgroup",
              "Linux 5.7 or later (CLONE_INTO_CGROUP)");
  checks.Have(features.cgroup_kill, Verdict::kWarning, "cgroup.kill",
              "sandboxes are ended process by process; Linux 5.14 and a mounted v2 hierarchy end "
              "them at once");
  auto swaps = ReadFile("/proc/swaps");
  const bool swapping = swaps && swaps->find('\n') + 1 < swaps->size();
  if (features.swap_accounting)
    checks.Ok("swap accounting", "counted against the limit");
  else if (!swapping)
    checks.Ok("swap accounting", "no swap in use");
  else
    checks.Bad(Verdict::kWarning, "swap accounting", "off, and swap is in use",
               "tenants can fill the swap: swapaccount=1 on the kernel's command line, or swapoff");
}

void CheckUids(Checks& checks, uint32_t base, uint32_t count) {
  const std::string range =
      std::to_string(base) + " to " + std::to_string(uint64_t{base} + count - 1);
  const std::pair<const char*, const char*> files[] = {{"/etc/passwd", "/etc/subuid"},
                                                       {"/etc/group", "/etc/subgid"}};
  for (const auto& [accounts, subordinates] : files) {
    const std::string problem = UidRangeProblem(base, count, ReadFile(accounts).value_or(""),
                                                ReadFile(subordinates).value_or(""));
    if (problem.empty()) continue;
    checks.Bad(Verdict::kFailure, "uid range", range + ": " + problem,
               "choose another uid-base or uid-count in spore.toml");
    return;
  }
  checks.Ok("uid range", range + ", free in passwd, group, subuid and subgid");
}

// A figure that must not be small.
void CheckAtLeast(Checks& checks, const std::string& name, uint64_t value, uint64_t wanted,
                  const std::string& advice) {
  const std::string finding = value == UINT64_MAX ? "unlimited" : std::to_string(value);
  if (value >= wanted)
    checks.Ok(name, finding);
  else
    checks.Bad(Verdict::kWarning, name, finding, advice);
}

void CheckRoom(Checks& checks) {
  constexpr uint64_t kSandboxes = 1000;
  CheckAtLeast(checks, "pid_max", Number("/proc/sys/kernel/pid_max", UINT64_MAX), 32 * kSandboxes,
               "sysctl kernel.pid_max=4194304");
  for (const char* kind : {"pid", "mnt", "net", "ipc", "uts", "cgroup"}) {
    const std::string key = "max_" + std::string(kind) + "_namespaces";
    CheckAtLeast(checks, key, Number("/proc/sys/user/" + key, UINT64_MAX), kSandboxes,
                 "sysctl user." + key + "=15000");
  }
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0)
    CheckAtLeast(checks, "open files", files.rlim_max, 16 * kSandboxes,
                 "LimitNOFILE=262144 in spored.service, or ulimit -n");
  auto meminfo = ReadFile("/proc/meminfo");
  if (meminfo) {
    const size_t at = meminfo->find("MemAvailable:");
    uint64_t kib = 0;
    if (at != std::string::npos) {
      const size_t digit = meminfo->find_first_of("0123456789", at);
      std::from_chars(meminfo->data() + digit, meminfo->data() + meminfo->size(), kib);
    }
    CheckAtLeast(checks, "memory available (MiB)", kib / 1024, 512,
                 "a Python zygote takes 15 to 60 MiB, an instance 1 MiB and what its code needs");
  }
  if (Number("/proc/sys/vm/overcommit_memory", 0) == 2)
    checks.Bad(Verdict::kWarning, "overcommit", "strict (vm.overcommit_memory=2)",
               "forks of a large zygote can fail; sysctl vm.overcommit_memory=0");
}

// The default images run the host's own. Who has no functions of a language needs none of it.
void CheckRuntimes(Checks& checks) {
  struct Runtime {
    const char* name;
    const char* program;
    const char* package;
  };
  for (const Runtime& runtime : {Runtime{"python", "/usr/bin/python3", "python3"},
                                 Runtime{"node", "/usr/bin/node", "nodejs"},
                                 Runtime{"java", "/usr/bin/java", "default-jre-headless"}}) {
    if (access(runtime.program, X_OK) != 0) {
      checks.Bad(Verdict::kWarning, runtime.name, std::string(runtime.program) + " is missing",
                 std::string("apt install ") + runtime.package + ", for functions and scripts of " +
                     "runtime " + runtime.name);
      continue;
    }
    char target[PATH_MAX];
    const ssize_t length = readlink(runtime.program, target, sizeof target);
    checks.Ok(runtime.name, length > 0 ? std::string(target, static_cast<size_t>(length))
                                       : std::string(runtime.program));
  }
}

}  // namespace

std::vector<HostCheck> CheckHost(const KernelFeatures& features, uint32_t uid_base,
                                 uint32_t uid_count) {
  Checks checks;
  CheckPrivileges(checks);
  CheckKernel(checks, features);
  CheckCgroups(checks, features);
  CheckUids(checks, uid_base, uid_count);
  CheckRoom(checks);
  CheckRuntimes(checks);
  return checks.Take();
}

}  // namespace spore
