#include "daemon/common/time_zone.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr char kFolder[] = "/usr/share/zoneinfo/";
constexpr off_t kMostBytes = 256 << 10;
constexpr int64_t kDay = 86400;
constexpr size_t kHeaderBytes = 44;

int64_t BigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return bytes.size() == 4 ? static_cast<int32_t>(value) : static_cast<int64_t>(value);
}

bool IsZoneName(const std::string& name) {
  if (name.size() > 64 || name[0] == '/' || name.find("..") != name.npos) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
  });
}

tl::unexpected<Error> NoZone(const std::string& name) {
  return MakeError(ErrorKind::kInvalid,
                   "time_zone: \"" + name.substr(0, 64) + "\" is no time zone of this host",
                   "expected a name such as Europe/Berlin (package tzdata has them), or UTC");
}

tl::unexpected<Error> BadFile() {
  return MakeError(ErrorKind::kInvalid, "not a time zone file (tzfile(5))");
}

// A number at the front of `text`, which is moved on.
bool TakeNumber(std::string_view* text, int most, int* number) {
  size_t length = 0;
  int value = 0;
  while (length < text->size() && length < 4 &&
         std::isdigit(static_cast<unsigned char>((*text)[length])) != 0)
    value = value * 10 + ((*text)[length++] - '0');
  text->remove_prefix(length);
  *number = value;
  return length > 0 && value <= most;
}

bool TakeChar(std::string_view* text, char wanted) {
  if (text->empty() || text->front() != wanted) return false;
  text->remove_prefix(1);
  return true;
}

// "[+-]hh[:mm[:ss]]", in seconds.
bool TakeTime(std::string_view* text, int32_t* seconds) {
  const bool negative = TakeChar(text, '-');
  if (!negative) (void)TakeChar(text, '+');
  int hours = 0, minutes = 0, rest = 0;
  if (!TakeNumber(text, 167, &hours)) return false;
  if (TakeChar(text, ':') && !TakeNumber(text, 59, &minutes)) return false;
  if (TakeChar(text, ':') && !TakeNumber(text, 59, &rest)) return false;
  *seconds = (hours * 3600 + minutes * 60 + rest) * (negative ? -1 : 1);
  return true;
}

// "CET" or "<+03>".
bool TakeAbbreviation(std::string_view* text) {
  size_t length = 0;
  if (TakeChar(text, '<')) {
    length = text->find('>');
    if (length == text->npos) return false;
    text->remove_prefix(length + 1);
    return true;
  }
  while (length < text->size() && std::isalpha(static_cast<unsigned char>((*text)[length])) != 0)
    ++length;
  text->remove_prefix(length);
  return length >= 3;
}

}  // namespace

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
int64_t DaysFromCivil(int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719468;
}

CivilDay CivilFromDays(int64_t days) {
  CivilDay civil;
  civil.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
  const int64_t shifted = days + 719468;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t part = (5 * day_of_year + 2) / 153;
  civil.day = static_cast<int>(day_of_year - (153 * part + 2) / 5 + 1);
  civil.month = static_cast<int>(part < 10 ? part + 3 : part - 9);
  civil.year = year_of_era + era * 400 + (civil.month <= 2 ? 1 : 0);
  return civil;
}

Result<TimeZone> TimeZone::Load(const std::string& name) {
  if (name.empty() || name == "UTC") return TimeZone();
  if (!IsZoneName(name)) return NoZone(name);
  const UniqueFd file(open((kFolder + name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_size > kMostBytes) {
    return NoZone(name);
  }
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  if (read(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    return NoZone(name);
  auto zone = Parse(bytes);
  if (!zone) return NoZone(name);
  return zone;
}

// One block: header, times, and what they mean. `length`: of all of it.
Result<> TimeZone::ParseBlock(std::string_view bytes, size_t time_bytes, size_t* length,
                              bool keep) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with("TZif")) return BadFile();
  const auto count = [&](size_t index) {
    return static_cast<size_t>(BigEndian(bytes.substr(20 + 4 * index, 4)) & 0xffffff);
  };
  const size_t utc = count(0), standard = count(1), leaps = count(2), times = count(3),
               types = count(4), chars = count(5);
  const size_t at_types = kHeaderBytes + times * time_bytes;
  const size_t at_infos = at_types + times;
  *length = at_infos + types * 6 + chars + leaps * (time_bytes + 4) + standard + utc;
  if (bytes.size() < *length || types == 0) return BadFile();
  if (!keep) return {};
  const auto offset = [&](size_t type) {
    return static_cast<int32_t>(BigEndian(bytes.substr(at_infos + type * 6, 4)));
  };
  first_offset_ = offset(0);
  for (size_t i = 0; i < times; ++i) {
    const size_t type = static_cast<unsigned char>(bytes[at_types + i]);
    if (type >= types) return BadFile();
    const int64_t time = BigEndian(bytes.substr(kHeaderBytes + i * time_bytes, time_bytes));
    if (!transitions_.empty() && time <= transitions_.back()) return BadFile();
    transitions_.push_back(time);
    offsets_.push_back(offset(type));
  }
  return {};
}

Result<TimeZone> TimeZone::Parse(std::string_view bytes) {
  TimeZone zone;
  size_t length = 0;
  const bool wide = bytes.size() > 4 && bytes[4] >= '2';
  SPORE_TRY(zone.ParseBlock(bytes, 4, &length, !wide));
  if (!wide) return zone;
  bytes.remove_prefix(length);
  SPORE_TRY(zone.ParseBlock(bytes, 8, &length, true));
  bytes.remove_prefix(length);
  if (bytes.size() < 2 || bytes.front() != '\n') return BadFile();
  const std::string_view footer = bytes.substr(1, bytes.find('\n', 1) - 1);
  if (!footer.empty() && !zone.ParseFooter(footer)) return BadFile();
  return zone;
}

bool TimeZone::ParseRule(std::string_view* text, Rule* rule) {
  if (TakeChar(text, 'M')) {
    rule->kind = Rule::Kind::kMonth;
    if (!TakeNumber(text, 12, &rule->month) || rule->month == 0 || !TakeChar(text, '.') ||
        !TakeNumber(text, 5, &rule->week) || rule->week == 0 || !TakeChar(text, '.') ||
        !TakeNumber(text, 6, &rule->day)) {
      return false;
    }
  } else {
    rule->kind = TakeChar(text, 'J') ? Rule::Kind::kJulian : Rule::Kind::kDay;
    if (!TakeNumber(text, 365, &rule->day)) return false;
  }
  return !TakeChar(text, '/') || TakeTime(text, &rule->time_s);
}

// "CET-1CEST,M3.5.0,M10.5.0/3"; west of Greenwich counts as positive there.
bool TimeZone::ParseFooter(std::string_view text) {
  int32_t west = 0;
  if (!TakeAbbreviation(&text) || !TakeTime(&text, &west)) return false;
  standard_ = -west;
  has_footer_ = true;
  if (text.empty()) return true;
  if (!TakeAbbreviation(&text)) return false;
  summer_ = standard_ + 3600;
  if (!text.empty() && text.front() != ',') {
    if (!TakeTime(&text, &west)) return false;
    summer_ = -west;
  }
  return TakeChar(&text, ',') && ParseRule(&text, &begins_) && TakeChar(&text, ',') &&
         ParseRule(&text, &ends_) && text.empty();
}

// Local seconds since 1970 at which the rule has its moment in that year.
int64_t TimeZone::SecondsInYear(const Rule& rule, int64_t year) {
  const int64_t first = DaysFromCivil(year, 1, 1);
  const bool leap = DaysFromCivil(year + 1, 1, 1) - first == 366;
  int64_t day = first + rule.day;
  if (rule.kind == Rule::Kind::kJulian) {
    day = first + rule.day - (leap && rule.day >= 60 ? 0 : 1);  // the 29th of February not counted
  } else if (rule.kind == Rule::Kind::kMonth) {
    day = DaysFromCivil(year, rule.month, 1);
    const int64_t next =
        rule.month == 12 ? DaysFromCivil(year + 1, 1, 1) : DaysFromCivil(year, rule.month + 1, 1);
    day += (rule.day - CivilFromDays(day).weekday + 7) % 7 + 7 * (rule.week - 1);
    while (day >= next) day -= 7;
  }
  return day * kDay + rule.time_s;
}

int32_t TimeZone::OffsetByFooter(int64_t unix_s) const {
  if (!summer_) return standard_;
  const int64_t local = unix_s + standard_;
  const int64_t year = CivilFromDays((local - ((local % kDay + kDay) % kDay)) / kDay).year;
  const int64_t begins = SecondsInYear(begins_, year) - standard_;
  const int64_t ends = SecondsInYear(ends_, year) - *summer_;
  const bool summer =
      begins < ends ? unix_s >= begins && unix_s < ends : unix_s >= begins || unix_s < ends;
  return summer ? *summer_ : standard_;
}

int32_t TimeZone::OffsetAt(int64_t unix_s) const {
  const auto after = std::upper_bound(transitions_.begin(), transitions_.end(), unix_s);
  if (after == transitions_.end() && has_footer_) return OffsetByFooter(unix_s);
  if (after == transitions_.begin()) return first_offset_;
  return offsets_[static_cast<size_t>(after - transitions_.begin()) - 1];
}

std::vector<int64_t> TimeZone::MomentsOf(int64_t local_s) const {
  // No zone is further off than a day, and none changes twice in two.
  std::set<int64_t> moments;
  for (const int64_t near : {local_s - kDay, local_s + kDay}) {
    const int64_t moment = local_s - OffsetAt(near);
    if (moment + OffsetAt(moment) == local_s) moments.insert(moment);
  }
  return {moments.begin(), moments.end()};
}

int64_t TimeZone::AfterGap(int64_t local_s) const {
  int64_t before = local_s - kDay - OffsetAt(local_s - kDay);
  int64_t after = local_s + kDay - OffsetAt(local_s + kDay);
  const int32_t old_offset = OffsetAt(before);
  while (after - before > 1) {
    const int64_t middle = before + (after - before) / 2;
    (OffsetAt(middle) == old_offset ? before : after) = middle;
  }
  return after;
}

}  // namespace spore
