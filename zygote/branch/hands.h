// Work in shares, which several processes take, each as it gets to it: one that is given no
// processor keeps nobody waiting.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

class Hands {
 public:
  // The share that is to be done next, the one before being done; nothing: none is left.
  using Take = std::function<std::optional<size_t>()>;
  // Takes until none is left. In each of the processes, which are copies of this one.
  using Work = std::function<Result<>(const Take& take)>;

  // By so many processes, this one among them. Returns when all shares are done, or one has failed:
  // of another process, it is told that it has, and not why (kOverloaded).
  static Result<Hands> Do(size_t shares, size_t hands, const Work& work);
  ~Hands();  // waits for those that found nothing to do
  Hands(Hands&&) = default;
  Hands& operator=(Hands&& other) noexcept;

 private:
  Hands() = default;
  std::vector<pid_t> others_;
};

}  // namespace spore
