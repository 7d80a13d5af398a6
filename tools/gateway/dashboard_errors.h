// The most recent errors, for the dashboard: what functions failed with, which is read from their
// logs when the number of their failures has grown, and what went wrong besides, from the host's
// events.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "spore/v1/observability.pb.h"
#include "spore/v1/spore.pb.h"

namespace spore::gateway {

class DashboardErrors {
 public:
  // A few of the functions that have failed since their logs were last read.
  std::vector<std::string> FailedSince(const v1::HistogramsResponse& response);
  v1::ReadLogsRequest LogsOf(const std::string& function) const;
  void AddLogs(const std::string& function, const v1::ReadLogsResponse& logs);

  v1::RecentEventsRequest NextEvents() const;
  void AddEvents(const v1::RecentEventsResponse& response);

  // The latest first.
  nlohmann::json ToJson() const;

 private:
  struct Entry {
    std::string who;
    std::string type;
    std::string message;
    std::string request_id;
  };
  void Add(int64_t unix_us, const std::string& instance_id, Entry entry);

  std::map<std::pair<int64_t, std::string>, Entry> entries_;  // by time and instance: each once
  std::map<std::string, uint64_t> failures_;  // of each function, when its log was last read
  std::string epoch_;
  uint64_t last_sequence_ = 0;
};

}  // namespace spore::gateway
