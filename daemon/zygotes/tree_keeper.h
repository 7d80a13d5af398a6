// Has the trees of all images grow and shrink as ZygoteTreePolicy says: told what happens, it asks
// the policy when that may have changed its mind, and once a second while there is something to
// end.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/zygote_tree_policy.h"

namespace spore {

class TreeKeeper {
 public:
  using Key = ZygoteTreePolicy::Key;
  // Carries a decision out.
  using Act = std::function<void(const ZygoteTreePolicy::Decision& decision)>;

  TreeKeeper(EventLoop& loop, const ZygoteTreePolicy::Limits& limits, Act act);
  ~TreeKeeper();
  TreeKeeper(const TreeKeeper&) = delete;
  TreeKeeper& operator=(const TreeKeeper&) = delete;

  // As the policy's.
  void Add(const Key& key, const std::string& parent, bool keep);
  void Wanted(const Key& key, uint64_t saves_us);
  void Ready(const Key& key, uint64_t import_us, uint64_t bytes);
  void Gone(const Key& key, const std::string& reason, bool failed);
  void Forget(const Key& key) { policy_.Forget(key); }
  ZygoteTreePolicy::View Of(const Key& key) const;

  // Not at once: whoever says so is in the middle of something.
  void DecideSoon();

 private:
  void Decide();

  EventLoop& loop_;
  ZygoteTreePolicy policy_;
  Act act_;
  bool posted_ = false;
  EventLoop::TimerId timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
