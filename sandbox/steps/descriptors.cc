#include <fcntl.h>
#include <unistd.h>

#include "sandbox/steps/step.h"

namespace spore {

StepResult PlaceDescriptors(const int* sources, uint32_t count, std::span<const int> keep) {
  for (uint32_t i = 0; i < count; ++i) {
    const int place = static_cast<int>(i);
    if (sources[i] == -1) continue;
    if (sources[i] == place) {
      if (fcntl(place, F_SETFD, 0) < 0) return StepFailed("fcntl F_SETFD on a passed descriptor");
    } else if (dup2(sources[i], place) < 0) {
      return StepFailed("dup2 of a passed descriptor");
    }
  }
  unsigned from = count;
  for (const int fd : keep) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept < from) continue;
    if (kept > from && close_range(from, kept - 1, 0) < 0) return StepFailed("close_range");
    from = kept + 1;
  }
  if (close_range(from, ~0u, 0) < 0) return StepFailed("close_range");
  return StepOk();
}

}  // namespace spore
