// cgroup v2: Documentation/admin-guide/cgroup-v2.rst.
#include <algorithm>
#include <string>

#include "sandbox/cgroup_controllers.h"
#include "sandbox/cgroup_file.h"

namespace spore {
namespace {

std::string MaxOr(uint64_t value) {
  return value == 0 ? "max" : std::to_string(value);
}

}  // namespace

uint64_t CpuQuotaUs(uint32_t cpu_millis) {
  return std::max<uint64_t>(1000, uint64_t{cpu_millis} * kCpuPeriodUs / 1000);
}

Result<> ApplyLimitsV2(int directory, const CgroupRoles& roles, const CgroupLimits& now,
                       const CgroupLimits& wanted) {
  if (roles.memory && wanted.memory_bytes != now.memory_bytes) {
    SPORE_TRY(WriteFileAt(directory, "memory.max", MaxOr(wanted.memory_bytes)));
    // Absent without CONFIG_SWAP. A limit of memory alone would only push tenants into swap.
    if (ExistsAt(directory, "memory.swap.max"))
      SPORE_TRY(WriteFileAt(directory, "memory.swap.max", wanted.memory_bytes ? "0" : "max"));
  }
  // One process of an invocation's sandbox less is a sandbox in an unknown state: all or none.
  const auto whole = [](const CgroupLimits& limits) {
    return limits.memory_bytes != 0 && limits.end_whole;
  };
  if (roles.memory && whole(wanted) != whole(now) && ExistsAt(directory, "memory.oom.group"))
    SPORE_TRY(WriteFileAt(directory, "memory.oom.group", whole(wanted) ? "1" : "0"));
  if (roles.cpu && wanted.cpu_millis != now.cpu_millis) {
    const std::string quota =
        wanted.cpu_millis == 0 ? "max" : std::to_string(CpuQuotaUs(wanted.cpu_millis));
    SPORE_TRY(WriteFileAt(directory, "cpu.max", quota + " " + std::to_string(kCpuPeriodUs)));
  }
  if (roles.pids && wanted.pids != now.pids)
    SPORE_TRY(WriteFileAt(directory, "pids.max", MaxOr(wanted.pids)));
  return {};
}

Result<> ReadUsageV2(int directory, const CgroupRoles& roles, bool cpu_time, CgroupUsage& usage) {
  if (roles.memory) {
    usage.memory_bytes = ReadNumberAt(directory, "memory.current", 0);
    usage.memory_peak_bytes = ReadNumberAt(directory, "memory.peak", 0);  // since 5.19
    SPORE_ASSIGN(const std::string events, ReadFileAt(directory, "memory.events"));
    usage.oom_kills = KeyedNumber(events, "oom_kill");
  }
  if (roles.pids) {
    usage.pids = static_cast<uint32_t>(ReadNumberAt(directory, "pids.current", 0));
    SPORE_ASSIGN(const std::string events, ReadFileAt(directory, "pids.events"));
    usage.pids_limit_hits = KeyedNumber(events, "max");
  }
  if (cpu_time) {  // there without the controller too
    SPORE_ASSIGN(const std::string stat, ReadFileAt(directory, "cpu.stat"));
    usage.cpu_us = KeyedNumber(stat, "usage_usec");
  }
  return {};
}

}  // namespace spore
