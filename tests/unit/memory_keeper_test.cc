// When memory is short, and who has to go first.
#include "daemon/zygotes/memory_keeper.h"

#include <gtest/gtest.h>

#include "daemon/zygotes/demand.h"

namespace spore {
namespace {

TEST(MemoryKeeperTest, ReadsWhatIsAvailable) {
  EXPECT_EQ(
      ParseMemAvailable("MemTotal:       24590000 kB\nMemFree:  1 kB\nMemAvailable:   2048 kB\n"),
      2048u << 10);
  EXPECT_EQ(ParseMemAvailable(""), std::nullopt);
  EXPECT_EQ(ParseMemAvailable("MemAvailable:"), std::nullopt);
  EXPECT_EQ(ParseMemAvailable("MemAvailable: much"), std::nullopt);
}

TEST(MemoryKeeperTest, ReadsTheStall) {
  EXPECT_EQ(ParseMemoryStall("some avg10=12.50 avg60=0.00 avg300=0.00 total=1\nfull ..\n"), 12.5);
  EXPECT_EQ(ParseMemoryStall("full avg10=12.50"), std::nullopt);
  EXPECT_EQ(ParseMemoryStall("some avg10="), std::nullopt);
  EXPECT_EQ(ParseMemoryStall(""), std::nullopt);
}

TEST(MemoryKeeperTest, WhoHoldsMuchForLongGoesFirst) {
  const auto order = ByWorth({{.id = 1, .bytes = 10 << 20, .idle_ms = 1000, .rebuild_us = 1000},
                              {.id = 2, .bytes = 100 << 20, .idle_ms = 1000, .rebuild_us = 1000},
                              {.id = 3, .bytes = 10 << 20, .idle_ms = 60000, .rebuild_us = 1000}});
  EXPECT_EQ(order, (std::vector<uint64_t>{3, 2, 1}));
}

TEST(MemoryKeeperTest, WhoIsDearToHaveAgainStays) {
  const auto order = ByWorth({{.id = 1, .bytes = 10 << 20, .idle_ms = 1000, .rebuild_us = 500'000},
                              {.id = 2, .bytes = 1 << 20, .idle_ms = 1000, .rebuild_us = 100},
                              {.id = 3, .bytes = 0, .idle_ms = 0, .rebuild_us = 0}});
  EXPECT_EQ(order, (std::vector<uint64_t>{2, 1, 3}));
}

TEST(DemandTest, IsTheMostOfATenthOfASecondInTheLastHalfMinute) {
  constexpr uint64_t kSecond = 1'000'000'000;
  Demand demand;
  EXPECT_EQ(demand.Peak(100 * kSecond), 0u);
  for (int i = 0; i < 5; ++i) demand.Count(100 * kSecond);
  for (int i = 0; i < 3; ++i) demand.Count(101 * kSecond);
  EXPECT_EQ(demand.Peak(102 * kSecond), 5u);
  EXPECT_EQ(demand.Peak(129 * kSecond), 5u);
  EXPECT_EQ(demand.Peak(130 * kSecond + kSecond / 2), 3u);
  EXPECT_EQ(demand.Peak(140 * kSecond), 0u);
  demand.Count(130 * kSecond);  // in the place of those of 100
  EXPECT_EQ(demand.Peak(130 * kSecond), 3u);
}

}  // namespace
}  // namespace spore
