#include "zygote/checkpoint/await_criu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/sys/printable.h"
#include "sandbox/sys/step_log.h"

namespace spore {
namespace {

constexpr size_t kMostKept = 64 << 10;
constexpr size_t kLongestComplaint = 300;
constexpr uint64_t kMillisecond = 1'000'000;

// What is there; the rest is thrown away once enough is kept. False: nothing more will come.
bool Drain(int log, std::string& kept) {
  char piece[4096];
  for (;;) {
    const ssize_t got = TEMP_FAILURE_RETRY(read(log, piece, sizeof piece));
    if (got <= 0) return got < 0 && errno == EAGAIN;
    kept.append(piece, std::min(static_cast<size_t>(got), kMostKept - kept.size()));
    if (static_cast<size_t>(got) < sizeof piece) return true;
  }
}

Result<> Judge(int status, std::string_view log) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCriuNotStarted)
    return MakeError(ErrorKind::kPrecondition, Printable(log.substr(0, kLongestComplaint)));
  if (WIFSIGNALED(status))
    return MakeError(ErrorKind::kUnavailable,
                     "CRIU was ended by signal " + std::to_string(WTERMSIG(status)),
                     "if it is 9, the session's limit memory may not suffice");
  return MakeError(ErrorKind::kPrecondition, "CRIU failed: " + FirstComplaint(log));
}

}  // namespace

std::string FirstComplaint(std::string_view log) {
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(std::min(line.size() + 1, log.size()));
    const size_t found = line.find("Error (");
    // CRIU always says this of itself in a user namespace or under a filter, and goes on.
    if (found == line.npos || line.find("RLIMIT_NOFILE") != line.npos ||
        line.find("ia32 mmap") != line.npos) {
      continue;
    }
    const size_t colon = line.find("): ", found);
    const std::string_view words = line.substr(colon == line.npos ? found : colon + 3);
    return Printable(words.substr(0, kLongestComplaint));
  }
  return "it does not say why";
}

Result<> AwaitCriuEnd(pid_t pid, int pidfd, int log, std::chrono::milliseconds limit) {
  (void)fcntl(log, F_SETFL, O_NONBLOCK);
  const uint64_t until = StepLog::Now() + static_cast<uint64_t>(limit.count()) * kMillisecond;
  std::string kept;
  bool late = false;
  pollfd waited[] = {{pidfd, POLLIN, 0}, {log, POLLIN, 0}};
  while (waited[0].revents == 0) {
    const uint64_t now = StepLog::Now();
    late = now >= until;
    if (late) break;
    const auto left = static_cast<int>((until - now) / kMillisecond + 1);
    if (TEMP_FAILURE_RETRY(poll(waited, 2, left)) < 0) break;
    if (waited[1].revents != 0 && !Drain(log, kept)) waited[1].fd = -1;
  }
  // Not for the pipe's end: others may hold it.
  if (waited[0].revents == 0) kill(pid, SIGKILL);
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) return SysError("wait for CRIU");
  if (waited[1].fd >= 0) (void)Drain(log, kept);
  if (late) {
    return MakeError(ErrorKind::kUnavailable,
                     "CRIU was not done within " + std::to_string(limit.count()) + " ms");
  }
  return Judge(status, kept);
}

}  // namespace spore
