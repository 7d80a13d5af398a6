#include "sandbox/cgroup_kill.h"

#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "sandbox/cgroup_file.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<> KillByFile(int directory) {
  return WriteFileAt(directory, "cgroup.kill", "1");
}

std::vector<pid_t> Members(int directory) {
  std::vector<pid_t> pids;
  auto text = ReadFileAt(directory, "cgroup.procs");
  if (!text) return pids;
  const char* at = text->data();
  const char* const end = at + text->size();
  while (at < end) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error != std::errc()) break;
    if (pid > 0) pids.push_back(pid);  // 0: a process of a foreign pid namespace
    at = next + 1;
  }
  return pids;
}

Result<> KillMembers(int directory, std::set<pid_t>& killed) {
  constexpr int kMaxPasses = 64;
  const pid_t self = getpid();
  std::set<pid_t> done;
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    std::vector<std::pair<pid_t, UniqueFd>> found;
    for (pid_t pid : Members(directory)) {
      if (pid == self || done.contains(pid)) continue;
      UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
      if (pidfd) found.emplace_back(pid, std::move(pidfd));
    }
    if (found.empty()) return {};
    // A pid may have ended and been given to a stranger before the pidfd was opened. Who is still
    // listed after that is the one that the pidfd means.
    const std::vector<pid_t> still = Members(directory);
    for (const auto& [pid, pidfd] : found) {
      if (std::find(still.begin(), still.end(), pid) == still.end()) continue;
      syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
      done.insert(pid);
      killed.insert(pid);
    }
  }
  return MakeError(ErrorKind::kInternal,
                   "processes of a cgroup fork faster than they can be ended");
}

std::vector<std::string> Subgroups(const std::string& path) {
  std::vector<std::string> names;
  struct Close {
    void operator()(DIR* directory) const { closedir(directory); }
  };
  std::unique_ptr<DIR, Close> directory(opendir(path.c_str()));
  if (!directory) return names;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> DeepestFirst(const std::string& path) {
  std::vector<std::string> paths;
  for (const std::string& name : Subgroups(path)) {
    std::vector<std::string> below = DeepestFirst(path + "/" + name);
    paths.insert(paths.end(), below.begin(), below.end());
  }
  paths.push_back(path);
  return paths;
}

}  // namespace spore
