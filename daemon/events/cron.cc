#include "daemon/events/cron.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <sstream>
#include <vector>

namespace spore {
namespace {

constexpr int64_t kDay = 86400;
// From a 29th of February to the next one, across a year such as 2100 that has none.
constexpr int64_t kMostDays = 366 * 9;
constexpr size_t kMostText = 256;

using Names = std::vector<std::string_view>;
const Names kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                       "jul", "aug", "sep", "oct", "nov", "dec"};
const Names kWeekdays = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  const char* name;
  int least, most;
  const Names* names;  // null: numbers only
};
constexpr std::array<Field, 5> kFields = {{{"minute", 0, 59, nullptr},
                                           {"hour", 0, 23, nullptr},
                                           {"day of month", 1, 31, nullptr},
                                           {"month", 1, 12, &kMonths},
                                           {"day of week", 0, 7, &kWeekdays}}};

tl::unexpected<Error> Wrong(const Field& field, std::string_view text, const std::string& why) {
  return MakeError(ErrorKind::kInvalid,
                   std::string("cron: ") + field.name + " \"" + std::string(text) + "\": " + why +
                       "; expected " + std::to_string(field.least) + " to " +
                       std::to_string(field.most) + (field.names != nullptr ? " or names" : "") +
                       ", *, ranges, lists, steps");
}

Result<int> ParseValue(const Field& field, std::string_view text) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) {
    if (value < field.least || value > field.most) return Wrong(field, text, "out of range");
    return value;
  }
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (field.names != nullptr) {
    const auto found = std::find(field.names->begin(), field.names->end(), lower);
    if (found != field.names->end())
      return static_cast<int>(found - field.names->begin()) + field.least;
  }
  return Wrong(field, text, "not a value");
}

// One part of a list: "*", "3", "3-7", each with "/step".
Result<> ParsePart(const Field& field, std::string_view part, std::vector<bool>* values) {
  int step = 1;
  const size_t slash = part.find('/');
  const std::string_view range = part.substr(0, slash);
  if (slash != part.npos) {
    const std::string_view text = part.substr(slash + 1);
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), step);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || step < 1)
      return Wrong(field, part, "the step is no number from 1 on");
  }
  int first = field.least, last = field.most;
  if (range != "*") {
    const size_t dash = range.find('-');
    SPORE_ASSIGN(first, ParseValue(field, range.substr(0, dash)));
    last = slash == part.npos ? first : field.most;
    if (dash != range.npos) {
      SPORE_ASSIGN(last, ParseValue(field, range.substr(dash + 1)));
      if (last < first) return Wrong(field, part, "the range ends before it begins");
    }
  } else if (field.most == 7) {
    last = 6;  // Sunday once
  }
  for (int value = first; value <= last; value += step)
    (*values)[static_cast<size_t>(value)] = true;
  return {};
}

Result<std::vector<bool>> ParseField(const Field& field, std::string_view text) {
  std::vector<bool> values(61);
  while (true) {
    const size_t comma = text.find(',');
    SPORE_TRY(ParsePart(field, text.substr(0, comma), &values));
    if (comma == text.npos) return values;
    text.remove_prefix(comma + 1);
  }
}

std::string Expand(const std::string& text) {
  if (text == "@hourly") return "0 * * * *";
  if (text == "@daily" || text == "@midnight") return "0 0 * * *";
  if (text == "@weekly") return "0 0 * * 0";
  if (text == "@monthly") return "0 0 1 * *";
  if (text == "@yearly" || text == "@annually") return "0 0 1 1 *";
  return text;
}

int64_t FloorDiv(int64_t value, int64_t by) {
  return value / by - (value % by < 0 ? 1 : 0);
}

template <size_t kBits>
void Copy(const std::vector<bool>& values, std::bitset<kBits>* bits) {
  for (size_t i = 0; i < kBits; ++i) bits->set(i, values[i]);
}

}  // namespace

Result<Cron> Cron::Parse(const std::string& text) {
  std::istringstream stream(Expand(text.substr(0, kMostText)));
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() != kFields.size() || text.size() > kMostText) {
    return MakeError(ErrorKind::kInvalid,
                     "cron: \"" + text.substr(0, 64) +
                         "\"; expected five fields (minute, hour, day of month, month, day of "
                         "week) or @hourly, @daily, @weekly, @monthly, @yearly");
  }
  std::vector<std::vector<bool>> fields;
  for (size_t i = 0; i < words.size(); ++i) {
    SPORE_ASSIGN(std::vector<bool> values, ParseField(kFields.at(i), words[i]));
    fields.push_back(std::move(values));
  }
  Cron cron;
  Copy(fields[0], &cron.minutes_);
  Copy(fields[1], &cron.hours_);
  Copy(fields[2], &cron.days_);
  Copy(fields[3], &cron.months_);
  Copy(fields[4], &cron.weekdays_);
  if (fields[4][7]) cron.weekdays_.set(0);
  cron.any_day_ = words[2][0] == '*';
  cron.any_weekday_ = words[4][0] == '*';
  return cron;
}

bool Cron::DayFits(const CivilDay& day) const {
  if (!months_.test(static_cast<size_t>(day.month))) return false;
  const bool by_date = days_.test(static_cast<size_t>(day.day));
  const bool by_week = weekdays_.test(static_cast<size_t>(day.weekday));
  return any_day_ || any_weekday_ ? by_date && by_week : by_date || by_week;
}

std::optional<int64_t> Cron::NextOfDay(int64_t day, int64_t after, const TimeZone& zone) const {
  std::optional<int64_t> first;
  const auto consider = [&](int64_t moment) {
    if (moment > after && (!first || moment < *first)) first = moment;
  };
  // Far from any change of the clocks: the moments are in the order of local time.
  const int64_t begin = day * kDay;
  const int32_t offset = zone.OffsetAt(begin - 2 * kDay);
  const bool steady = offset == zone.OffsetAt(begin + 3 * kDay);
  const bool every_hour = hours_.all();
  for (size_t hour = 0; hour < hours_.size(); ++hour) {
    if (!hours_.test(hour)) continue;
    for (size_t minute = 0; minute < minutes_.size(); ++minute) {
      if (!minutes_.test(minute)) continue;
      const int64_t local = begin + static_cast<int64_t>(hour * 3600 + minute * 60);
      if (steady && local - offset > after) return local - offset;
      if (steady) continue;
      const std::vector<int64_t> moments = zone.MomentsOf(local);
      if (moments.empty()) {
        if (!every_hour) consider(zone.AfterGap(local));
      } else {
        consider(moments.front());
        if (every_hour) consider(moments.back());
      }
    }
  }
  return first;
}

std::optional<int64_t> Cron::Next(int64_t after_unix_s, const TimeZone& zone) const {
  const int64_t today = FloorDiv(after_unix_s + zone.OffsetAt(after_unix_s), kDay);
  // From yesterday: clocks may just have been set back over midnight.
  for (int64_t day = today - 1; day <= today + kMostDays; ++day) {
    if (!DayFits(CivilFromDays(day))) continue;
    if (const auto moment = NextOfDay(day, after_unix_s, zone)) return moment;
  }
  return std::nullopt;
}

int64_t NextOfInterval(int64_t start_ms, int64_t interval_ms, int64_t after_ms) {
  if (after_ms < start_ms) return start_ms;
  return start_ms + (FloorDiv(after_ms - start_ms, interval_ms) + 1) * interval_ms;
}

}  // namespace spore
