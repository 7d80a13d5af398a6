// Limits and figures of one cgroup directory, by hierarchy version.
#pragma once

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_layout.h"

namespace spore {

// Write what differs between `now` and `wanted` into `directory`.
Result<> ApplyLimitsV2(int directory, const CgroupRoles& roles, const CgroupLimits& now,
                       const CgroupLimits& wanted);
Result<> ApplyLimitsV1(int directory, const CgroupRoles& roles, const CgroupLimits& now,
                       const CgroupLimits& wanted);

// Fill in what this hierarchy knows. `cpu_time`: take the CPU time from here.
Result<> ReadUsageV2(int directory, const CgroupRoles& roles, bool cpu_time, CgroupUsage& usage);
Result<> ReadUsageV1(int directory, const CgroupRoles& roles, CgroupUsage& usage);

// Periods of 100 ms, the kernel's default; the least quota it takes is 1 ms.
inline constexpr uint64_t kCpuPeriodUs = 100'000;
uint64_t CpuQuotaUs(uint32_t cpu_millis);

}  // namespace spore
