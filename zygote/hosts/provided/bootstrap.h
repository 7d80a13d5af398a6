// The function's own program, `bootstrap`, as a child of this process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "sandbox/sys/unique_fd.h"

namespace spore {

constexpr const char* kTaskRoot = "/var/task";
constexpr const char* kRuntimeApiAddress = "127.0.0.1:9001";
constexpr uint16_t kRuntimeApiPort = 9001;

class Bootstrap {
 public:
  // Empty; or why it cannot be started, as its owner may read it.
  std::string Start();

  int pidfd() const { return pidfd_.get(); }
  bool HasEnded() const;
  // Waits for its end, and ends this process in the same way: by its status or by its signal.
  [[noreturn]] void EndAlike() const;

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace spore
