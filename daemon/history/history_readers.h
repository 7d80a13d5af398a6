// Who waits for the next event of the history.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>

#include "daemon/history/history.h"
#include "daemon/loop/event_loop.h"
#include "daemon/rpc/rpc_server.h"
#include "spore/v1/observability.pb.h"

namespace spore {

class HistoryReaders {
 public:
  // Of one uid at once; root has no bound but that of its connections.
  static constexpr size_t kMostPerUid = 32;

  HistoryReaders(EventLoop& loop, History& history);
  ~HistoryReaders();
  HistoryReaders(const HistoryReaders&) = delete;
  HistoryReaders& operator=(const HistoryReaders&) = delete;

  // Answers at once where there is something or the request waits for nothing; the request's fields
  // are checked.
  void Read(const std::shared_ptr<Call>& call, v1::RecentEventsRequest request);
  // What has happened is told now: the daemon stops.
  void Flush();

 private:
  struct Reader {
    std::shared_ptr<Call> call;
    v1::RecentEventsRequest request;
    EventLoop::TimerId timer = 0;
    uint64_t dropped = 0;  // so far
  };
  v1::RecentEventsResponse ReadFor(const Reader& reader) const;
  void Finish(uint64_t id, v1::RecentEventsResponse response);
  void Forget(uint64_t id);
  void TimedOut(uint64_t id);

  EventLoop& loop_;
  History& history_;
  uint64_t next_ = 1;
  std::map<uint64_t, Reader> readers_;
  std::map<uid_t, size_t> per_uid_;
  EventLoop::TimerId wake_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spore
