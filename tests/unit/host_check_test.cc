// Probing and checking this host, and the rules for uid ranges.
#include <gtest/gtest.h>

#include <set>

#include "sandbox/kernel_features.h"
#include "sandbox/uid_range.h"

namespace spore {
namespace {

constexpr uint32_t kBase = 0x70000000;
constexpr uint32_t kCount = 64 * 65536;

TEST(UidRange, FreeRange) {
  EXPECT_EQ(UidRangeProblem(kBase, kCount, "root:x:0:0::/:/bin/sh\nnobody:x:65534:\n",
                            "ada:100000:65536\n"),
            "");
  EXPECT_EQ(UidRangeProblem(kBase, kCount, "", ""), "");
}

TEST(UidRange, NamesWhoIsInTheWay) {
  EXPECT_NE(UidRangeProblem(kBase, kCount, "ada:x:1879048200:1::/:\n", "").find("'ada'"),
            std::string::npos);
  EXPECT_NE(UidRangeProblem(kBase, kCount, "", "bob:1879000000:65536\n").find("'bob'"),
            std::string::npos);
  EXPECT_EQ(UidRangeProblem(kBase, kCount, "", "bob:1878982656:65536\n"), "");  // ends before
  EXPECT_EQ(UidRangeProblem(kBase, kCount, "", "rubbish\nbob:x:y\n:::\n"), "");
}

TEST(UidRange, SizeAndPlace) {
  EXPECT_NE(UidRangeProblem(0, kCount, "", ""), "");
  EXPECT_NE(UidRangeProblem(0xffff0000, kCount, "", ""), "");
  EXPECT_NE(UidRangeProblem(kBase, 65536, "", ""), "");
  EXPECT_NE(UidRangeProblem(kBase, kCount + 1, "", ""), "");
}

TEST(KernelFeatures, ProbingTwiceAgrees) {
  const KernelFeatures one = ProbeKernelFeatures();
  const KernelFeatures two = ProbeKernelFeatures();
  EXPECT_FALSE(one.release.empty());
  EXPECT_TRUE(one.clone3 && one.pidfd && one.seccomp_filter);
  EXPECT_EQ(one.io_uring, two.io_uring);
  EXPECT_EQ(one.landlock_abi, two.landlock_abi);
  EXPECT_EQ(one.cgroup_layout, two.cgroup_layout);
}

TEST(HostCheck, EveryFaultComesWithAdvice) {
  std::set<std::string> names;
  KernelFeatures bare;  // a kernel that can do nothing
  for (const KernelFeatures& features : {ProbeKernelFeatures(), bare}) {
    names.clear();
    for (const HostCheck& check : CheckHost(features, kBase, kCount)) {
      EXPECT_FALSE(check.name.empty());
      EXPECT_EQ(check.advice.empty(), check.verdict == HostCheck::Verdict::kOk) << check.name;
      EXPECT_TRUE(names.insert(check.name).second) << check.name << " comes twice";
    }
  }
  size_t failures = 0;
  for (const HostCheck& check : CheckHost(bare, 0, 1))
    failures += check.verdict == HostCheck::Verdict::kFailure;
  EXPECT_GE(failures, 6u);
}

}  // namespace
}  // namespace spore
