#include "zygote/supervisor/criu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "sandbox/sys/clone.h"
#include "zygote/checkpoint/await_criu.h"
#include "zygote/checkpoint/criu_rights.h"

namespace spore {
namespace {

constexpr const char* kLogName = "criu.log";
constexpr int kAboveFixedFds = 16;

std::string ReadLog() {
  const std::ifstream log(std::string(kCheckpointPlace) + "/" + kLogName);
  std::ostringstream text;
  text << log.rdbuf();
  return text.str();
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
  std::vector<std::string> words = CriuCommand(arguments);
  words.insert(words.end(),
               {"--unprivileged", "--images-dir", kCheckpointPlace, "--log-file", kLogName, "-v2"});
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
  return MakeError(ErrorKind::kPrecondition, "CRIU failed: " + FirstComplaint(ReadLog()));
}

}  // namespace spore
