// When a schedule fires: cron's five fields (crontab(5)) in a time zone, or a fixed interval. Pure:
// no clock, no I/O.
//
// Summer time. A time of day that is skipped when clocks are set forward fires once, at the moment
// when they are; one that comes twice when they are set back fires the first time only. But where
// every hour is meant ("*", "*/1" or "0-23" in the second field) time goes on evenly: what is
// skipped is not made up for, and what comes twice fires twice.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/common/time_zone.h"
#include "sandbox/sys/result.h"

namespace spore {

class Cron {
 public:
  // "minute hour day-of-month month day-of-week", each "*", a number, a name (jan, mon), a range, a
  // list of these, or a step of one ("*/5", "8-18/2"); or "@hourly", "@daily", "@weekly",
  // "@monthly", "@yearly". Where both days are restricted, either will do. Errors name the field.
  static Result<Cron> Parse(const std::string& text);

  // The first moment after this one; nothing: never (the 30th of February).
  std::optional<int64_t> Next(int64_t after_unix_s, const TimeZone& zone) const;

 private:
  bool DayFits(const CivilDay& day) const;
  // Of the local day, the first moment after `after`.
  std::optional<int64_t> NextOfDay(int64_t day, int64_t after, const TimeZone& zone) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;  // 0: Sunday
  bool any_day_ = false;     // the field begins with "*"
  bool any_weekday_ = false;
};

// Of an interval that counts from `start_ms`: the first multiple after `after_ms`.
int64_t NextOfInterval(int64_t start_ms, int64_t interval_ms, int64_t after_ms);

}  // namespace spore
