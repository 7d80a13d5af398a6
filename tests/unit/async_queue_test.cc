// Who is next, what waits too long, and what becomes of an event after an attempt.
#include "daemon/events/async_queue.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

constexpr auto kAlways = [](const AsyncTicket&) { return true; };

AsyncTicket MakeTicket(int64_t seq, uid_t owner, const std::string& function, int64_t due = 0,
                       int64_t expires = 1'000'000) {
  AsyncTicket ticket;
  ticket.seq = seq;
  ticket.owner = owner;
  ticket.function = function;
  ticket.due_ms = due;
  ticket.expires_ms = expires;
  return ticket;
}

std::vector<int64_t> Drain(AsyncQueue& queue, int64_t now = 0) {
  std::vector<int64_t> order;
  while (const auto ticket = queue.Next(now, kAlways)) {
    order.push_back(ticket->seq);
    queue.Landed(ticket->owner);
  }
  return order;
}

TEST(AsyncQueueTest, OwnersTakeTurns) {
  AsyncQueue queue({.in_flight = 10, .owner_in_flight = 10});
  for (int64_t seq = 1; seq <= 4; ++seq) queue.Add(MakeTicket(seq, 100, "a"));
  queue.Add(MakeTicket(5, 200, "b"));
  queue.Add(MakeTicket(6, 200, "b"));
  EXPECT_EQ(Drain(queue), (std::vector<int64_t>{1, 5, 2, 6, 3, 4}));
  EXPECT_EQ(queue.waiting(), 0u);
}

TEST(AsyncQueueTest, FunctionsOfAnOwnerTakeTurns) {
  AsyncQueue queue({.in_flight = 10, .owner_in_flight = 10});
  for (int64_t seq = 1; seq <= 3; ++seq) queue.Add(MakeTicket(seq, 100, "a"));
  queue.Add(MakeTicket(4, 100, "b"));
  const auto first = queue.Next(0, kAlways);
  const auto second = queue.Next(0, kAlways);
  EXPECT_EQ(first->seq, 1);
  EXPECT_EQ(second->seq, 4);
}

TEST(AsyncQueueTest, WithinAFunctionWhoIsDueFirstGoesFirst) {
  AsyncQueue queue({.in_flight = 10, .owner_in_flight = 10});
  queue.Add(MakeTicket(1, 100, "a", 30));
  queue.Add(MakeTicket(2, 100, "a", 10));
  queue.Add(MakeTicket(3, 100, "a", 20));
  EXPECT_EQ(Drain(queue, 5), (std::vector<int64_t>{}));
  EXPECT_EQ(queue.NextTime(), 10);
  EXPECT_EQ(Drain(queue, 20), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(Drain(queue, 30), (std::vector<int64_t>{1}));
  EXPECT_EQ(queue.NextTime(), std::nullopt);
}

TEST(AsyncQueueTest, AFunctionWithoutRoomHoldsUpNoOther) {
  AsyncQueue queue({.in_flight = 10, .owner_in_flight = 10});
  queue.Add(MakeTicket(1, 100, "full"));
  queue.Add(MakeTicket(2, 100, "free"));
  const auto may_run = [](const AsyncTicket& ticket) { return ticket.function != "full"; };
  EXPECT_EQ(queue.Next(0, may_run)->seq, 2);
  EXPECT_FALSE(queue.Next(0, may_run));
  EXPECT_TRUE(queue.HasDue());
  EXPECT_EQ(queue.waiting(), 1u);
}

TEST(AsyncQueueTest, FlightsAreBounded) {
  AsyncQueue queue({.in_flight = 3, .owner_in_flight = 2});
  for (int64_t seq = 1; seq <= 3; ++seq) queue.Add(MakeTicket(seq, 100, "a"));
  for (int64_t seq = 4; seq <= 6; ++seq) queue.Add(MakeTicket(seq, 200, "b"));
  std::vector<uid_t> owners;
  while (const auto ticket = queue.Next(0, kAlways)) owners.push_back(ticket->owner);
  EXPECT_EQ(owners, (std::vector<uid_t>{100, 200, 100}));
  EXPECT_FALSE(queue.HasDue());  // there is nothing to look for until one lands
  queue.Landed(200);
  EXPECT_EQ(queue.Next(0, kAlways)->owner, 200u);  // 100 has as many as it may
  queue.Landed(100);
  queue.Landed(100);
  EXPECT_EQ(queue.in_flight(), 1u);
}

TEST(AsyncQueueTest, WhatIsTooOldIsTakenOut) {
  AsyncQueue queue({});
  queue.Add(MakeTicket(1, 100, "a", 0, 50));
  queue.Add(MakeTicket(2, 100, "a", 90, 100));
  queue.Add(MakeTicket(3, 100, "a", 0, 200));
  EXPECT_EQ(queue.NextTime(), 0);
  EXPECT_FALSE(queue.Next(0, [](const AsyncTicket&) { return false; }));
  EXPECT_EQ(queue.NextTime(), 50);
  const auto expired = queue.TakeExpired(100);
  ASSERT_EQ(expired.size(), 2u);
  EXPECT_EQ(expired[0].seq, 1);
  EXPECT_EQ(expired[1].seq, 2);
  EXPECT_EQ(Drain(queue, 100), (std::vector<int64_t>{3}));
}

TEST(AsyncQueueTest, OneThatWaitsCanBeTakenOutOrHastened) {
  AsyncQueue queue({});
  queue.Add(MakeTicket(1, 100, "a", 500));
  queue.Add(MakeTicket(2, 100, "b", 500));
  queue.Add(MakeTicket(3, 100, "a", 0));
  EXPECT_FALSE(queue.Next(0, [](const AsyncTicket&) { return false; }));  // 3 is due now
  EXPECT_TRUE(queue.Expedite(1, 10));
  EXPECT_FALSE(queue.Expedite(7, 10));
  ASSERT_TRUE(queue.Remove(3));
  EXPECT_FALSE(queue.Remove(3));
  EXPECT_EQ(Drain(queue, 10), (std::vector<int64_t>{1}));
  EXPECT_EQ(queue.RemoveAllOf("b").size(), 1u);
  EXPECT_EQ(queue.waiting(), 0u);
}

TEST(AsyncQuotaTest, OwnersAndTheHostHaveLimits) {
  AsyncQuota quota({.events = 4, .bytes = 1000, .owner_events = 2, .owner_bytes = 500});
  EXPECT_TRUE(quota.Take(100, 100));
  EXPECT_TRUE(quota.Take(100, 100));
  const auto third = quota.Take(100, 0);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().kind, ErrorKind::kOverloaded);
  EXPECT_NE(third.error().Message().find("async.client-events"), std::string::npos);
  const auto large = quota.Take(200, 501);
  ASSERT_FALSE(large);
  EXPECT_NE(large.error().Message().find("async.client-bytes"), std::string::npos);
  EXPECT_TRUE(quota.Take(0, 700));  // root has none of its own
  EXPECT_FALSE(quota.Take(0, 200));
  EXPECT_TRUE(quota.Take(0, 0));
  const auto fifth = quota.Take(200, 0);
  ASSERT_FALSE(fifth);
  EXPECT_NE(fifth.error().Message().find("async.max-events"), std::string::npos);
  quota.Return(0, 700);
  quota.Return(100, 100);
  EXPECT_EQ(quota.bytes(), 100u);
  EXPECT_TRUE(quota.Take(100, 400));
}

AttemptFacts Failed(uint32_t attempts) {
  AttemptFacts facts;
  facts.kind = AttemptFacts::Kind::kFailed;
  facts.attempts = attempts;
  facts.max_attempts = 3;
  facts.backoff_ms = 1000;
  facts.now_ms = 100;
  facts.expires_ms = 50'000;
  return facts;
}

TEST(JudgeTest, RetriesWithBackOff) {
  const AttemptVerdict first = Judge(Failed(0));
  EXPECT_EQ(first.kind, AttemptVerdict::Kind::kAgain);
  EXPECT_EQ(first.attempts, 1u);
  EXPECT_EQ(first.due_ms, 1100);
  EXPECT_EQ(Judge(Failed(1)).due_ms, 2100);
  const AttemptVerdict last = Judge(Failed(2));
  EXPECT_EQ(last.kind, AttemptVerdict::Kind::kGivenUp);
  EXPECT_STREQ(last.condition, "RetriesExhausted");
  EXPECT_EQ(last.attempts, 3u);
}

TEST(JudgeTest, TooOldForTheNextAttempt) {
  AttemptFacts facts = Failed(0);
  facts.expires_ms = 1000;
  const AttemptVerdict verdict = Judge(facts);
  EXPECT_EQ(verdict.kind, AttemptVerdict::Kind::kGivenUp);
  EXPECT_STREQ(verdict.condition, "EventAgeExceeded");
  EXPECT_EQ(verdict.attempts, 1u);
}

TEST(JudgeTest, WhatIsNotTheHandlersDoingDoesNotCount) {
  AttemptFacts facts = Failed(1);
  facts.kind = AttemptFacts::Kind::kPostponed;
  EXPECT_EQ(Judge(facts).kind, AttemptVerdict::Kind::kAgain);
  EXPECT_EQ(Judge(facts).attempts, 1u);
  facts.kind = AttemptFacts::Kind::kInterrupted;
  EXPECT_EQ(Judge(facts).kind, AttemptVerdict::Kind::kLeave);
  facts.kind = AttemptFacts::Kind::kRemoved;
  EXPECT_STREQ(Judge(facts).condition, "FunctionRemoved");
  facts.kind = AttemptFacts::Kind::kSucceeded;
  EXPECT_EQ(Judge(facts).kind, AttemptVerdict::Kind::kDone);
  EXPECT_EQ(Judge(facts).attempts, 2u);
}

TEST(JudgeTest, DelaysAreBounded) {
  EXPECT_EQ(RetryDelayMs(60'000, 1), 60'000);
  EXPECT_EQ(RetryDelayMs(60'000, 2), 120'000);
  EXPECT_EQ(RetryDelayMs(60'000, 100), 3'600'000);
  EXPECT_EQ(PostponeDelayMs(0), 100);
  EXPECT_EQ(PostponeDelayMs(4'000'000'000), 30'000);
}

}  // namespace
}  // namespace spore
