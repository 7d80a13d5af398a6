// A time zone as tzfile(5) describes it: local time from the time of day and back. Immutable, and
// without the process's own zone, which is one for all threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// Days since 1970-01-01 of a date of the Gregorian calendar, and back.
int64_t DaysFromCivil(int64_t year, int month, int day);
struct CivilDay {
  int64_t year = 1970;
  int month = 1;  // 1 to 12
  int day = 1;
  int weekday = 4;  // 0: Sunday
};
CivilDay CivilFromDays(int64_t days);

class TimeZone {
 public:
  TimeZone() = default;  // UTC
  // "Europe/Berlin"; empty: UTC. kInvalid when there is none of this name, or the name is no name:
  // it never leads out of the database's folder.
  static Result<TimeZone> Load(const std::string& name);
  // The contents of such a file.
  static Result<TimeZone> Parse(std::string_view bytes);

  // Seconds east of Greenwich.
  int32_t OffsetAt(int64_t unix_s) const;
  // The moments at which clocks show this local time (seconds as if it were UTC), in order: one;
  // two where clocks are set back; none where they are set forward.
  std::vector<int64_t> MomentsOf(int64_t local_s) const;
  // For a local time that no clock shows: the moment at which clocks are set forward past it.
  int64_t AfterGap(int64_t local_s) const;

 private:
  // "M3.5.0/2": the time of a year at which summer time begins or ends.
  struct Rule {
    enum class Kind { kMonth, kJulian, kDay };
    Kind kind = Kind::kMonth;
    int month = 0, week = 0, day = 0;
    int32_t time_s = 7200;
  };
  Result<> ParseBlock(std::string_view bytes, size_t time_bytes, size_t* length, bool keep);
  bool ParseFooter(std::string_view text);
  static bool ParseRule(std::string_view* text, Rule* rule);
  static int64_t SecondsInYear(const Rule& rule, int64_t year);
  int32_t OffsetByFooter(int64_t unix_s) const;

  std::vector<int64_t> transitions_;
  std::vector<int32_t> offsets_;  // from each transition on
  int32_t first_offset_ = 0;      // before the first transition
  bool has_footer_ = false;       // what follows holds after the last transition
  int32_t standard_ = 0;
  std::optional<int32_t> summer_;
  Rule begins_, ends_;
};

}  // namespace spore
