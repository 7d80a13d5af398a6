// What the daemon keeps of what it has seen: histograms, traces, the history.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "daemon/common/cause.h"
#include "daemon/common/trace.h"
#include "daemon/functions/work.h"
#include "daemon/history/history.h"
#include "daemon/history/invocation_ledger.h"
#include "daemon/history/latency_histogram.h"

namespace spore {
namespace {

constexpr uint64_t kMs = 1'000'000;

TEST(CoarseHistogramTest, EveryValueLiesInItsBucket) {
  size_t last = 0;
  for (uint64_t us = 0; us < 100'000; ++us) {
    const size_t index = CoarseHistogram::Index(us);
    ASSERT_GE(CoarseHistogram::UpperBound(index), us);
    ASSERT_TRUE(index == 0 || CoarseHistogram::UpperBound(index - 1) < us) << us;
    ASSERT_TRUE(index == last || index == last + 1) << us;
    last = index;
  }
}

TEST(CoarseHistogramTest, BucketsAreAnEighthWideAtMost) {
  for (size_t i = 9; i < CoarseHistogram::kBuckets; ++i) {
    const uint64_t begin = CoarseHistogram::UpperBound(i - 1) + 1;
    EXPECT_LE((CoarseHistogram::UpperBound(i) + 1 - begin) * 8, begin) << i;
  }
}

// Those that Prometheus is told of.
TEST(CoarseHistogramTest, PowersOfTwoAreBounds) {
  for (unsigned bits = 0; bits < 32; ++bits) {
    const uint64_t power = uint64_t{1} << bits;
    EXPECT_EQ(CoarseHistogram::UpperBound(CoarseHistogram::Index(power) - 1), power - 1);
  }
}

TEST(CoarseHistogramTest, WhatIsTooLongIsInTheLast) {
  CoarseHistogram histogram;
  histogram.Add(UINT64_MAX);
  histogram.Add(uint64_t{1} << 40);
  EXPECT_EQ(histogram.bucket(CoarseHistogram::kBuckets - 1), 2u);
  EXPECT_EQ(histogram.max_us(), UINT64_MAX);
}

TEST(CauseTest, AFixedSetWhateverAFunctionSays) {
  v1::FunctionError error;
  error.set_type("Runtime.ImportModuleError");
  EXPECT_EQ(CauseOf(error), Cause::kImport);
  error.set_type("\x1b]0;x\x07 Sandbox.Timedout");
  EXPECT_EQ(CauseOf(error), Cause::kHandler);
  error.set_type("Sandbox.Timedout");  // its own word: nobody killed it
  EXPECT_EQ(CauseOf(error), Cause::kHandler);
  error.mutable_death()->set_cause(v1::Death::TIMEOUT);
  EXPECT_EQ(CauseOf(error), Cause::kTimeout);
  error.mutable_death()->set_cause(static_cast<v1::Death::Cause>(77));
  EXPECT_EQ(CauseOf(error), Cause::kExit);
}

TEST(CauseTest, NamesOfDeathsAreThoseOfStatistics) {
  EXPECT_STREQ(NameOf(CauseOf(v1::Death::OUT_OF_MEMORY)), "out_of_memory");
  EXPECT_STREQ(NameOf(CauseOf(v1::Death::RESPONSE_TOO_LARGE)), "response_too_large");
  EXPECT_STREQ(NameOf(CauseOf(v1::Death::DAEMON)), "daemon");
  EXPECT_STREQ(NameOf(CauseOf(Error{ErrorKind::kOverloaded, 0, "throttled: all 1", {}, {}})),
               "throttled");
}

TEST(TraceLogTest, KeepsSoManySteps) {
  TraceLog trace(100 * kMs);
  for (int i = 0; i < 100; ++i) trace.Add(StepName::kQueue, 100 * kMs, 101 * kMs);
  trace.Add(StepName::kSend, 2 * kMs, kMs);  // ends before it begins
  EXPECT_EQ(trace.steps().size(), TraceLog::kMaxSteps);
  EXPECT_EQ(trace.Build(105 * kMs).total_us(), 5000u);
}

TEST(TraceLogTest, NamesOfOtherProcessesArePlainAndBounded) {
  TraceLog trace(0);
  wire::Steps steps;
  steps.count = 2;
  std::copy_n("mount\x1b[2J\xff", 10, steps.step[0].name);
  steps.step[0].end_ns = kMs;
  std::fill_n(steps.step[1].name, sizeof steps.step[1].name, 'n');  // no end
  steps.step[1].end_ns = kMs;
  trace.AddWire(StepProcess::kInstance, steps);
  const v1::Trace built = trace.Build(kMs);
  ASSERT_EQ(built.steps_size(), 2);
  EXPECT_EQ(built.steps(0).name(), "mount?[2J?");
  EXPECT_EQ(built.steps(0).process(), "instance");
  EXPECT_EQ(built.steps(1).name(), std::string(24, 'n'));
  for (int i = 0; i < 1000; ++i) {
    TraceLog other(0);
    wire::Steps one;
    one.count = 1;
    snprintf(one.step[0].name, sizeof one.step[0].name, "name %d", i);
    one.step[0].end_ns = kMs;
    other.AddWire(StepProcess::kZygote, one);
    const std::string name = other.Build(kMs).steps(0).name();
    EXPECT_TRUE(name == "other" || name == "name " + std::to_string(i));
  }
}

// ---- the ledger ----

std::unique_ptr<Work> MakeWork(const std::string& function, uid_t owner) {
  auto version = std::make_shared<FunctionVersion>();
  version->function.set_name(function);
  version->function.set_owner_uid(owner);
  version->function.set_version(3);
  auto work = std::make_unique<Work>(1000 * kMs);
  work->version = std::move(version);
  work->request_id = "01234567-89ab-4def-8123-456789abcdef";
  return work;
}

Finished Answer(uint64_t total_us, v1::StartKind kind = v1::START_KIND_WARM) {
  WorkResult result;
  result.start_kind = kind;
  result.instance_id = "0123456789ab";
  return {result, total_us};
}

TEST(InvocationLedgerTest, CountsTotalsAndPhases) {
  InvocationLedger ledger;
  auto work = MakeWork("f", 7);
  work->trace.Add(StepName::kQueue, 1000 * kMs, 1001 * kMs);
  work->trace.Add(StepName::kTakeSandbox, 1001 * kMs, 1003 * kMs);
  work->trace.Add(StepName::kPrepare, 1003 * kMs, 1004 * kMs);
  work->trace.AddOf(StepProcess::kInstance, StepName::kLoad, 1010 * kMs, 1020 * kMs);
  work->trace.AddOf(StepProcess::kInstance, StepName::kHandler, 1020 * kMs, 1021 * kMs);
  ledger.Record(*work, Answer(21'000, v1::START_KIND_FORK));
  const v1::Figures figures = ledger.Of("f", 7);
  EXPECT_EQ(figures.invocations(), 1u);
  ASSERT_EQ(figures.total().count("fork"), 1u);
  EXPECT_EQ(figures.total().at("fork").sum_us(), 21'000u);
  EXPECT_EQ(figures.phases().at("queue").sum_us(), 1000u);
  EXPECT_EQ(figures.phases().at("sandbox").sum_us(), 2000u);
  EXPECT_EQ(figures.phases().at("start").sum_us(), 7000u);
  EXPECT_EQ(figures.phases().at("load").sum_us(), 10'000u);
  EXPECT_EQ(figures.phases().at("handler").max_us(), 1000u);
  EXPECT_EQ(ledger.Total().invocations(), 1u);
}

TEST(InvocationLedgerTest, TracesAreTheLastTheYoungestFirst) {
  InvocationLedger ledger;
  const auto work = MakeWork("f", 7);
  for (uint64_t i = 1; i <= 100; ++i) ledger.Record(*work, Answer(i));
  const auto traces = ledger.Traces("f", 7, 1'000'000'000);
  ASSERT_EQ(traces.size(), InvocationLedger::kTraces);
  EXPECT_EQ(traces.front().trace().total_us(), 100u);
  EXPECT_EQ(traces.back().trace().total_us(), 101 - InvocationLedger::kTraces);
  EXPECT_EQ(traces.front().request_id(), work->request_id);
  EXPECT_EQ(traces.front().instance_id(), "0123456789ab");
  EXPECT_EQ(ledger.Traces("f", 7, 2).back().trace().total_us(), 99u);
}

TEST(InvocationLedgerTest, TheNextOwnerOfANameSeesNothing) {
  InvocationLedger ledger;
  ledger.Record(*MakeWork("f", 7), Answer(5));
  EXPECT_TRUE(ledger.Traces("f", 8, 10).empty());
  EXPECT_EQ(ledger.Of("f", 8).invocations(), 0u);
  ledger.Record(*MakeWork("f", 8), Answer(6));
  EXPECT_EQ(ledger.Of("f", 8).invocations(), 1u);
  ASSERT_EQ(ledger.Traces("f", 8, 10).size(), 1u);
  EXPECT_TRUE(ledger.Traces("f", 7, 10).empty());
  ledger.Forget("f");
  EXPECT_TRUE(ledger.Traces("f", 8, 10).empty());
}

TEST(InvocationLedgerTest, ManyFunctionsOfOnePushOutTheirOwn) {
  InvocationLedger ledger;
  ledger.Record(*MakeWork("quiet", 7), Answer(5));
  for (size_t i = 0; i < 3 * InvocationLedger::kFunctions; ++i)
    ledger.Record(*MakeWork("f" + std::to_string(i), 8), Answer(5));
  EXPECT_EQ(ledger.Of("quiet", 7).invocations(), 1u);
  const auto all = ledger.ByFunction([](const std::string&, uid_t) { return true; });
  EXPECT_EQ(all.size(), InvocationLedger::kFunctions);
  EXPECT_EQ(ledger.Of("f0", 8).invocations(), 0u);
  EXPECT_EQ(ledger.Total().invocations(), 1 + 3 * InvocationLedger::kFunctions);
}

TEST(InvocationLedgerTest, RefusalsAndFailuresByCause) {
  InvocationLedger ledger;
  const auto work = MakeWork("f", 7);
  ledger.RecordRefusal(*work, Cause::kThrottled);
  WorkResult result;
  result.error.emplace();
  result.error->set_type("ValueError");
  ledger.Record(*work, {result, 10});
  const v1::Figures figures = ledger.Of("f", 7);
  EXPECT_EQ(figures.refusals_by_cause().at("throttled"), 1u);
  EXPECT_EQ(figures.failures_by_cause().at("handler"), 1u);
  EXPECT_EQ(figures.failures(), 1u);
  EXPECT_EQ(figures.invocations(), 1u);
}

// ---- the history ----

Happening Of(v1::HostEvent::Kind kind, uid_t owner, std::string_view function) {
  Happening happening;
  happening.kind = kind;
  happening.owner = owner;
  happening.function = function;
  return happening;
}

v1::RecentEventsRequest After(const History& history, uint64_t sequence, uint32_t limit = 0) {
  v1::RecentEventsRequest request;
  request.set_epoch(history.epoch());
  request.set_after_sequence(sequence);
  request.set_limit(limit);
  return request;
}

bool All(uid_t) {
  return true;
}

TEST(HistoryTest, StartsDoNotPushOutDeployments) {
  History history;
  history.Add(Of(v1::HostEvent::FUNCTION_DEPLOYED, 7, "f"));
  for (size_t i = 0; i < 5 * History::kRing; ++i)
    history.Add(Of(v1::HostEvent::INSTANCE_STARTED, 7, "f"));
  const auto response = history.Read(After(history, 0), All);
  ASSERT_EQ(response.events_size(), static_cast<int>(History::kMostAtOnce));
  EXPECT_EQ(response.events(0).kind(), v1::HostEvent::FUNCTION_DEPLOYED);
  EXPECT_EQ(response.events(0).sequence(), 1u);
  EXPECT_EQ(response.dropped(), 0u);  // nothing was asked for before
  const auto next = history.Read(After(history, 1), All);
  EXPECT_EQ(next.dropped(), 4 * History::kRing);
  EXPECT_EQ(next.events(0).sequence(), 2 + 4 * History::kRing);
}

TEST(HistoryTest, PagesHaveEveryEventOnce) {
  History history;
  for (int i = 0; i < 500; ++i) {
    history.Add(
        Of(i % 3 == 0 ? v1::HostEvent::ZYGOTE_READY : v1::HostEvent::INSTANCE_STARTED, 7, ""));
  }
  uint64_t expected = 1, after = 0;
  for (;;) {
    const auto page = history.Read(After(history, after, 7), All);
    EXPECT_EQ(page.dropped(), 0u);
    for (const v1::HostEvent& event : page.events()) EXPECT_EQ(event.sequence(), expected++);
    if (page.events_size() == 0) break;
    after = page.last_sequence();
  }
  EXPECT_EQ(expected, 501u);
}

TEST(HistoryTest, WhatIsAnothersIsNotTold) {
  History history;
  history.Add(Of(v1::HostEvent::FUNCTION_DEPLOYED, 7, "mine"));
  history.Add(Of(v1::HostEvent::FUNCTION_DEPLOYED, 8, "theirs"));
  Happening host;
  host.kind = v1::HostEvent::ZYGOTE_READY;
  host.image = "python";
  history.Add(host);
  const auto mine = [](uid_t owner) { return owner == 7; };
  const auto response = history.Read(After(history, 0), mine);
  ASSERT_EQ(response.events_size(), 2);
  EXPECT_EQ(response.events(0).function(), "mine");
  EXPECT_EQ(response.events(1).image(), "python");
  EXPECT_EQ(response.last_sequence(), 3u);
  EXPECT_EQ(history.Read(After(history, 1), mine).dropped(), 0u);
  auto last = After(history, 0);
  last.set_tail(1);
  EXPECT_EQ(history.Read(last, mine).events(0).image(), "python");
}

TEST(HistoryTest, AnotherRunsNumberStartsOver) {
  History history;
  history.Add(Of(v1::HostEvent::FUNCTION_DEPLOYED, 7, "f"));
  auto request = After(history, 4711);
  request.set_epoch("ffffffffffff");
  const auto response = history.Read(request, All);
  EXPECT_TRUE(response.restarted());
  ASSERT_EQ(response.events_size(), 1);
  EXPECT_EQ(response.dropped(), 0u);
  EXPECT_EQ(response.epoch(), history.epoch());
}

TEST(HistoryTest, LongTextIsCutBetweenCharacters) {
  History history;
  Happening happening = Of(v1::HostEvent::ZYGOTE_FAILED, 0, "f");
  std::string text = "x";
  for (int i = 0; i < 200; ++i) text += "\u00e4";
  happening.message = text;
  history.Add(happening);
  const auto response = history.Read(After(history, 0), All);
  const std::string& told = response.events(0).message();
  EXPECT_LE(told.size(), 124u);
  v1::HostEvent parsed;
  EXPECT_TRUE(parsed.ParseFromString(response.events(0).SerializeAsString()));
  EXPECT_EQ(told.substr(0, 3), "x\u00e4");
}

TEST(HistoryTest, AFloodOfRefusalsIsToldOnce) {
  History history;
  for (int i = 0; i < 10'000; ++i)
    history.AddRefusal("f", 7, Cause::kThrottled, "throttled: all 1 instances of f");
  history.AddRefusal("f", 7, Cause::kOverloaded, "overloaded");
  const auto response = history.Read(After(history, 0), All);
  EXPECT_LE(response.events_size(), 4);  // one a second of each
  EXPECT_EQ(response.events(0).cause(), "throttled");
  EXPECT_EQ(response.events(0).count(), 1u);
}

}  // namespace
}  // namespace spore
