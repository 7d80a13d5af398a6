// When schedules fire: the five fields, time zones, clocks set forward and back.
#include "daemon/events/cron.h"

#include <gtest/gtest.h>

#include "daemon/events/async_record.h"
#include "daemon/events/schedules.h"

namespace spore {
namespace {

int64_t At(int64_t year, int month, int day, int hour = 0, int minute = 0, int second = 0) {
  return DaysFromCivil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

// Of a version 2 file without transitions, whose footer says all.
TimeZone Zone(const std::string& footer) {
  std::string block = "TZif2" + std::string(15, '\0');
  for (const int count : {0, 0, 0, 0, 1, 4}) block += {0, 0, 0, static_cast<char>(count)};
  block += std::string(6, '\0') + std::string("UTC\0", 4);
  const auto zone = TimeZone::Parse(block + block + "\n" + footer + "\n");
  EXPECT_TRUE(zone) << (zone ? "" : zone.error().Message());
  return zone.value_or(TimeZone());
}
const std::string kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";

std::string NextText(const std::string& text, int64_t after, const TimeZone& zone = {}) {
  const auto cron = Cron::Parse(text);
  EXPECT_TRUE(cron) << (cron ? "" : cron.error().Message());
  if (!cron) return "";
  const auto next = cron->Next(after, zone);
  return next ? IsoTime(*next * 1000).substr(0, 16) : "never";
}

TEST(CalendarTest, ThereAndBack) {
  EXPECT_EQ(DaysFromCivil(1970, 1, 1), 0);
  EXPECT_EQ(DaysFromCivil(2000, 3, 1), 11017);
  for (int64_t days = -200'000; days < 200'000; days += 13) {
    const CivilDay civil = CivilFromDays(days);
    EXPECT_EQ(DaysFromCivil(civil.year, civil.month, civil.day), days);
  }
  EXPECT_EQ(CivilFromDays(DaysFromCivil(2026, 11, 27)).weekday, 5);
  EXPECT_EQ(CivilFromDays(-1).weekday, 3);
}

TEST(CronTest, Fields) {
  const int64_t now = At(2026, 11, 27, 20, 17, 30);  // a Friday
  EXPECT_EQ(NextText("* * * * *", now), "2026-11-27T20:18");
  EXPECT_EQ(NextText("*/15 * * * *", now), "2026-11-27T20:30");
  EXPECT_EQ(NextText("0 9-17/4 * * *", now), "2026-11-28T09:00");
  EXPECT_EQ(NextText("5,10 20 * * *", now), "2026-11-28T20:05");
  EXPECT_EQ(NextText("30 6 * * mon-fri", now), "2026-11-30T06:30");
  EXPECT_EQ(NextText("0 0 * Feb Sun", now), "2027-02-07T00:00");
  EXPECT_EQ(NextText("0 0 * * 7", now), "2026-11-29T00:00");
  EXPECT_EQ(NextText("0 0 29 2 *", now), "2028-02-29T00:00");
  EXPECT_EQ(NextText("0 0 29 2 *", At(2096, 3, 1)), "2104-02-29T00:00");
  EXPECT_EQ(NextText("0 0 31 */2 *", now), "2027-01-31T00:00");
  EXPECT_EQ(NextText("0 0 31 4,6 *", now), "never");
  EXPECT_EQ(NextText("50/5 * * * *", now), "2026-11-27T20:50");
  EXPECT_EQ(NextText("@yearly", now), "2027-01-01T00:00");
  EXPECT_EQ(NextText("@hourly", now), "2026-11-27T21:00");
}

TEST(CronTest, ExactlyNowIsNotAfterNow) {
  EXPECT_EQ(NextText("0 12 * * *", At(2026, 1, 1, 12)), "2026-01-02T12:00");
  EXPECT_EQ(NextText("0 12 * * *", At(2026, 1, 1, 11, 59, 59)), "2026-01-01T12:00");
}

TEST(CronTest, WhereBothDaysAreRestrictedEitherWillDo) {
  EXPECT_EQ(NextText("0 0 13 * fri", At(2026, 11, 1)), "2026-11-06T00:00");
  EXPECT_EQ(NextText("0 0 13 * fri", At(2026, 11, 11)), "2026-11-13T00:00");
  EXPECT_EQ(NextText("0 0 */2 * fri", At(2026, 11, 27, 1)), "2026-12-11T00:00");  // both
}

TEST(CronTest, WrongOnesNameTheField) {
  for (const auto& [text, word] :
       std::vector<std::pair<std::string, std::string>>{{"", "five fields"},
                                                        {"* * * *", "five fields"},
                                                        {"* * * * * *", "five fields"},
                                                        {"60 * * * *", "minute \"60\""},
                                                        {"* 24 * * *", "hour \"24\""},
                                                        {"* * 0 * *", "day of month \"0\""},
                                                        {"* * * 13 *", "month \"13\""},
                                                        {"* * * * 8", "day of week \"8\""},
                                                        {"* * * foo *", "month \"foo\""},
                                                        {"mon * * * *", "minute \"mon\""},
                                                        {"5-1 * * * *", "ends before it begins"},
                                                        {"*/0 * * * *", "step"},
                                                        {"*/x * * * *", "step"},
                                                        {"1,,2 * * * *", "minute \"\""},
                                                        {"-1 * * * *", "minute \"\""},
                                                        {"1- * * * *", "minute \"\""},
                                                        {"@reboot", "five fields"},
                                                        {std::string(300, '*'), "five fields"}}) {
    const auto cron = Cron::Parse(text);
    ASSERT_FALSE(cron) << text;
    EXPECT_EQ(cron.error().kind, ErrorKind::kInvalid);
    EXPECT_NE(cron.error().Message().find(word), std::string::npos) << cron.error().Message();
  }
}

TEST(TimeZoneTest, RulesOfTheFooter) {
  const TimeZone berlin = Zone(kBerlin);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 1, 1)), 3600);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 7, 1)), 7200);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 3, 29, 0, 59, 59)), 3600);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 3, 29, 1)), 7200);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 10, 25, 0, 59, 59)), 7200);
  EXPECT_EQ(berlin.OffsetAt(At(2026, 10, 25, 1)), 3600);
  const TimeZone sydney = Zone("AEST-10AEDT,M10.1.0,M4.1.0/3");  // summer over the new year
  EXPECT_EQ(sydney.OffsetAt(At(2026, 1, 1)), 39600);
  EXPECT_EQ(sydney.OffsetAt(At(2026, 7, 1)), 36000);
  EXPECT_EQ(Zone("<+0545>-5:45").OffsetAt(0), 20700);
  EXPECT_EQ(Zone("EST5").OffsetAt(0), -18000);
}

TEST(TimeZoneTest, LocalTimesThatComeTwiceOrNever) {
  const TimeZone berlin = Zone(kBerlin);
  EXPECT_EQ(berlin.MomentsOf(At(2026, 7, 1, 12)), (std::vector<int64_t>{At(2026, 7, 1, 10)}));
  EXPECT_TRUE(berlin.MomentsOf(At(2026, 3, 29, 2, 30)).empty());
  EXPECT_EQ(berlin.AfterGap(At(2026, 3, 29, 2, 30)), At(2026, 3, 29, 1));
  EXPECT_EQ(berlin.MomentsOf(At(2026, 10, 25, 2, 30)),
            (std::vector<int64_t>{At(2026, 10, 25, 0, 30), At(2026, 10, 25, 1, 30)}));
}

TEST(TimeZoneTest, FilesOfTheHost) {
  const auto berlin = TimeZone::Load("Europe/Berlin");
  ASSERT_TRUE(berlin) << berlin.error().Message();
  EXPECT_EQ(berlin->OffsetAt(At(2026, 7, 1)), 7200);
  EXPECT_EQ(berlin->OffsetAt(At(2050, 7, 1)), 7200);
  EXPECT_EQ(berlin->OffsetAt(At(1960, 7, 1)), 3600);
  EXPECT_TRUE(TimeZone::Load("UTC"));
  for (const std::string name : {"../../etc/passwd", "/etc/passwd", "Europe", "Nowhere/At_all",
                                 "zone.tab", "a b", "posix/../../../etc/passwd"}) {
    const auto zone = TimeZone::Load(name);
    ASSERT_FALSE(zone) << name;
    EXPECT_EQ(zone.error().kind, ErrorKind::kInvalid);
  }
}

TEST(TimeZoneTest, RubbishIsNoZone) {
  std::string good = "TZif2" + std::string(39, '\0');
  EXPECT_FALSE(TimeZone::Parse(""));
  EXPECT_FALSE(TimeZone::Parse("TZif"));
  EXPECT_FALSE(TimeZone::Parse(good));
  for (size_t at = 20; at < 44; ++at) {
    std::string bad = good;
    bad[at] = '\x7f';
    EXPECT_FALSE(TimeZone::Parse(bad)) << at;
  }
}

TEST(CronTest, ClocksSetForward) {
  const TimeZone berlin = Zone(kBerlin);
  // 02:30 is skipped on the 29th of March: it fires when clocks show 03:00.
  EXPECT_EQ(NextText("30 2 * * *", At(2026, 3, 28, 12), berlin), "2026-03-29T01:00");
  EXPECT_EQ(NextText("30 2 * * *", At(2026, 3, 29, 1), berlin), "2026-03-30T00:30");
  // Several that are skipped fire once.
  EXPECT_EQ(NextText("*/10 2 * * *", At(2026, 3, 28, 12), berlin), "2026-03-29T01:00");
  EXPECT_EQ(NextText("*/10 2 * * *", At(2026, 3, 29, 1), berlin), "2026-03-30T00:00");
  // Every hour is every hour.
  EXPECT_EQ(NextText("30 * * * *", At(2026, 3, 29, 0, 30), berlin), "2026-03-29T01:30");
}

TEST(CronTest, ClocksSetBack) {
  const TimeZone berlin = Zone(kBerlin);
  EXPECT_EQ(NextText("30 2 * * *", At(2026, 10, 24, 12), berlin), "2026-10-25T00:30");
  EXPECT_EQ(NextText("30 2 * * *", At(2026, 10, 25, 0, 30), berlin), "2026-10-26T01:30");
  EXPECT_EQ(NextText("30 * * * *", At(2026, 10, 25, 0, 30), berlin), "2026-10-25T01:30");
  EXPECT_EQ(NextText("*/20 0-23 * * *", At(2026, 10, 25, 0, 40), berlin), "2026-10-25T01:00");
}

TEST(IntervalTest, CountsFromItsStart) {
  EXPECT_EQ(NextOfInterval(1000, 500, 0), 1000);
  EXPECT_EQ(NextOfInterval(1000, 500, 1000), 1500);
  EXPECT_EQ(NextOfInterval(1000, 500, 9999), 10'000);
}

TEST(ScheduleTimesTest, AClockThatIsSetBackALittleFiresNothingTwice) {
  v1::Schedule schedule;
  schedule.set_cron("0 * * * *");
  const auto times = ScheduleTimes::Of(schedule);
  ASSERT_TRUE(times);
  schedule.set_last_unix_ms(At(2026, 1, 1, 12) * 1000);
  EXPECT_EQ(times->Next(schedule, At(2026, 1, 1, 11, 30) * 1000), At(2026, 1, 1, 13) * 1000);
  EXPECT_EQ(times->Next(schedule, At(2026, 1, 1, 3) * 1000), At(2026, 1, 1, 4) * 1000);
}

}  // namespace
}  // namespace spore
