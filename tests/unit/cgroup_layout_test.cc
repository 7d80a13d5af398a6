// Hierarchies as other hosts show them.
#include "sandbox/cgroup_layout.h"

#include <gtest/gtest.h>

#include "sandbox/cgroup_controllers.h"
#include "sandbox/cgroup_file.h"

namespace spore {
namespace {

TEST(CgroupLayout, Debian12) {
  const CgroupHost host = ParseCgroupHost(
      "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
      "0::/system.slice/spored.service\n", "cpuset cpu io memory hugetlb pids rdma misc\n");
  EXPECT_EQ(host.layout, CgroupLayout::kV2);
  ASSERT_EQ(host.hierarchies.size(), 1u);
  EXPECT_EQ(host.v2()->own_path, "/sys/fs/cgroup/system.slice/spored.service");
  EXPECT_TRUE(host.v2()->roles.memory && host.v2()->roles.cpu && host.v2()->roles.pids);
  EXPECT_EQ(host.Find(&CgroupRoles::memory), host.v2());
}

TEST(CgroupLayout, SystemdHybrid) {
  const CgroupHost host = ParseCgroupHost(
      "30 29 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "31 29 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "34 29 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 29 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "36 29 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
      "37 29 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n",
      "5:memory:/user.slice\n4:cpu,cpuacct:/\n3:pids:/user.slice/x\n1:name=systemd:/\n0::/u\n", "");
  EXPECT_EQ(host.layout, CgroupLayout::kHybrid);
  ASSERT_EQ(host.hierarchies.size(), 4u);
  EXPECT_EQ(host.v2()->own_path, "/sys/fs/cgroup/unified/u");
  EXPECT_FALSE(host.v2()->roles.any());
  EXPECT_EQ(host.Find(&CgroupRoles::cpu), host.Find(&CgroupRoles::cpuacct));
  EXPECT_EQ(host.Find(&CgroupRoles::memory)->own_path, "/sys/fs/cgroup/memory/user.slice");
}

TEST(CgroupLayout, SeparateCpuacctIsLeftOutWhereV2CountsTime) {
  const char mounts[] =
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(ParseCgroupHost(mounts, "", "hugetlb\n").Find(&CgroupRoles::cpuacct), nullptr);
  const std::string v1_only(mounts, std::string_view(mounts).find("41 31"));
  const CgroupHost host = ParseCgroupHost(v1_only, "", "");
  EXPECT_EQ(host.layout, CgroupLayout::kV1);
  EXPECT_NE(host.Find(&CgroupRoles::cpuacct), nullptr);
}

TEST(CgroupLayout, BindMountedSubtreeAndOddNames) {
  const CgroupHost host = ParseCgroupHost(
      "29 23 0:26 /docker/abc /mnt/a\\040b rw - cgroup2 cgroup2 rw\nnonsense\n\n1 2 3 - x\n",
      "0::/docker/abc/inner\n", "memory\n");
  EXPECT_EQ(host.v2()->mount_point, "/mnt/a b");
  EXPECT_EQ(host.v2()->own_path, "/mnt/a b/inner");
}

TEST(CgroupLayout, NothingMounted) {
  EXPECT_TRUE(ParseCgroupHost("", "", "").hierarchies.empty());
  EXPECT_TRUE(
      ParseCgroupHost("1 2 0:3 / / rw - ext4 /dev/sda rw\n", "0::/\n", "").hierarchies.empty());
}

TEST(CgroupFile, KeyedNumber) {
  const char text[] = "low 1\noom 2\noom_kill 3\noom_group_kill 4\n";
  EXPECT_EQ(KeyedNumber(text, "oom_kill"), 3u);
  EXPECT_EQ(KeyedNumber(text, "oom"), 2u);
  EXPECT_EQ(KeyedNumber(text, "kill"), 0u);
  EXPECT_EQ(KeyedNumber("max 18446744073709551615", "max"), UINT64_MAX);
}

TEST(CgroupLimits, QuotaHasTheKernelsFloor) {
  EXPECT_EQ(CpuQuotaUs(1), 1000u);
  EXPECT_EQ(CpuQuotaUs(500), 50'000u);
  EXPECT_EQ(CpuQuotaUs(4000), 400'000u);
}

}  // namespace
}  // namespace spore
