#include "zygote/supervisor/criu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/clone.h"

namespace spore {
namespace {

constexpr const char* kLogName = "criu.log";
constexpr int kAboveFixedFds = 16;

// What CRIU complained of last, without place and time.
std::string LastComplaint() {
  std::ifstream log(std::string(kCheckpointPlace) + "/" + kLogName);
  std::string complaint;
  for (std::string line; std::getline(log, line);) {
    const size_t found = line.find("Error (");
    if (found == std::string::npos) continue;
    // CRIU always says this of itself in a user namespace, and goes on.
    if (line.find("RLIMIT_NOFILE") != std::string::npos) continue;
    const size_t colon = line.find("): ", found);
    const std::string words = line.substr(colon == std::string::npos ? found : colon + 3);
    // The first says why, what follows only that it went wrong.
    if (complaint.empty()) complaint = words;
  }
  return complaint.empty() ? "it does not say why" : complaint;
}

// Returns only on failure.
void Execute(std::vector<char*>& argv, const std::vector<int>& inherit, int null_fd) {
  std::vector<int> places(static_cast<size_t>(kFirstInherited) + inherit.size(), null_fd);
  std::copy(inherit.begin(), inherit.end(), places.begin() + kFirstInherited);
  for (int i = 3; i < kFirstInherited; ++i) places[static_cast<size_t>(i)] = -1;
  if (StepResult r = PlaceDescriptors(places.data(), static_cast<uint32_t>(places.size())); !r.ok())
    return;
  char path[] = "PATH=/usr/sbin:/usr/bin";
  char* environment[] = {path, nullptr};
  execve(argv[0], argv.data(), environment);
}

// Its wait status.
Result<int> AwaitEnd(pid_t pid, const UniqueFd& pidfd, std::chrono::milliseconds limit) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  const auto ready = TEMP_FAILURE_RETRY(poll(&ended, 1, static_cast<int>(limit.count())));
  if (ready <= 0) kill(pid, SIGKILL);
  int status = 0;
  if (TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) < 0) return SysError("wait for CRIU");
  if (ready == 0) {
    return MakeError(ErrorKind::kUnavailable,
                     "CRIU was not done within " + std::to_string(limit.count()) + " ms");
  }
  return status;
}

Result<UniqueFd> Above(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, kAboveFixedFds));
  if (!copy) return SysError("duplicate a descriptor");
  return copy;
}

}  // namespace

Result<CriuWorkplace> CriuWorkplace::Open(int files, int criu) {
  SPORE_ASSIGN(Workplace place, Workplace::Open({.files = files, .criu = criu}));
  return CriuWorkplace(std::move(place));
}

Result<> CriuWorkplace::Run(const std::vector<std::string>& arguments,
                            const std::vector<int>& inherit,
                            std::chrono::milliseconds limit) const {
  // Through its own loader: it may be of another Debian than the image is.
  const std::string usr = kCriuPlace;
  std::vector<std::string> words = {usr + "/lib64/ld-linux-x86-64.so.2", "--library-path",
                                    usr + "/lib/x86_64-linux-gnu", usr + "/sbin/criu"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.insert(words.end(), {"--unprivileged", "--no-default-config", "--images-dir",
                             kCheckpointPlace, "--log-file", kLogName, "-v2"});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  UniqueFd null_fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_fd) return SysError("open", "/dev/null");
  SPORE_ASSIGN(null_fd, Above(null_fd.get()));
  std::vector<UniqueFd> copies;
  std::vector<int> inherited;
  for (const int fd : inherit) {
    SPORE_ASSIGN(UniqueFd copy, Above(fd));
    inherited.push_back(copy.get());
    copies.push_back(std::move(copy));
  }
  UniqueFd pidfd;
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, &pidfd);
  if (pid < 0) return SysError("clone a process for CRIU");
  if (pid == 0) {
    Execute(argv, inherited, null_fd.get());
    _exit(127);
  }
  SPORE_ASSIGN(const int status, AwaitEnd(pid, pidfd, limit));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return MakeError(ErrorKind::kPrecondition, "CRIU cannot be executed",
                     "spore.toml(5), `criu`, says where it is looked for");
  if (WIFSIGNALED(status))
    return MakeError(ErrorKind::kUnavailable,
                     "CRIU was ended by signal " + std::to_string(WTERMSIG(status)));
  return MakeError(ErrorKind::kPrecondition, "CRIU failed: " + LastComplaint());
}

}  // namespace spore
