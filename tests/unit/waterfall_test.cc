// What `spore trace` and `spore top` draw.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tools/spore/top_frame.h"
#include "tools/spore/waterfall.h"

namespace spore::cli {
namespace {

void AddStep(v1::Trace& trace, const char* process, const char* name, int64_t start_us,
             uint64_t duration_us) {
  v1::Step& step = *trace.add_steps();
  step.set_process(process);
  step.set_name(name);
  step.set_start_us(start_us);
  step.set_duration_us(duration_us);
}

v1::Trace ForkTrace() {
  v1::Trace trace;
  AddStep(trace, "spored", "queue", 0, 100);
  AddStep(trace, "spored", "take sandbox", 100, 100);
  AddStep(trace, "spored", "prepare", 200, 50);
  AddStep(trace, "instance", "load", 500, 200);
  AddStep(trace, "instance", "handler", 700, 200);
  trace.set_total_us(1000);
  return trace;
}

TEST(PhaseBarTest, DrawsEachPhaseWhereItWas) {
  EXPECT_EQ(PhaseBar(ForkTrace(), 1000, 10), "qtsssllhh.");
  EXPECT_EQ(PhaseBar(ForkTrace(), 2000, 20), "qtsssllhh.");
  EXPECT_EQ(PhaseBar(ForkTrace(), 1000, 20), "qqttssssssllllhhhh..");
}

TEST(PhaseBarTest, AShortPhaseIsStillThere) {
  v1::Trace trace;
  AddStep(trace, "spored", "queue", 0, 0);
  AddStep(trace, "instance", "handler", 999'999, 1);
  trace.set_total_us(1'000'000);
  const std::string bar = PhaseBar(trace, 1'000'000, 10);
  EXPECT_EQ(bar, "q........h");
}

TEST(PhaseBarTest, TimesThatCannotBeAreDrawnSomewhere) {
  v1::Trace trace;
  AddStep(trace, "spored", "queue", std::numeric_limits<int64_t>::min(), 5);
  AddStep(trace, "instance", "handler", std::numeric_limits<int64_t>::max() - 9, 9);
  AddStep(trace, "instance", "load", -5, 0);
  trace.set_total_us(std::numeric_limits<uint64_t>::max());
  for (const size_t columns : {0u, 1u, 7u, 100u}) {
    for (const uint64_t span : {uint64_t{0}, uint64_t{1}, std::numeric_limits<uint64_t>::max()})
      EXPECT_LE(PhaseBar(trace, span, columns).size(), std::max<size_t>(columns, 1));
  }
}

Traces TwoTraces() {
  Traces traces;
  for (const char* id : {"bbbbbbbb-1", "aaaaaaaa-1"}) {
    v1::InvocationTrace& trace = *traces.Add();
    trace.set_request_id(id);
    trace.set_instance_id("0123456789ab");
    trace.set_received_unix_us(1'700'000'000'000'000);
    trace.set_start_kind(v1::START_KIND_FORK);
    trace.set_executed_version("$LATEST");
    *trace.mutable_trace() = ForkTrace();
  }
  traces[1].mutable_trace()->set_total_us(4000);
  traces[1].set_failure("handler");
  return traces;
}

TEST(WaterfallTest, TheOldestFirstOnOneScale) {
  const std::string text = WaterfallText(TwoTraces(), 40, false);
  EXPECT_LT(text.find("aaaaaaaa"), text.find("bbbbbbbb"));
  EXPECT_NE(text.find("0 .. 4 ms"), std::string::npos) << text;
  EXPECT_NE(text.find("qtsssllhh" + std::string(31, '.')), std::string::npos) << text;
  EXPECT_NE(text.find("  qtsssllhh.\n"), std::string::npos) << text;
}

TEST(ChromeTraceTest, SlicesLieOnTheWallClock) {
  const auto json = ChromeTrace("f", TwoTraces());
  int slices = 0, names = 0;
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] == "M") {
      ++names;
      continue;
    }
    ++slices;
    EXPECT_EQ(event["ph"], "X");
    EXPECT_EQ(event["pid"], 1);
    EXPECT_GE(event["ts"].get<int64_t>(), 1'700'000'000'000'000);
  }
  EXPECT_EQ(slices, 2 * 6);
  EXPECT_EQ(names, 1 + 3);
  EXPECT_EQ(json["traceEvents"][0]["args"]["failure"], "handler");
}

// ---- top ----

v1::Histogram Counted(std::initializer_list<std::pair<uint64_t, uint64_t>> buckets) {
  v1::Histogram histogram;
  for (const auto& [up_to_us, count] : buckets) {
    v1::HistogramBucket& bucket = *histogram.add_buckets();
    bucket.set_up_to_us(up_to_us);
    bucket.set_count(count);
  }
  return histogram;
}

Look LookAt(uint64_t seconds, uint64_t calls, const v1::Histogram& histogram) {
  Look look;
  look.at_ns = seconds * 1'000'000'000;
  look.stats.set_uptime_ms(seconds * 1000);
  look.stats.set_invocations(calls);
  look.histograms.set_epoch("1");
  v1::Figures& figures = *look.histograms.add_functions();
  figures.set_function("f");
  figures.set_invocations(calls);
  (*figures.mutable_total())["warm"] = histogram;
  *look.histograms.mutable_figures() = figures;
  return look;
}

TEST(TopFrameTest, RatesAndPercentilesAreOfTheInterval) {
  const Look before = LookAt(10, 1000, Counted({{100, 1000}}));
  const Look after = LookAt(12, 1100, Counted({{100, 1000}, {500, 98}, {9000, 2}}));
  const TopFrame frame = MakeTopFrame(before, after, TopOrder::kCalls);
  EXPECT_DOUBLE_EQ(frame.seconds, 2);
  EXPECT_DOUBLE_EQ(frame.calls, 50);
  EXPECT_EQ(frame.p50_us, 500u);
  EXPECT_EQ(frame.p99_us, 9000u);
  ASSERT_EQ(frame.rows.size(), 1u);
  EXPECT_DOUBLE_EQ(frame.rows[0].calls, 50);
  EXPECT_EQ(frame.rows[0].answered, 100u);
}

TEST(TopFrameTest, NothingInTheInterval) {
  const Look look = LookAt(10, 1000, Counted({{100, 1000}}));
  const TopFrame frame = MakeTopFrame(look, look, TopOrder::kName);
  EXPECT_EQ(frame.answered, 0u);
  EXPECT_DOUBLE_EQ(frame.calls, 0);
  EXPECT_NE(TopText(frame, 0, 0, false).find("p50 -, p99 -"), std::string::npos);
}

TEST(TopFrameTest, ADaemonStartedAnewIsShownFromItsStart) {
  const Look before = LookAt(100, 100'000, Counted({{100, 100'000}}));
  Look after = LookAt(104, 10, Counted({{200, 10}}));
  after.histograms.set_epoch("2");
  after.stats.set_uptime_ms(1000);
  const TopFrame frame = MakeTopFrame(before, after, TopOrder::kCalls);
  EXPECT_DOUBLE_EQ(frame.seconds, 1);
  EXPECT_DOUBLE_EQ(frame.calls, 10);
  EXPECT_EQ(frame.p50_us, 200u);
}

TEST(TopFrameTest, InstancesAreCountedToTheirFunction) {
  const Look before = LookAt(10, 0, {});
  Look after = LookAt(11, 0, {});
  for (const auto& [function, cpu] : {std::pair("f", 500'000), {"f", 250'000}, {"", 0}}) {
    v1::Instance& instance = *after.instances.add_instances();
    instance.set_id(std::to_string(after.instances.instances_size()));
    instance.set_function(function);
    instance.set_state(v1::Instance::IDLE);
    instance.set_memory_bytes(1 << 20);
    instance.set_cpu_us(static_cast<uint64_t>(cpu));
  }
  after.instances.mutable_instances(0)->set_state(v1::Instance::BUSY);
  const TopFrame frame = MakeTopFrame(before, after, TopOrder::kMemory);
  ASSERT_EQ(frame.rows.size(), 2u);
  EXPECT_EQ(frame.rows[0].name, "f");
  EXPECT_EQ(frame.rows[0].instances, 2u);
  EXPECT_EQ(frame.rows[0].busy, 1u);
  EXPECT_EQ(frame.rows[0].memory_bytes, 2u << 20);
  EXPECT_DOUBLE_EQ(frame.rows[0].cpus, 0.75);
  EXPECT_EQ(frame.rows[1].name, "(runs)");
}

TEST(TopTextTest, FitsItsPlaceAndQuotesNoControlCharacter) {
  Look before = LookAt(10, 0, {}), after = LookAt(11, 0, {});
  for (int i = 0; i < 100; ++i)
    after.histograms.add_functions()->set_function("g\x1b[2J\n\xff" + std::to_string(i));
  for (int i = 0; i < 30; ++i) {
    v1::Zygote& zygote = *after.zygotes.add_zygotes();
    zygote.set_image("image" + std::to_string(i));
    zygote.set_state(v1::Zygote::READY);
  }
  const TopFrame frame = MakeTopFrame(before, after, TopOrder::kCalls);
  for (const size_t lines : {1u, 5u, 10u, 24u, 200u}) {
    const std::string text = TopText(frame, lines, 30, false);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'),
              static_cast<ptrdiff_t>(std::max<size_t>(lines, 4)));
    size_t begin = 0;
    for (size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
      EXPECT_LE(end - begin, 30u);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace spore::cli
