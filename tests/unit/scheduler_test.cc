// What the scheduler decides, without a single process.
#include "daemon/instances/scheduler.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

using Kind = Action::Kind;

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() : scheduler({.max_instances = 4, .max_queue = 3, .max_queue_ns = 1000}) {}

  Actions Submit(const std::string& function, uint64_t version = 1, bool reuse = true,
                 uint32_t max = 10, uint64_t now = 0) {
    return scheduler.Submit({.id = next++,
                             .function = function,
                             .version = version,
                             .reuse = reuse,
                             .max_instances = max,
                             .now_ns = now});
  }
  // Submits what is expected to start at once.
  SlotId Start(const std::string& function, uint64_t version = 1, uint32_t max = 10) {
    const Actions actions = Submit(function, version, true, max);
    EXPECT_EQ(actions.size(), 1u);
    EXPECT_EQ(actions.at(0).kind, Kind::kStart);
    return actions.at(0).slot;
  }

  Scheduler scheduler;
  TicketId next = 1;
};

TEST_F(SchedulerTest, ReusesTheInstanceThatWasUsedLast) {
  const SlotId a = Start("f"), b = Start("f");
  scheduler.SlotIdle(a);
  scheduler.SlotIdle(b);
  const Actions actions = Submit("f");
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kReuse);
  EXPECT_EQ(actions[0].slot, b);
  EXPECT_EQ(Submit("f").at(0).slot, a);
}

TEST_F(SchedulerTest, NeverReusesForAnotherFunctionVersionOrAFreshSandbox) {
  scheduler.SlotIdle(Start("f"));
  EXPECT_EQ(Submit("g").at(0).kind, Kind::kStart);
  EXPECT_EQ(Submit("f", 2).at(0).kind, Kind::kStart);
  EXPECT_EQ(Submit("f", 1, /*reuse=*/false).at(0).kind, Kind::kStart);
}

TEST_F(SchedulerTest, WaitsAtTheFunctionsLimitInOrder) {
  const SlotId a = Start("f", 1, 1);
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  EXPECT_EQ(scheduler.queued(), 2u);
  Actions actions = scheduler.SlotIdle(a);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kReuse);
  EXPECT_EQ(actions[0].ticket, 2u);
  actions = scheduler.SlotIdle(a);
  EXPECT_EQ(actions.at(0).ticket, 3u);
}

TEST_F(SchedulerTest, WhatMetADeadInstanceGoesFirstAndIsNeverRefusedForTheQueue) {
  const SlotId a = Start("f", 1, 1);
  for (const uint64_t now : {100u, 200u, 300u}) EXPECT_TRUE(Submit("f", 1, true, 1, now).empty());
  Ticket again{.id = next++, .function = "f", .version = 1, .reuse = true, .max_instances = 1};
  again.now_ns = 400;
  again.again = true;
  EXPECT_TRUE(scheduler.Submit(again).empty());
  EXPECT_EQ(scheduler.queued(), 4u);
  EXPECT_EQ(scheduler.next_expiry_ns(), 1100u);  // the order of time is kept
  EXPECT_EQ(scheduler.SlotIdle(a).at(0).ticket, 5u);
}

// A host for four, of which a client may have two and wait with one.
class SchedulerClientTest : public testing::Test {
 protected:
  SchedulerClientTest()
      : scheduler({.max_instances = 4,
                   .max_queue = 3,
                   .max_queue_ns = 1000,
                   .client_instances = 2,
                   .client_queue = 1}) {}
  Actions Submit(uid_t client, const std::string& function) {
    Ticket ticket{.id = next++, .function = function, .version = 1, .reuse = true};
    ticket.max_instances = 10;
    ticket.client = client;
    return scheduler.Submit(ticket);
  }
  SlotId Start(uid_t client, const std::string& function) {
    const Actions actions = Submit(client, function);
    EXPECT_EQ(actions.size(), 1u);
    EXPECT_EQ(actions.at(0).kind, Kind::kStart);
    return actions.at(0).slot;
  }
  Scheduler scheduler;
  TicketId next = 1;
};

TEST_F(SchedulerClientTest, LeavesTheRestOfTheHostToOthers) {
  const SlotId first = Start(1000, "a");
  Start(1000, "b");
  EXPECT_TRUE(Submit(1000, "c").empty());
  const Actions refused = Submit(1000, "d");
  ASSERT_EQ(refused.at(0).kind, Kind::kRefuse);
  const std::string words = refused[0].error.Message();
  EXPECT_NE(words.find("all 2 instances that uid 1000 may have (limits-per-client.max-instances)"),
            std::string::npos);
  EXPECT_NE(
      words.find("1 invocations of uid 1000 are waiting already (limits-per-client.max-queue)"),
      std::string::npos);
  Start(1001, "e");
  Start(1002, "f");
  // The place that becomes free is the first client's own again.
  scheduler.SlotDying(first);
  EXPECT_EQ(scheduler.SlotGone(first).at(0).ticket, 3u);
}

TEST_F(SchedulerClientTest, ItsOwnIdleInstancesGiveWay) {
  const SlotId first = Start(1000, "a"), second = Start(1000, "b"), other = Start(1001, "e");
  scheduler.SlotIdle(other);
  scheduler.SlotIdle(second);
  scheduler.SlotIdle(first);
  const Actions actions = Submit(1000, "c");
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(actions[0].slot, second);  // not the other client's, which has been idle for longer
  EXPECT_EQ(scheduler.SlotGone(second).at(0).kind, Kind::kStart);
  EXPECT_EQ(Submit(1000, "a").at(0).kind, Kind::kReuse);
}

TEST_F(SchedulerClientTest, RootMayTakeTheWholeHost) {
  for (const char* function : {"a", "b", "c", "d"}) Start(0, function);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Submit(0, "e").empty());
  EXPECT_EQ(Submit(0, "e").at(0).kind, Kind::kRefuse);
}

TEST_F(SchedulerClientTest, SaysWhichLimitItHasWaitedFor) {
  Start(1000, "a");
  Start(1000, "b");
  EXPECT_TRUE(Submit(1000, "c").empty());
  const Actions expired = scheduler.Expire(1000);
  EXPECT_NE(expired.at(0).error.Message().find(
                "2 instances of uid 1000 (limits-per-client.max-instances)"),
            std::string::npos);
}

TEST_F(SchedulerTest, VersionsShareTheFunctionsLimit) {
  const SlotId a = Start("f", 1, 2);
  Start("f", 7, 2);
  EXPECT_TRUE(Submit("f", 7, true, 2).empty());
  const Actions actions = scheduler.SlotIdle(a);  // of no use to version 7
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(scheduler.SlotGone(a).at(0).kind, Kind::kStart);
}

TEST_F(SchedulerTest, ALowerLimitEndsWhatIsIdleAndThenWhatWasBusy) {
  const SlotId a = Start("f"), b = Start("f"), c = Start("f");
  scheduler.SlotIdle(a);
  Actions actions = scheduler.SetLimit("f", 1);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].slot, a);
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  actions = scheduler.SlotIdle(b);  // one is too many still, though somebody waits
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(scheduler.SlotIdle(c).at(0).kind, Kind::kReuse);
}

TEST_F(SchedulerTest, AHigherLimitLetsInWhoWaits) {
  Start("f", 1, 1);
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  EXPECT_EQ(scheduler.SetLimit("f", 2).at(0).kind, Kind::kStart);
  EXPECT_TRUE(scheduler.SetLimit("unknown", 2).empty());
}

TEST_F(SchedulerTest, ALimitOfNoneRefusesEverybody) {
  const SlotId a = Start("f", 1, 1);
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  Actions actions = scheduler.SetLimit("f", 0);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kRefuse);
  EXPECT_EQ(actions[0].error.kind, ErrorKind::kOverloaded);
  EXPECT_EQ(actions[0].error.Message().find("throttled: "), 0u);
  EXPECT_EQ(Submit("f", 1, true, 0).at(0).kind, Kind::kRefuse);
  EXPECT_EQ(scheduler.queued(), 0u);
  // What met a dead instance meanwhile is no exception.
  Ticket again{.id = next++, .function = "f", .version = 1, .reuse = true, .max_instances = 1};
  again.again = true;
  EXPECT_EQ(scheduler.Submit(again).at(0).kind, Kind::kRefuse);
  EXPECT_EQ(scheduler.SlotIdle(a).at(0).kind, Kind::kEvict);
}

TEST_F(SchedulerTest, AFunctionAtItsLimitDoesNotHoldUpAnother) {
  Start("f", 1, 1);
  EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  EXPECT_EQ(Submit("g").at(0).kind, Kind::kStart);
}

TEST_F(SchedulerTest, RefusesBeyondTheQueueAndSaysWhichLimit) {
  Start("f", 1, 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Submit("f", 1, true, 1).empty());
  const Actions actions = Submit("f", 1, true, 1);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kRefuse);
  EXPECT_EQ(actions[0].error.kind, ErrorKind::kOverloaded);
  EXPECT_EQ(actions[0].error.Message().find("throttled: all 1 instances of f are busy"), 0u);
  EXPECT_NE(actions[0].error.Message().find("max-queue"), std::string::npos);
}

TEST_F(SchedulerTest, RefusesWhoHasWaitedTooLong) {
  Start("f", 1, 1);
  Submit("f", 1, true, 1, /*now=*/100);
  Submit("f", 1, true, 1, /*now=*/500);
  EXPECT_EQ(scheduler.next_expiry_ns(), 1100u);
  EXPECT_TRUE(scheduler.Expire(1099).empty());
  const Actions actions = scheduler.Expire(1100);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].ticket, 2u);
  EXPECT_EQ(scheduler.next_expiry_ns(), 1500u);
}

TEST_F(SchedulerTest, EvictsTheOldestIdleOfOthersAtTheHostsLimit) {
  const SlotId a = Start("f"), b = Start("f"), c = Start("g"), d = Start("g");
  for (const SlotId slot : {b, a, c, d}) scheduler.SlotIdle(slot);
  Actions actions = Submit("h");
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(actions[0].slot, b);
  // The second one that waits needs a second place; the first is on its way out already.
  EXPECT_EQ(Submit("h").at(0).slot, a);
  actions = scheduler.SlotGone(b);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kStart);
  EXPECT_EQ(scheduler.live(), 4u);
}

TEST_F(SchedulerTest, NeverHoldsMoreThanTheHostsLimit) {
  std::vector<SlotId> slots;
  for (int i = 0; i < 4; ++i) slots.push_back(Start("f"));
  EXPECT_TRUE(Submit("f").empty());
  scheduler.SlotDying(slots[0]);
  EXPECT_EQ(scheduler.live(), 4u);  // dying counts until it is gone
  EXPECT_TRUE(Submit("f").empty());
  EXPECT_EQ(scheduler.SlotGone(slots[0]).size(), 1u);
  EXPECT_EQ(scheduler.queued(), 1u);
}

TEST_F(SchedulerTest, AnUpdateEvictsIdleInstancesAndLetsBusyOnesFinish) {
  const SlotId idle = Start("f"), busy = Start("f");
  scheduler.SlotIdle(idle);
  Actions actions = scheduler.Replace("f", {2});
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].slot, idle);
  actions = scheduler.SlotIdle(busy);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kEvict);
  EXPECT_EQ(actions[0].slot, busy);
  EXPECT_EQ(Submit("f", 2).at(0).kind, Kind::kStart);
}

TEST_F(SchedulerTest, ADyingInstanceIsNotReused) {
  const SlotId a = Start("f");
  scheduler.SlotIdle(a);
  scheduler.SlotDying(a);
  EXPECT_EQ(scheduler.idle(), 0u);
  EXPECT_EQ(Submit("f").at(0).kind, Kind::kStart);
}

TEST_F(SchedulerTest, ForgetsWhatIsCancelledAndGone) {
  const SlotId a = Start("f", 1, 1);
  Submit("f", 1, true, 1);
  EXPECT_TRUE(scheduler.Cancel(2));
  EXPECT_FALSE(scheduler.Cancel(2));
  EXPECT_TRUE(scheduler.SlotGone(a).empty());
  EXPECT_TRUE(scheduler.SlotGone(a).empty());
  EXPECT_EQ(scheduler.live(), 0u);
  EXPECT_EQ(scheduler.live_of("f"), 0u);
}

TEST_F(SchedulerTest, RunsHaveNoLimitButTheHosts) {
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Submit("", 0, false, 1).at(0).kind, Kind::kStart);
  }
  EXPECT_TRUE(Submit("", 0, false, 1).empty());
}

}  // namespace
}  // namespace spore
