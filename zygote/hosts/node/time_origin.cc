#include "zygote/hosts/node/time_origin.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "zygote/hosts/node/writable_memory.h"

namespace spore {
namespace {

uint64_t Nanoseconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

Result<> TimeOrigin::Find(double wall_ms, std::span<const Window> windows) {
  *this = {};  // in a zygote's copy, what it found
  const auto is_origin = [&](double ns) {
    return std::any_of(windows.begin(), windows.end(),
                       [=](const Window& w) { return w.least <= ns && ns <= w.most; });
  };
  const double wall_us = wall_ms * 1000;
  const auto look = [&](std::span<const uint64_t> words, uint64_t* address) {
    for (size_t i = 0; i < words.size(); ++i) {
      auto* const place = reinterpret_cast<double*>(address + i);
      double value = 0;
      memcpy(&value, &words[i], sizeof value);
      if (is_origin(static_cast<double>(words[i]))) integers_.push_back(address + i);
      if (is_origin(value)) doubles_.push_back(place);
      if (is_origin(value * 1e6)) millis_.push_back(place);
      if (wall_us - 0.5 <= value && value <= wall_us + 0.5) wall_us_.push_back(place);
      if (value == wall_ms) wall_ms_.push_back(place);
    }
  };
  SPORE_TRY(VisitWritableMemory(false, look));
  if (!integers_.empty() || !doubles_.empty()) return {};
  return MakeError(ErrorKind::kPrecondition, "Node's time origin is not where it was",
                   "this version of Node is not known yet");
}

void TimeOrigin::SetToNow() const {
  const uint64_t now = Nanoseconds(CLOCK_MONOTONIC);
  const double wall_us = static_cast<double>(Nanoseconds(CLOCK_REALTIME)) / 1000;
  for (uint64_t* place : integers_) *place = now;
  for (double* place : doubles_) *place = static_cast<double>(now);
  for (double* place : millis_) *place = static_cast<double>(now) / 1e6;
  for (double* place : wall_us_) *place = wall_us;
  for (double* place : wall_ms_) *place = wall_us / 1000;
}

}  // namespace spore
