// cgroup v1 controllers: Documentation/admin-guide/cgroup-v1/.
#include <string>

#include "sandbox/cgroup_controllers.h"
#include "sandbox/cgroup_file.h"

namespace spore {
namespace {

// The kernel keeps limit <= memsw limit at every moment: widen the outer one first, narrow it last.
Result<> ApplyMemory(int directory, uint64_t now, uint64_t wanted) {
  const std::string text = wanted == 0 ? "-1" : std::to_string(wanted);
  const bool growing = wanted == 0 || (now != 0 && wanted > now);
  // Absent when swap is not accounted (swapaccount=0).
  const char* const memsw = "memory.memsw.limit_in_bytes";
  const bool has_memsw = ExistsAt(directory, memsw);
  if (growing && has_memsw) SPORE_TRY(WriteFileAt(directory, memsw, text));
  SPORE_TRY(WriteFileAt(directory, "memory.limit_in_bytes", text));
  if (!growing && has_memsw) SPORE_TRY(WriteFileAt(directory, memsw, text));
  return {};
}

// Of TCP by its name, of UDP as well. Absent without CONFIG_MEMCG_V1.
Result<> ApplySockets(int directory, const CgroupLimits& wanted) {
  const char* const name = "memory.kmem.tcp.limit_in_bytes";
  if (!wanted.sockets || !ExistsAt(directory, name)) return {};
  return WriteFileAt(directory, name,
                     wanted.memory_bytes == 0 ? "-1" : std::to_string(wanted.memory_bytes / 4));
}

}  // namespace

Result<> ApplyLimitsV1(int directory, const CgroupRoles& roles, const CgroupLimits& now,
                       const CgroupLimits& wanted) {
  if (roles.memory && wanted.memory_bytes != now.memory_bytes)
    SPORE_TRY(ApplyMemory(directory, now.memory_bytes, wanted.memory_bytes));
  if (roles.memory && (wanted.memory_bytes != now.memory_bytes || wanted.sockets != now.sockets))
    SPORE_TRY(ApplySockets(directory, wanted));
  if (roles.cpu && wanted.cpu_millis != now.cpu_millis) {
    // cfs_period_us is kCpuPeriodUs in a new group.
    SPORE_TRY(
        WriteFileAt(directory, "cpu.cfs_quota_us",
                    wanted.cpu_millis == 0 ? "-1" : std::to_string(CpuQuotaUs(wanted.cpu_millis))));
  }
  if (roles.pids && wanted.pids != now.pids)
    SPORE_TRY(
        WriteFileAt(directory, "pids.max", wanted.pids == 0 ? "max" : std::to_string(wanted.pids)));
  return {};
}

Result<> ReadUsageV1(int directory, const CgroupRoles& roles, CgroupUsage& usage) {
  if (roles.memory) {
    usage.memory_bytes = ReadNumberAt(directory, "memory.usage_in_bytes", 0);
    usage.memory_peak_bytes = ReadNumberAt(directory, "memory.max_usage_in_bytes", 0);
    SPORE_ASSIGN(const std::string oom, ReadFileAt(directory, "memory.oom_control"));
    usage.oom_kills = KeyedNumber(oom, "oom_kill");
  }
  if (roles.pids) {
    usage.pids = static_cast<uint32_t>(ReadNumberAt(directory, "pids.current", 0));
    SPORE_ASSIGN(const std::string events, ReadFileAt(directory, "pids.events"));
    usage.pids_limit_hits = KeyedNumber(events, "max");
  }
  if (roles.cpuacct) usage.cpu_us = ReadNumberAt(directory, "cpuacct.usage", 0) / 1000;
  return {};
}

}  // namespace spore
