// Programs started and timed, and folders that go away again.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tools/client/error.h"

namespace spore::bench {

// A path found in PATH or the usual places; empty when there is none.
std::string FindProgram(const std::string& name);

// Starts it with its standard streams on `log` (/dev/null when empty).
client::Result<pid_t> Start(const std::vector<std::string>& argv, const std::string& log = {});
// Waits; an exit code, or 128 + a signal.
int Wait(pid_t pid);
// Start and wait; an exit code other than 0 is an error. The time in microseconds.
client::Result<double> Time(const std::vector<std::string>& argv);

// A new folder below /tmp, removed with all that it holds.
class TemporaryFolder {
 public:
  static client::Result<TemporaryFolder> Make();
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

client::Result<> WriteFile(const std::string& path, const std::string& text);
// Empty when it cannot be read.
std::string ReadFile(const std::string& path);

}  // namespace spore::bench
