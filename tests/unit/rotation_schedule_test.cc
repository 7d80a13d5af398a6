// When a zygote is to be replaced, without a zygote.
#include "daemon/zygotes/rotation_schedule.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

TEST(RotationScheduleTest, NeverWithoutLimits) {
  RotationSchedule schedule({});
  EXPECT_FALSE(schedule.DueNs(0));
  schedule.Began(5, 77);
  EXPECT_FALSE(schedule.DueNs(1'000'000'000));
  EXPECT_EQ(schedule.last_fork(), 0u);
  schedule.Failed(6);  // on request: nobody asks for another try
  EXPECT_FALSE(schedule.DueNs(1));
}

TEST(RotationScheduleTest, NothingIsDueWhereNothingServes) {
  RotationSchedule schedule({.max_age_ns = 10, .max_forks = 10});
  EXPECT_FALSE(schedule.DueNs(100));
  schedule.Began(0, 0);
  schedule.Ended();
  EXPECT_FALSE(schedule.DueNs(100));
}

TEST(RotationScheduleTest, AgeAndForksAreBothLimits) {
  RotationSchedule schedule({.max_age_ns = 100 * kSecond, .max_forks = 50});
  schedule.Began(7, 0);
  EXPECT_EQ(schedule.last_fork(), 50u);
  EXPECT_EQ(schedule.DueNs(49), 7 + 100 * kSecond);
  EXPECT_EQ(schedule.DueNs(50), 0u);
  EXPECT_EQ(schedule.DueNs(51), 0u);
  schedule.Began(8, 0);
  EXPECT_EQ(schedule.DueNs(0), 8 + 100 * kSecond);
}

TEST(RotationScheduleTest, ChanceShortensBothByATenthAtMost) {
  uint64_t least = 100 * kSecond, most = 0;
  for (uint64_t chance = 0; chance < 5'000'000; chance += 997) {
    RotationSchedule schedule({.max_age_ns = 100 * kSecond, .max_forks = 1000});
    schedule.Began(0, chance);
    const uint64_t age = *schedule.DueNs(0);
    ASSERT_GE(age, 90 * kSecond);
    ASSERT_LE(age, 100 * kSecond);
    ASSERT_GE(schedule.last_fork(), 900u);
    ASSERT_LE(schedule.last_fork(), 1000u);
    least = std::min(least, age);
    most = std::max(most, age);
  }
  EXPECT_GT(most - least, 9 * kSecond);
}

TEST(RotationScheduleTest, SmallLimitsStayAboveZero) {
  for (uint64_t chance = 0; chance < 3'000'000; chance += 1013) {
    RotationSchedule schedule({.max_age_ns = 1, .max_forks = 1});
    schedule.Began(0, chance);
    ASSERT_EQ(schedule.last_fork(), 1u);
    ASSERT_EQ(schedule.DueNs(0), 1u);
  }
}

TEST(RotationScheduleTest, FailuresPutItOffForLongerAndLonger) {
  RotationSchedule schedule({.max_age_ns = 0, .max_forks = 1});
  schedule.Began(0, 0);
  uint64_t now = kSecond, before = 0;
  for (uint32_t i = 1; i <= 40; ++i) {
    schedule.Failed(now);
    EXPECT_EQ(schedule.failures(), i);
    const uint64_t wait = *schedule.DueNs(1) - now;
    EXPECT_GE(wait, before);
    EXPECT_LE(wait, 3600 * kSecond);
    before = wait;
    now += wait;
  }
  EXPECT_EQ(before, 3600 * kSecond);
  schedule.Began(now, 0);
  EXPECT_EQ(schedule.failures(), 0u);
  EXPECT_EQ(schedule.DueNs(1), 0u);
}

TEST(RotationScheduleTest, AFailureBeforeItsTimeDoesNotHastenIt) {
  RotationSchedule schedule({.max_age_ns = 100 * kSecond, .max_forks = 0});
  schedule.Began(0, 0);
  schedule.Failed(kSecond);
  EXPECT_EQ(schedule.DueNs(1), 100 * kSecond);
}

}  // namespace
}  // namespace spore
