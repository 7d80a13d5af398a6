// What a process of a session wrote: the newest part of it, or the first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/sys/unique_fd.h"

namespace spore {

// Keeps the newest `most` bytes.
class OutputRing {
 public:
  explicit OutputRing(size_t most) : most_(most) {}
  void Append(std::string_view bytes) {
    end_ += bytes.size();
    if (bytes.size() > most_) bytes = bytes.substr(bytes.size() - most_);
    kept_.append(bytes);
    // Moving what is kept costs as much as so many bytes did.
    if (kept_.size() >= 2 * most_) kept_.erase(0, kept_.size() - most_);
  }
  uint64_t end() const { return end_; }
  uint64_t begin() const { return end_ - std::min(kept_.size(), most_); }
  // From `position`, or the oldest that is kept, on.
  std::string_view From(uint64_t position) const {
    position = std::clamp(position, begin(), end_);
    return std::string_view(kept_).substr(kept_.size() - static_cast<size_t>(end_ - position));
  }

 private:
  size_t most_;
  std::string kept_;
  uint64_t end_ = 0;  // bytes ever appended
};

// Keeps the first `most` bytes.
class OutputHead {
 public:
  void Begin(size_t most) {
    most_ = most;
    kept_.clear();
    dropped_ = 0;
  }
  void Append(std::string_view bytes) {
    const size_t part = std::min(bytes.size(), most_ - kept_.size());
    kept_.append(bytes.substr(0, part));
    dropped_ += bytes.size() - part;
  }
  const std::string& kept() const { return kept_; }
  uint64_t dropped() const { return dropped_; }

 private:
  size_t most_ = 0;
  std::string kept_;
  uint64_t dropped_ = 0;
};

// A pipe whose read end is the agent's, which does not wait for it.
struct OutputPipe {
  UniqueFd ours, theirs;
  static bool Make(OutputPipe& pipe);
};

// Reads what is there, at most so much, and hands it to `take`; false at its end.
template <typename Take>
bool ReadPipe(int fd, size_t most, Take take) {
  char buffer[64 << 10];
  while (most > 0) {
    const ssize_t got = read(fd, buffer, std::min(sizeof buffer, most));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    take(std::string_view(buffer, static_cast<size_t>(got)));
    most -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace spore
