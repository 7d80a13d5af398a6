// Why a sandbox ended, told from what is known; and the small things beside it.
#include "daemon/instances/death.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "daemon/common/uid_allocator.h"
#include "daemon/history/latency_histogram.h"
#include "daemon/recovery.h"

namespace spore {
namespace {

DeathFacts Ended(int code, int status) {
  DeathFacts facts;
  facts.memory_limit_bytes = 128u << 20;
  facts.runtime.emplace();
  facts.runtime->code = code;
  facts.runtime->status = status;
  return facts;
}

TEST(Death, ExitAndSignal) {
  v1::Death death = DetermineDeath(Ended(CLD_EXITED, 3));
  EXPECT_EQ(death.cause(), v1::Death::EXIT);
  EXPECT_EQ(death.exit_code(), 3);
  EXPECT_EQ(ErrorOfDeath(death, "R").message(),
            "RequestId: R Error: Runtime exited with error: exit status 3");
  death = DetermineDeath(Ended(CLD_EXITED, 0));
  EXPECT_EQ(ErrorOfDeath(death, "R").message(),
            "RequestId: R Error: Runtime exited without providing a reason");
  death = DetermineDeath(Ended(CLD_KILLED, SIGSYS));
  EXPECT_EQ(death.cause(), v1::Death::SIGNAL);
  EXPECT_EQ(death.signal(), SIGSYS);
}

TEST(Death, OutOfMemoryOnlyWhereTheKernelKilled) {
  DeathFacts facts = Ended(CLD_KILLED, SIGKILL);
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::SIGNAL);
  facts.usage.oom_kills = 1;
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::OUT_OF_MEMORY);
  EXPECT_EQ(ErrorOfDeath(DetermineDeath(facts), "R").type(), "Runtime.OutOfMemory");
  facts = Ended(CLD_EXITED, 0);
  facts.usage.oom_kills = 1;  // of a child that the function could do without
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::EXIT);
}

TEST(Death, PidsOnlyWhereItFailed) {
  DeathFacts facts = Ended(CLD_EXITED, 1);
  facts.usage.pids_limit_hits = 5;
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::PIDS);
  facts = Ended(CLD_EXITED, 0);
  facts.usage.pids_limit_hits = 5;
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::EXIT);
}

TEST(Death, WhatEndedByItselfKeepsItsOwnCause) {
  DeathFacts facts = Ended(CLD_EXITED, 3);
  facts.KilledFor(v1::Death::TIMEOUT, "too late");
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::EXIT);
  facts.runtime.reset();
  facts.KilledFor(v1::Death::TIMEOUT, "too late");
  EXPECT_EQ(DetermineDeath(facts).message(), "too late");
}

TEST(Death, OfOneThatCouldNotBeStarted) {
  v1::Limits limits;
  limits.set_memory_bytes(1u << 20);
  limits.set_pids(7);
  DeathFacts facts;
  CgroupUsage used;
  used.memory_peak_bytes = 5;
  facts.Complete(used, limits, Error{ErrorKind::kInternal, 0, "no room", {}, {}});
  EXPECT_EQ(facts.pids_limit, 7u);
  const v1::Death death = DetermineDeath(facts);
  EXPECT_EQ(death.cause(), v1::Death::DAEMON);
  EXPECT_EQ(death.message(), "it could not be started: no room");
  EXPECT_EQ(death.usage().memory_peak_bytes(), 5u);
  EXPECT_EQ(death.usage().memory_limit_bytes(), 1u << 20);
  facts = {};
  facts.KilledFor(v1::Death::KILLED, "killed");
  facts.Complete({}, limits, Error{ErrorKind::kInternal, 0, "no room", {}, {}});
  EXPECT_EQ(DetermineDeath(facts).message(), "killed");
}

TEST(Death, SporesOwnReasonComesFirst) {
  DeathFacts facts = Ended(CLD_KILLED, SIGKILL);
  facts.killed_for = v1::Death::TIMEOUT;
  facts.kill_message = "Task timed out after 1.00 seconds";
  const v1::FunctionError error = ErrorOfDeath(DetermineDeath(facts), "R");
  EXPECT_EQ(error.type(), "Sandbox.Timedout");
  EXPECT_EQ(error.message(), "RequestId: R Error: Task timed out after 1.00 seconds");
  EXPECT_EQ(error.death().cause(), v1::Death::TIMEOUT);
}

TEST(Death, WithoutARuntimesEnd) {
  DeathFacts facts;
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::SIGNAL);
  facts.supervisor_lost = true;
  EXPECT_EQ(DetermineDeath(facts).cause(), v1::Death::DAEMON);
  EXPECT_EQ(CauseName(v1::Death::OUT_OF_MEMORY), "out_of_memory");
}

TEST(LatencyHistogram, PercentilesAreWithinABucket) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Percentile(0.5), 0u);
  for (uint64_t us = 1; us <= 100000; ++us) histogram.Add(us);
  for (const double fraction : {0.01, 0.5, 0.99, 1.0}) {
    const double exact = fraction * 100000;
    EXPECT_GE(static_cast<double>(histogram.Percentile(fraction)), exact);
    EXPECT_LE(static_cast<double>(histogram.Percentile(fraction)), exact * 1.04 + 1);
  }
  histogram.Add(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 100001u);
}

TEST(UidAllocator, ReusesAsLateAsPossible) {
  UidAllocator uids(10, 12);
  EXPECT_EQ(uids.Take(), 10u);
  uids.Return(10);
  EXPECT_EQ(uids.Take(), 11u);
  EXPECT_EQ(uids.Take(), 12u);
  EXPECT_EQ(uids.Take(), 10u);
  EXPECT_EQ(uids.Take(), std::nullopt);
  uids.Return(12);
  uids.Return(11);
  EXPECT_EQ(uids.Take(), 12u);
}

TEST(Recovery, FindsMountsBelowDeepestFirst) {
  const std::string info =
      "1 0 0:1 / / rw - ext4 x rw\n"
      "2 1 0:2 / /run/spore rw - tmpfs x rw\n"
      "3 2 0:3 / /run/spore/a\\040b rw - tmpfs x rw\n"
      "4 3 0:4 / /run/spore/a\\040b/c rw - tmpfs x rw\n"
      "5 1 0:5 / /run/spores/x rw - tmpfs x rw\n";
  EXPECT_EQ(MountPointsBelow(info, "/run/spore"),
            (std::vector<std::string>{"/run/spore/a b/c", "/run/spore/a b"}));
}

}  // namespace
}  // namespace spore
