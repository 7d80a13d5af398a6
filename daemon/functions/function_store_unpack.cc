#include "daemon/functions/function_store_unpack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>
#include <vector>

#include "daemon/common/start_program.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr size_t kMaxWords = 2048;  // of the worker's stdout and stderr; the rest is dropped

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> fds = {};
  if (pipe2(fds.data(), O_CLOEXEC | O_NONBLOCK) != 0) return SysError("make pipe");
  Pipe pipe = {UniqueFd(fds[0]), UniqueFd(fds[1])};
  // Blocking for the worker.
  if (fcntl(pipe.write.get(), F_SETFL, 0) != 0) return SysError("make pipe");
  return pipe;
}

// A started worker; killed and reaped by the destructor if nobody has waited for it.
class Worker {
 public:
  explicit Worker(StartedProgram process) : pid_(process.pid), pidfd_(std::move(process.pidfd)) {}
  ~Worker() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
    (void)Wait();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  int pidfd() const { return pidfd_.get(); }
  Result<int> Wait() {
    int status = 0;
    pid_t pid = std::exchange(pid_, -1);
    while (waitpid(pid, &status, 0) < 0) {
      if (errno != EINTR) return SysError("wait for", "spore-unpack");
    }
    return status;
  }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
};

// Reads once, as the writer may never stop; keeps the first kMaxWords bytes in all. False at the
// end.
bool ReadSome(int fd, std::string* words) {
  std::array<char, 4096> buffer;
  ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  words->append(buffer.data(), std::min(static_cast<size_t>(n), kMaxWords - words->size()));
  return n > 0;
}

enum class Ending { kEnded, kTooSlow, kStopped };

Result<Ending> Follow(const Worker& worker, const Pipe& out, const Pipe& err, int stop,
                      uint32_t seconds, std::array<std::string, 2>* words) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::array<pollfd, 4> fds = {{{out.read.get(), POLLIN, 0},
                                {err.read.get(), POLLIN, 0},
                                {worker.pidfd(), POLLIN, 0},
                                {stop, POLLIN, 0}}};
  for (;;) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return Ending::kTooSlow;
    int n = poll(fds.data(), fds.size(), static_cast<int>(left.count()));
    if (n < 0 && errno != EINTR) return SysError("poll");
    if (n <= 0) continue;
    for (size_t i : {0u, 1u}) {
      // A negative number tells poll to leave the entry out.
      if (fds[i].revents != 0 && !ReadSome(fds[i].fd, &(*words)[i])) fds[i].fd = -1;
    }
    if (fds[3].revents != 0) return Ending::kStopped;
    if (fds[2].revents == 0) continue;
    // What it wrote just before its end: more than kMaxWords is of no use.
    for (size_t i : {0u, 1u}) {
      if (fds[i].fd >= 0) (void)ReadSome(fds[i].fd, &(*words)[i]);
    }
    return Ending::kEnded;
  }
}

// The worker may be in the archive's hands: its words are data, of one printable line.
std::string OneLine(std::string_view words) {
  return Printable(words.substr(0, words.find('\n')));
}

Result<Unpacked> ParseReport(std::string_view words) {
  constexpr std::string_view kPrefix = "sha256:";
  constexpr size_t kDigestBytes = kPrefix.size() + 64;
  Unpacked report;
  bool valid = words.starts_with(kPrefix) && words.size() > kDigestBytes + 1 &&
               words[kDigestBytes] == ' ' && words.ends_with('\n');
  if (valid) {
    report.digest = words.substr(0, kDigestBytes);
    valid = std::all_of(report.digest.begin() + kPrefix.size(), report.digest.end(),
                        [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    const char* end = words.data() + words.size() - 1;
    auto bytes = std::from_chars(words.data() + kDigestBytes + 1, end, report.bytes);
    valid = valid && bytes.ec == std::errc() && bytes.ptr != end && *bytes.ptr == ' ';
    auto files = valid ? std::from_chars(bytes.ptr + 1, end, report.files) : bytes;
    valid = valid && files.ec == std::errc() && files.ptr == end;
  }
  if (!valid) return MakeError(ErrorKind::kInternal, "spore-unpack reported nonsense");
  return report;
}

// A line each.
std::vector<std::string> Notes(std::string_view words) {
  std::vector<std::string> notes;
  while (!words.empty()) {
    notes.push_back(OneLine(words));
    words.remove_prefix(std::min(words.find('\n'), words.size() - 1) + 1);
  }
  return notes;
}

Result<Unpacked> Judge(int status, const std::array<std::string, 2>& words,
                       const UnpackLimits& limits) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    SPORE_ASSIGN(Unpacked report, ParseReport(words[0]));
    report.notes = Notes(words[1]);
    return report;
  }
  std::string said = OneLine(words[1]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2 && !said.empty()) {
    return MakeError(ErrorKind::kInvalid, said);
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("the archive takes longer than {} s to unpack", limits.seconds));
  }
  if (WIFSIGNALED(status)) {
    return MakeError(ErrorKind::kInternal,
                     fmt::format("spore-unpack was ended by signal {}", WTERMSIG(status)));
  }
  return MakeError(ErrorKind::kInternal, "spore-unpack failed: " + said);
}

}  // namespace

Result<> CheckArchive(int archive, uint64_t max_bytes) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  int seals = fcntl(archive, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return MakeError(ErrorKind::kInvalid,
                     "archive: the descriptor is no memfd sealed with F_SEAL_SHRINK, F_SEAL_GROW "
                     "and F_SEAL_WRITE");
  }
  struct stat info = {};
  if (fstat(archive, &info) != 0) return SysError("stat the archive");
  if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    return MakeError(ErrorKind::kInvalid, fmt::format("archive: {} bytes; expected at most {}",
                                                      info.st_size, max_bytes));
  }
  return {};
}

Result<Unpacked> RunUnpack(const UnpackJob& job) {
  const UnpackLimits& limits = job.limits;
  SPORE_ASSIGN(Pipe out, MakePipe());
  SPORE_ASSIGN(Pipe err, MakePipe());
  std::vector<std::string> arguments = {job.program,
                                        "--max-bytes",
                                        std::to_string(limits.unpacked_bytes),
                                        "--max-files",
                                        std::to_string(limits.files),
                                        "--max-path",
                                        std::to_string(limits.path_bytes),
                                        "--max-depth",
                                        std::to_string(limits.depth),
                                        "--cpu-seconds",
                                        std::to_string(limits.seconds),
                                        "--uid",
                                        std::to_string(job.uid),
                                        "--gid",
                                        std::to_string(job.uid)};
  if (job.plain) arguments.insert(arguments.end(), {"--plain", "1"});
  if (job.image) arguments.insert(arguments.end(), {"--image", "1"});
  // The archive is its descriptor 3, the directory 4.
  SPORE_ASSIGN(StartedProgram process, StartProgram({.arguments = std::move(arguments),
                                                     .environment = {},
                                                     .out = out.write.get(),
                                                     .err = err.write.get(),
                                                     .passed = {job.archive, job.directory}}));
  Worker worker(std::move(process));
  out.write.Reset();
  err.write.Reset();
  std::array<std::string, 2> words;
  SPORE_ASSIGN(Ending ending, Follow(worker, out, err, job.stop, limits.seconds, &words));
  if (ending == Ending::kTooSlow) {
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("the archive takes longer than {} s to unpack", limits.seconds));
  }
  if (ending == Ending::kStopped) return MakeError(ErrorKind::kUnavailable, "spored is stopping");
  SPORE_ASSIGN(int status, worker.Wait());
  return Judge(status, words, limits);
}

}  // namespace spore
