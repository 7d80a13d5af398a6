#include "tools/gateway/dashboard_errors.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "tools/gateway/dashboard_state.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kKept = 50;
constexpr std::size_t kFunctionsAtOnce = 4;
// An error stands close to its call's end; what a call had printed stands before it.
constexpr uint32_t kLogLines = 24;
constexpr uint32_t kFirstEvents = 200;
constexpr uint32_t kMostEvents = 500;
constexpr std::size_t kMostText = 500;
constexpr std::size_t kMostName = 120;
constexpr std::string_view kEnd = "END RequestId: ";

// Spore's own lines other than an error's begin like this (see Instance::EndInvocationLog's text).
bool IsError(std::string_view line) {
  for (const std::string_view other :
       {"START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "RequestId: ", "output cut"})
    if (line.starts_with(other)) return false;
  return true;
}

// Whether it is told by no function's log and worth an operator's look.
bool IsTrouble(const v1::HostEvent& event) {
  switch (event.kind()) {
    case v1::HostEvent::REQUEST_REFUSED:
    case v1::HostEvent::ZYGOTE_FAILED:
    case v1::HostEvent::ZYGOTE_KEPT:
    case v1::HostEvent::CHECKPOINT_FAILED:
    case v1::HostEvent::MEMORY_SHORT:
      return true;
    case v1::HostEvent::INSTANCE_ENDED:
      if (!event.function().empty()) return false;
      break;
    case v1::HostEvent::SESSION_ENDED:
      break;
    default:
      return false;
  }
  for (const std::string_view cause :
       {"signal", "out_of_memory", "timeout", "pids", "response_too_large", "protocol"})
    if (event.cause() == cause) return true;
  return false;
}

std::string WhoOf(const v1::HostEvent& event) {
  if (!event.function().empty()) return event.function();
  if (event.kind() == v1::HostEvent::SESSION_ENDED) return "session " + event.instance_id();
  if (event.kind() == v1::HostEvent::INSTANCE_ENDED) return "run " + event.instance_id();
  if (event.set().empty())
    return event.image().empty() ? std::string("host") : "image " + event.image();
  return "image " + event.image() + "/" + event.set();
}

std::string TypeOf(const v1::HostEvent& event) {
  switch (event.kind()) {
    case v1::HostEvent::ZYGOTE_FAILED:
      return "zygote failed";
    case v1::HostEvent::ZYGOTE_KEPT:
      return "zygote not replaced";
    case v1::HostEvent::CHECKPOINT_FAILED:
      return "checkpoint failed";
    case v1::HostEvent::MEMORY_SHORT:
      return "memory short";
    default:
      return event.cause();
  }
}

}  // namespace

std::vector<std::string> DashboardErrors::FailedSince(const v1::HistogramsResponse& response) {
  std::map<std::string, uint64_t> failures;
  std::vector<std::string> wanted;
  for (const v1::Figures& figures : response.functions()) {
    const auto known = failures_.find(figures.function());
    const uint64_t before = known == failures_.end() ? 0 : known->second;
    // Fewer than before: another run of the daemon has counted them.
    const bool look = figures.failures() != before && figures.failures() > 0;
    if (look && wanted.size() < kFunctionsAtOnce) {
      wanted.push_back(figures.function());
      failures[figures.function()] = figures.failures();
    } else {
      failures[figures.function()] = look ? before : figures.failures();
    }
  }
  failures_ = std::move(failures);
  return wanted;
}

v1::ReadLogsRequest DashboardErrors::LogsOf(const std::string& function) const {
  v1::ReadLogsRequest request;
  request.set_function(function);
  request.set_tail(kLogLines);
  return request;
}

void DashboardErrors::AddLogs(const std::string& function, const v1::ReadLogsResponse& logs) {
  for (int i = 0; i < logs.lines_size(); ++i) {
    const v1::LogLine& line = logs.lines(i);
    // What a function prints is of another stream: it cannot pretend to be Spore.
    if (line.stream() != v1::LogLine::SYSTEM || !IsError(line.text())) continue;
    Entry entry;
    entry.who = function;
    const std::size_t colon = line.text().find(": ");
    entry.type = line.text().substr(0, colon);
    if (colon != std::string::npos) entry.message = line.text().substr(colon + 2);
    for (int end = i + 1; end < logs.lines_size() && entry.request_id.empty(); ++end) {
      const v1::LogLine& other = logs.lines(end);
      if (other.stream() == v1::LogLine::SYSTEM && other.instance_id() == line.instance_id() &&
          other.text().starts_with(kEnd))
        entry.request_id = other.text().substr(kEnd.size());
    }
    Add(line.unix_us(), line.instance_id(), std::move(entry));
  }
}

v1::RecentEventsRequest DashboardErrors::NextEvents() const {
  v1::RecentEventsRequest request;
  request.set_epoch(epoch_);
  request.set_after_sequence(last_sequence_);
  request.set_limit(kMostEvents);
  if (last_sequence_ == 0) request.set_tail(kFirstEvents);
  return request;
}

void DashboardErrors::AddEvents(const v1::RecentEventsResponse& response) {
  epoch_ = response.epoch();
  last_sequence_ = response.last_sequence();
  for (const v1::HostEvent& event : response.events()) {
    if (!IsTrouble(event)) continue;
    std::string message = event.message();
    if (event.kind() == v1::HostEvent::REQUEST_REFUSED && event.count() > 1)
      message += " (" + std::to_string(event.count()) + " times)";
    Add(event.unix_us(), std::to_string(event.sequence()),
        {WhoOf(event), TypeOf(event), message, {}});
  }
}

void DashboardErrors::Add(int64_t unix_us, const std::string& instance_id, Entry entry) {
  entry.type = Shortened(entry.type, kMostName);
  entry.message = Shortened(entry.message, kMostText);
  entries_.insert_or_assign({unix_us, instance_id}, std::move(entry));
  if (entries_.size() > kKept) entries_.erase(entries_.begin());
}

nlohmann::json DashboardErrors::ToJson() const {
  nlohmann::json list = nlohmann::json::array();
  for (auto it = entries_.rbegin(); it != entries_.rend(); ++it) {
    const auto& [key, entry] = *it;
    list.push_back({{"unix_ms", key.first / 1000},
                    {"who", entry.who},
                    {"type", entry.type},
                    {"message", entry.message},
                    {"id", entry.request_id}});
  }
  return list;
}

}  // namespace spore::gateway
