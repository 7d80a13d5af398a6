#include <fcntl.h>
#include <unistd.h>

#include "sandbox/steps/step.h"

namespace spore {

StepResult PlaceDescriptors(const int* sources, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const int place = static_cast<int>(i);
    if (sources[i] == -1) continue;
    if (sources[i] == place) {
      if (fcntl(place, F_SETFD, 0) < 0) return StepFailed("fcntl F_SETFD on a passed descriptor");
    } else if (dup2(sources[i], place) < 0) {
      return StepFailed("dup2 of a passed descriptor");
    }
  }
  if (close_range(count, ~0u, 0) < 0) return StepFailed("close_range");
  return StepOk();
}

}  // namespace spore
