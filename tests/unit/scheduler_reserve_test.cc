// What the scheduler keeps ready of functions that nobody has asked for yet.
#include <gtest/gtest.h>

#include "daemon/instances/scheduler.h"

namespace spore {
namespace {

using Kind = Action::Kind;
constexpr uint64_t kSecond = 1'000'000'000;

class SchedulerReserveTest : public testing::Test {
 protected:
  SchedulerReserveTest()
      : scheduler({.max_instances = 4,
                   .max_queue = 3,
                   .max_queue_ns = 1000,
                   .prepared_at_once = 2,
                   .client_instances = 2,
                   .client_queue = 1}) {}
  Actions Submit(const std::string& function, uint64_t version = 1, bool reuse = false) {
    return scheduler.Submit({.id = next++,
                             .function = function,
                             .version = version,
                             .reuse = reuse,
                             .max_instances = 10});
  }
  void Reserve(uint32_t instances, bool reuse, uint64_t version = 1, uid_t client = 0,
               uint32_t most = 10) {
    scheduler.SetReserves("f", {{version, instances, most, reuse, client}});
  }
  // Prepares all that is lacking; the slots.
  std::vector<SlotId> Prepare(uint64_t now = 0) {
    std::vector<SlotId> slots;
    for (;;) {
      const Actions actions = scheduler.Replenish(now);
      if (actions.empty()) return slots;
      for (const Action& action : actions) {
        EXPECT_EQ(action.kind, Kind::kPrepare);
        EXPECT_EQ(action.function, "f");
        EXPECT_TRUE(scheduler.SlotIdle(action.slot).empty());
        slots.push_back(action.slot);
      }
    }
  }
  void End(SlotId slot) {
    scheduler.SlotDying(slot);
    scheduler.SlotGone(slot);
  }

  Scheduler scheduler;
  TicketId next = 1;
};

TEST_F(SchedulerReserveTest, FreshOnesServeOneEachAndAreReplaced) {
  Reserve(2, /*reuse=*/false);
  const auto prepared = Prepare();
  ASSERT_EQ(prepared.size(), 2u);
  EXPECT_EQ(scheduler.next_replenish_ns(), std::nullopt);
  const Actions actions = Submit("f");
  ASSERT_EQ(actions.at(0).kind, Kind::kReuse);
  EXPECT_EQ(actions[0].slot, prepared[1]);
  EXPECT_EQ(actions[0].reason, "an instance that had loaded this version ahead");
  EXPECT_EQ(scheduler.next_replenish_ns(), 0u);  // while that one is busy
  EXPECT_EQ(Prepare().size(), 1u);
  End(actions[0].slot);
  EXPECT_EQ(scheduler.next_replenish_ns(), std::nullopt);
}

TEST_F(SchedulerReserveTest, LiveOnesCountWhereTheyAreUsedAgain) {
  Reserve(1, /*reuse=*/true);
  const SlotId started = Submit("f", 1, true).at(0).slot;
  EXPECT_TRUE(Prepare().empty());  // it is there, if busy
  scheduler.SlotIdle(started);
  EXPECT_FALSE(scheduler.MayEnd(started));
  End(started);
  const auto prepared = Prepare();
  ASSERT_EQ(prepared.size(), 1u);
  const SlotId again = Submit("f", 1, true).at(0).slot;
  EXPECT_EQ(again, prepared[0]);
  const SlotId second = Submit("f", 1, true).at(0).slot;
  scheduler.SlotIdle(again);
  scheduler.SlotIdle(second);
  EXPECT_TRUE(scheduler.MayEnd(second));  // either, but not both
  End(second);
  EXPECT_FALSE(scheduler.MayEnd(again));
}

TEST_F(SchedulerReserveTest, FewAreMadeAtOnce) {
  Reserve(4, /*reuse=*/false);
  EXPECT_EQ(scheduler.Replenish(0).size(), 2u);
  EXPECT_TRUE(scheduler.Replenish(0).empty());
  EXPECT_EQ(scheduler.next_replenish_ns(), std::nullopt);  // until one of them is there
}

TEST_F(SchedulerReserveTest, OnlyWithinTheLimits) {
  Reserve(4, false, 1, /*client=*/1000);
  EXPECT_EQ(Prepare().size(), 2u);  // the client's
  Reserve(4, false, 1, 0, /*most=*/3);
  EXPECT_EQ(Prepare().size(), 1u);  // the function's
  Submit("g");
  Reserve(4, false);
  EXPECT_TRUE(Prepare().empty());  // the host's
}

TEST_F(SchedulerReserveTest, ReservedOnesDoNotGiveWayToOthers) {
  Reserve(1, /*reuse=*/true);
  const SlotId kept = Prepare().at(0);
  const SlotId other = Submit("g", 1, true).at(0).slot;
  Submit("g", 1, true);
  Submit("g", 1, true);
  scheduler.SlotIdle(other);
  const Actions actions = Submit("h");
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(actions[0].slot, other);
  EXPECT_NE(actions[0].slot, kept);
}

TEST_F(SchedulerReserveTest, NobodyIsPreparedWhileSomebodyWaits) {
  for (int i = 0; i < 4; ++i) Submit("g");
  EXPECT_TRUE(Submit("g").empty());
  Reserve(1, false);
  EXPECT_TRUE(scheduler.Replenish(0).empty());
  EXPECT_EQ(scheduler.next_replenish_ns(), std::nullopt);
}

TEST_F(SchedulerReserveTest, FailuresAreTriedAgainLaterAndLater) {
  Reserve(1, false);
  uint64_t now = 0, delay = kSecond;
  for (int i = 0; i < 12; ++i) {
    const Actions actions = scheduler.Replenish(now);
    ASSERT_EQ(actions.size(), 1u) << i;
    scheduler.PrepareFailed(actions[0].slot, now);
    End(actions[0].slot);
    EXPECT_EQ(scheduler.next_replenish_ns(), now + delay);
    EXPECT_TRUE(scheduler.Replenish(now + delay - 1).empty());
    now += delay;
    delay = std::min(2 * delay, 300 * kSecond);
  }
  Prepare(now);
  const SlotId slot = Submit("f").at(0).slot;
  End(slot);
  EXPECT_EQ(Prepare(now).size(), 1u);  // a success ends the delays
}

TEST_F(SchedulerReserveTest, ANewVersionReplacesTheOldOnes) {
  Reserve(2, false);
  const auto old = Prepare();
  Reserve(2, false, 2);
  const Actions actions = scheduler.Replace("f", {2});
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(Submit("f", 2).at(0).kind, Kind::kStart);
  for (const SlotId slot : old) scheduler.SlotGone(slot);
  EXPECT_EQ(Prepare().size(), 2u);
  EXPECT_EQ(Submit("f", 2).at(0).kind, Kind::kReuse);
}

TEST_F(SchedulerReserveTest, VersionsOfAFunctionHaveReservesBesideEachOther) {
  scheduler.SetReserves("f", {{1, 1, 10, true, 0}, {7, 1, 10, true, 0}});
  scheduler.Replace("f", {1, 7});
  EXPECT_EQ(Prepare().size(), 2u);
  EXPECT_TRUE(Prepare().empty());
  const SlotId first = Submit("f", 1, true).at(0).slot;
  const Actions seventh = Submit("f", 7, true);
  EXPECT_EQ(seventh.at(0).kind, Kind::kReuse);
  EXPECT_NE(seventh[0].slot, first);
  scheduler.SlotIdle(first);
  // Version 1 goes; the other's stays as it is.
  scheduler.SetReserves("f", {{7, 1, 10, true, 0}});
  const Actions actions = scheduler.Replace("f", {7});
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].slot, first);
  EXPECT_TRUE(Prepare().empty());
}

TEST_F(SchedulerReserveTest, AFailureHoldsUpItsOwnVersionOnly) {
  scheduler.SetReserves("f", {{1, 1, 10, true, 0}, {7, 1, 10, true, 0}});
  for (const Action& action : scheduler.Replenish(0)) {
    if (action.version == 1) scheduler.PrepareFailed(action.slot, 0);
    End(action.slot);
  }
  const Actions again = scheduler.Replenish(0);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].version, 7u);
}

TEST_F(SchedulerReserveTest, WhatIsReservedOfAnotherVersionDoesNotGiveWayAtTheFunctionsLimit) {
  scheduler.SetReserves("f", {{1, 1, 2, true, 0}});
  scheduler.Replace("f", {1, 7});
  const SlotId kept = Prepare().at(0);
  const auto submit = [&](uint64_t version) {
    return scheduler.Submit(
        {.id = next++, .function = "f", .version = version, .reuse = true, .max_instances = 2});
  };
  const SlotId other = submit(7).at(0).slot;
  EXPECT_TRUE(submit(7).empty());  // waits: the second place is version 1's
  EXPECT_EQ(submit(1).at(0).slot, kept);
  scheduler.SlotIdle(kept);
  EXPECT_EQ(scheduler.SlotIdle(other).at(0).kind, Kind::kReuse);
}

TEST_F(SchedulerReserveTest, ForMemoryOnlyWhatNobodyReserved) {
  Reserve(1, /*reuse=*/true);
  const SlotId first = Submit("f", 1, true).at(0).slot, second = Submit("f", 1, true).at(0).slot;
  const SlotId other = Submit("g", 1, true).at(0).slot, busy = Submit("g", 1, true).at(0).slot;
  for (const SlotId slot : {first, second, other}) scheduler.SlotIdle(slot);
  EXPECT_EQ(scheduler.Evictable(), (std::vector<SlotId>{first, second, other}));
  // The second one stays: without it the reserve would not be whole.
  const Actions actions = scheduler.EvictOf({busy, first, second, other}, 8, "memory");
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(actions[0].slot, first);
  EXPECT_EQ(actions[0].reason, "memory");
  EXPECT_EQ(actions[1].slot, other);
  EXPECT_TRUE(scheduler.Evictable().empty());
}

TEST_F(SchedulerReserveTest, ARemovedFunctionHasNone) {
  Reserve(2, false);
  const auto prepared = Prepare();
  scheduler.SetReserves("f", {});
  EXPECT_EQ(scheduler.Replace("f", {}).size(), 2u);
  for (const SlotId slot : prepared) scheduler.SlotGone(slot);
  EXPECT_TRUE(Prepare().empty());
  EXPECT_EQ(scheduler.live(), 0u);
}

}  // namespace
}  // namespace spore
