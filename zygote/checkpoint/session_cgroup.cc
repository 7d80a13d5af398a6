#include "zygote/checkpoint/session_cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "sandbox/sys/step_log.h"

namespace spore {
namespace {

constexpr useconds_t kLookUs = 100;

// Whole, however long it is.
Result<std::string> ReadAll(int folder, const char* name) {
  const UniqueFd file(openat(folder, name, O_RDONLY | O_CLOEXEC));
  if (!file) return SysError("open", name);
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = TEMP_FAILURE_RETRY(read(file.get(), piece, sizeof piece));
    if (got < 0) return SysError("read", name);
    if (got == 0) return text;
    text.append(piece, static_cast<size_t>(got));
  }
}

}  // namespace

Result<SessionCgroup> SessionCgroup::Open(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    UniqueFd folder(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return SysError("open cgroup", path);
    if (faccessat(folder.get(), "cgroup.freeze", W_OK, 0) == 0)
      return SessionCgroup(std::move(folder));
  }
  return MakeError(ErrorKind::kPrecondition, "the session's processes cannot be frozen",
                   "a cgroup2 hierarchy is needed, alone or beside those of v1");
}

Result<> SessionCgroup::Write(const char* value) const {
  const UniqueFd file(openat(folder_.get(), "cgroup.freeze", O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), value, 1) != 1) return SysError("write", "cgroup.freeze");
  return {};
}

Result<> SessionCgroup::BeginToFreeze() const {
  return Write("1");
}

Result<> SessionCgroup::Freeze(uint64_t limit_ns) const {
  SPORE_TRY(BeginToFreeze());
  const uint64_t until = StepLog::Now() + limit_ns;
  for (;;) {
    SPORE_ASSIGN(const std::string events, ReadAll(folder_.get(), "cgroup.events"));
    if (events.find("frozen 1") != events.npos) return {};
    if (StepLog::Now() > until)
      return MakeError(ErrorKind::kOverloaded, "a process of it does not stop", "try again later");
    usleep(kLookUs);
  }
}

Result<> SessionCgroup::Thaw() const {
  return Write("0");
}

Result<std::vector<pid_t>> SessionCgroup::Processes() const {
  SPORE_ASSIGN(const std::string text, ReadAll(folder_.get(), "cgroup.procs"));
  std::vector<pid_t> pids;
  const char* at = text.c_str();
  for (char* end = nullptr;; at = end) {
    const long pid = strtol(at, &end, 10);
    if (end == at) return pids;
    if (pid > 0) pids.push_back(static_cast<pid_t>(pid));
  }
}

}  // namespace spore
