#include <algorithm>

#include "daemon/history/log_store.h"

namespace spore {
namespace {

constexpr size_t kMaxLine = 16 * 1024;

}  // namespace

LineSplitter::LineSplitter(uint64_t budget, Emit emit) : budget_(budget), emit_(std::move(emit)) {}

void LineSplitter::Feed(std::string_view bytes) {
  if (bytes.size() > budget_) {
    bytes = bytes.substr(0, budget_);
    cut_ = true;
  }
  budget_ -= bytes.size();
  while (!bytes.empty()) {
    size_t room = kMaxLine - partial_.size();
    size_t end = bytes.substr(0, room + 1).find('\n');
    if (end == bytes.npos) {
      partial_ += bytes.substr(0, room);
      bytes.remove_prefix(std::min(room, bytes.size()));
      // A full line is only handed out once it is known that no line end follows.
      if (bytes.empty()) return;
    } else {
      partial_ += bytes.substr(0, end);
      bytes.remove_prefix(end + 1);
    }
    emit_(partial_);
    partial_.clear();
  }
}

void LineSplitter::Finish() {
  if (!partial_.empty()) emit_(partial_);
  partial_.clear();
}

void LineSplitter::ResetBudget(uint64_t budget) {
  budget_ = budget;
  cut_ = false;
}

}  // namespace spore
