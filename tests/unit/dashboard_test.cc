// What the dashboard makes of spored's answers: percentiles, bins, errors out of logs, bounds.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tools/gateway/dashboard_errors.h"
#include "tools/gateway/dashboard_latency.h"
#include "tools/gateway/dashboard_state.h"

namespace spore::gateway {
namespace {

using nlohmann::json;

v1::Histogram HistogramOf(std::initializer_list<std::pair<uint64_t, uint64_t>> buckets) {
  v1::Histogram histogram;
  for (const auto& [up_to_us, count] : buckets) {
    auto* bucket = histogram.add_buckets();
    bucket->set_up_to_us(up_to_us);
    bucket->set_count(count);
    histogram.set_count(histogram.count() + count);
  }
  return histogram;
}

TEST(DashboardLatencyTest, PercentilesAreBucketsEnds) {
  const auto histogram = HistogramOf({{100, 50}, {200, 49}, {5000, 1}});
  EXPECT_EQ(PercentileUs(histogram, 0.5), 100u);
  EXPECT_EQ(PercentileUs(histogram, 0.51), 200u);
  EXPECT_EQ(PercentileUs(histogram, 0.99), 200u);
  EXPECT_EQ(PercentileUs(histogram, 1), 5000u);
  EXPECT_EQ(PercentileUs({}, 0.5), 0u);
}

TEST(DashboardLatencyTest, BinsHoldAllThatWasCounted) {
  v1::HistogramsResponse response;
  v1::Figures& figures = *response.add_functions();
  figures.set_function("f");
  (*figures.mutable_total())["warm"] =
      HistogramOf({{0, 1}, {1, 1}, {1024, 2}, {1100, 3}, {2048, 4}});
  (*figures.mutable_total())["cold"] = HistogramOf({{1u << 30, 1}});
  const json f = LatencyJson(response)["functions"]["f"];
  EXPECT_EQ(f["kinds"]["warm"]["bins"], json::parse("[[0, 2], [30, 5], [33, 4]]"));
  EXPECT_EQ(f["kinds"]["cold"]["bins"], json::parse("[[90, 1]]"));
  EXPECT_EQ(f["p50_us"], 1100u);
  EXPECT_EQ(f["p99_us"], 1u << 30);
}

v1::HistogramsResponse Failures(std::initializer_list<std::pair<const char*, uint64_t>> failures) {
  v1::HistogramsResponse response;
  for (const auto& [name, count] : failures) {
    auto* figures = response.add_functions();
    figures->set_function(name);
    figures->set_failures(count);
  }
  return response;
}

TEST(DashboardErrorsTest, LogsAreReadWhenFailuresHaveGrown) {
  DashboardErrors errors;
  EXPECT_EQ(errors.FailedSince(Failures({{"a", 0}, {"b", 2}})), std::vector<std::string>{"b"});
  EXPECT_TRUE(errors.FailedSince(Failures({{"a", 0}, {"b", 2}})).empty());
  EXPECT_EQ(errors.FailedSince(Failures({{"a", 1}, {"b", 3}})).size(), 2u);
  // Counted afresh by another daemon.
  EXPECT_EQ(errors.FailedSince(Failures({{"b", 1}})), std::vector<std::string>{"b"});
  // A few at a time; the others are next.
  const auto many = Failures({{"c", 1}, {"d", 1}, {"e", 1}, {"f", 1}, {"g", 1}, {"h", 1}});
  EXPECT_EQ(errors.FailedSince(many).size(), 4u);
  EXPECT_EQ(errors.FailedSince(many), (std::vector<std::string>{"g", "h"}));
  EXPECT_TRUE(errors.FailedSince(many).empty());
}

void AddLine(v1::ReadLogsResponse& logs, int64_t unix_us, v1::LogLine::Stream stream,
             const std::string& text, const std::string& instance = "i") {
  v1::LogLine& line = *logs.add_lines();
  line.set_unix_us(unix_us);
  line.set_stream(stream);
  line.set_instance_id(instance);
  line.set_text(text);
}

TEST(DashboardErrorsTest, OnlySporesOwnLinesAreErrors) {
  v1::ReadLogsResponse logs;
  AddLine(logs, 1000, v1::LogLine::SYSTEM, "START RequestId: r1 Version: 1");
  AddLine(logs, 2000, v1::LogLine::STDOUT, "Forged: error");
  AddLine(logs, 3000, v1::LogLine::SYSTEM, "ValueError: a: b");
  AddLine(logs, 3500, v1::LogLine::SYSTEM, "END RequestId: r0", "other");
  AddLine(logs, 4000, v1::LogLine::SYSTEM, "END RequestId: r1");
  AddLine(logs, 5000, v1::LogLine::SYSTEM, "REPORT RequestId: r1\tDuration: 1 ms");
  DashboardErrors errors;
  errors.AddLogs("f", logs);
  errors.AddLogs("f", logs);  // the same lines again
  EXPECT_EQ(errors.ToJson(), json::parse(R"([{"unix_ms": 3, "who": "f", "type": "ValueError",
                                              "message": "a: b", "id": "r1"}])"));
}

TEST(DashboardErrorsTest, KeepsTheLatestAndCutsThem) {
  DashboardErrors errors;
  for (int i = 1; i <= 80; ++i) {
    v1::ReadLogsResponse logs;
    AddLine(logs, i * 1000, v1::LogLine::SYSTEM, "E: " + std::string(5000, 'x'));
    errors.AddLogs("f", logs);
  }
  const json list = errors.ToJson();
  ASSERT_EQ(list.size(), 50u);
  EXPECT_EQ(list[0]["unix_ms"], 80);
  EXPECT_LT(list[0]["message"].get<std::string>().size(), 600u);
}

TEST(DashboardErrorsTest, EventsThatAreTrouble) {
  v1::RecentEventsResponse response;
  response.set_epoch("e");
  response.set_last_sequence(9);
  const auto add = [&](v1::HostEvent::Kind kind, const char* cause, const char* function) {
    v1::HostEvent& event = *response.add_events();
    event.set_sequence(static_cast<uint64_t>(response.events_size()));
    event.set_unix_us(1000 * response.events_size());
    event.set_kind(kind);
    event.set_cause(cause);
    event.set_function(function);
    event.set_image("python");
  };
  add(v1::HostEvent::ZYGOTE_READY, "", "");
  add(v1::HostEvent::ZYGOTE_FAILED, "", "");
  add(v1::HostEvent::INSTANCE_ENDED, "timeout", "f");  // its log has it
  add(v1::HostEvent::INSTANCE_ENDED, "timeout", "");
  add(v1::HostEvent::INSTANCE_ENDED, "exit", "");
  add(v1::HostEvent::REQUEST_REFUSED, "throttled", "f");
  DashboardErrors errors;
  EXPECT_EQ(errors.NextEvents().tail(), 200u);
  errors.AddEvents(response);
  EXPECT_EQ(errors.NextEvents().after_sequence(), 9u);
  EXPECT_EQ(errors.NextEvents().epoch(), "e");
  std::vector<std::string> types;
  for (const json& entry : errors.ToJson()) types.push_back(entry["type"]);
  EXPECT_EQ(types, (std::vector<std::string>{"throttled", "timeout", "zygote failed"}));
}

TEST(DashboardStateTest, CutsBetweenCharacters) {
  EXPECT_EQ(Shortened("abc", 3), "abc");
  EXPECT_EQ(Shortened("abcd", 3), "abc\u2026");
  EXPECT_EQ(Shortened("a\u00e4b", 2), "a\u2026");
}

TEST(DashboardStateTest, TellsNoSecretAndIsBounded) {
  DashboardFacts facts;
  facts.stats.emplace();
  facts.functions.emplace();
  for (int i = 0; i < 1000; ++i) {
    v1::Function& function = *facts.functions->add_functions();
    function.set_name("f" + std::to_string(i));
    (*function.mutable_settings()->mutable_environment())["KEY"] = "secret";
    function.mutable_settings()->set_description(std::string(10'000, 'd'));
  }
  facts.instances.emplace();
  v1::Instance& instance = *facts.instances->add_instances();
  instance.set_function("f999");
  instance.set_state(v1::Instance::BUSY);
  instance.set_memory_bytes(77);
  const std::string text = DashboardJson(facts, {}, {}, 5);
  EXPECT_EQ(text.find("secret"), std::string::npos);
  EXPECT_LT(text.size(), 500'000u);
  const json state = json::parse(text);
  EXPECT_EQ(state["functions"].size(), 300u);
  EXPECT_EQ(state["functions_left_out"], 700);
  EXPECT_EQ(state["functions"][0]["name"], "f999");  // the busy ones first
  EXPECT_EQ(state["functions"][0]["use"]["memory_bytes"], 77);
}

}  // namespace
}  // namespace spore::gateway
