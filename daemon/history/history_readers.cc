#include "daemon/history/history_readers.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "daemon/rpc/access.h"

namespace spore {
namespace {

// Events come in crowds: readers are told of each crowd once.
constexpr auto kGather = std::chrono::milliseconds(50);

}  // namespace

HistoryReaders::HistoryReaders(EventLoop& loop, History& history) : loop_(loop), history_(history) {
  history_.OnAdded([this] {
    if (readers_.empty() || wake_timer_ != 0) return;
    wake_timer_ = loop_.AddTimer(kGather, [this] {
      wake_timer_ = 0;
      Flush();
    });
  });
}

HistoryReaders::~HistoryReaders() {
  *alive_ = false;
  history_.OnAdded(nullptr);
  if (wake_timer_ != 0) loop_.CancelTimer(wake_timer_);
  for (const auto& [id, reader] : readers_) loop_.CancelTimer(reader.timer);
}

v1::RecentEventsResponse HistoryReaders::ReadFor(const Reader& reader) const {
  auto response = history_.Read(reader.request, [&reader](uid_t owner) {
    return MaySeeInstance(reader.call->peer(), owner);
  });
  response.set_dropped(response.dropped() + reader.dropped);
  return response;
}

void HistoryReaders::Read(const std::shared_ptr<Call>& call, v1::RecentEventsRequest request) {
  Reader reader{call, std::move(request)};
  auto response = ReadFor(reader);
  if (response.events_size() > 0 || response.restarted() || reader.request.wait_ms() == 0)
    return call->Reply(response);
  const uid_t uid = call->peer().uid;
  if (uid != 0 && per_uid_[uid] >= kMostPerUid) {
    return call->Fail({ErrorKind::kOverloaded,
                       0,
                       "overloaded: uid " + std::to_string(uid) + " waits for events " +
                           std::to_string(kMostPerUid) + " times already",
                       {},
                       "let one of those calls end first"});
  }
  ++per_uid_[uid];
  // What came so far was not for it.
  reader.request.set_after_sequence(response.last_sequence());
  reader.dropped = response.dropped();
  const uint64_t id = next_++;
  reader.timer = loop_.AddTimer(std::chrono::milliseconds(reader.request.wait_ms()),
                                [this, id] { TimedOut(id); });
  readers_[id] = std::move(reader);
  call->OnCancel([this, id, alive = alive_] {
    if (*alive) Forget(id);
  });
}

void HistoryReaders::Flush() {
  std::vector<uint64_t> ids;
  for (const auto& [id, reader] : readers_) ids.push_back(id);
  for (const uint64_t id : ids) {
    const auto found = readers_.find(id);
    if (found == readers_.end()) continue;
    Reader& reader = found->second;
    auto response = ReadFor(reader);
    if (response.events_size() > 0) {
      Finish(id, std::move(response));
    } else {
      reader.request.set_after_sequence(response.last_sequence());
      reader.dropped = response.dropped();
    }
  }
}

void HistoryReaders::TimedOut(uint64_t id) {
  const auto found = readers_.find(id);
  if (found != readers_.end()) Finish(id, ReadFor(found->second));
}

void HistoryReaders::Finish(uint64_t id, v1::RecentEventsResponse response) {
  const std::shared_ptr<Call> call = readers_.at(id).call;
  Forget(id);
  call->Reply(response);
}

void HistoryReaders::Forget(uint64_t id) {
  auto found = readers_.extract(id);
  if (found.empty()) return;
  loop_.CancelTimer(found.mapped().timer);
  const auto count = per_uid_.find(found.mapped().call->peer().uid);
  if (--count->second == 0) per_uid_.erase(count);
}

}  // namespace spore
