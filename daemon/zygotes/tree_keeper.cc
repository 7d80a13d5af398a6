#include "daemon/zygotes/tree_keeper.h"

#include <chrono>
#include <utility>

namespace spore {

TreeKeeper::TreeKeeper(EventLoop& loop, const ZygoteTreePolicy::Limits& limits, Act act)
    : loop_(loop), policy_(limits), act_(std::move(act)), alive_(std::make_shared<bool>(true)) {}

TreeKeeper::~TreeKeeper() {
  *alive_ = false;
  if (timer_ != 0) loop_.CancelTimer(timer_);
}

void TreeKeeper::Add(const Key& key, const std::string& parent, bool keep) {
  policy_.Add(key, parent, keep);
}

void TreeKeeper::Wanted(const Key& key, uint64_t saves_us) {
  policy_.Wanted(key, saves_us, MonotonicNs());
  DecideSoon();
}

void TreeKeeper::Ready(const Key& key, uint64_t import_us, uint64_t bytes) {
  policy_.Ready(key, import_us, bytes, MonotonicNs());
  DecideSoon();
}

void TreeKeeper::Gone(const Key& key, const std::string& reason, bool failed) {
  policy_.Gone(key, reason, failed, MonotonicNs());
}

ZygoteTreePolicy::View TreeKeeper::Of(const Key& key) const {
  return policy_.Of(key, MonotonicNs());
}

void TreeKeeper::DecideSoon() {
  if (std::exchange(posted_, true)) return;
  loop_.Post([this, alive = alive_] {
    if (*alive) Decide();
  });
}

void TreeKeeper::Decide() {
  posted_ = false;
  for (const auto& decision : policy_.Decide(MonotonicNs())) act_(decision);
  if (timer_ != 0 || policy_.Idle()) return;
  timer_ = loop_.AddTimer(std::chrono::seconds(1), [this] {
    timer_ = 0;
    Decide();
  });
}

}  // namespace spore
