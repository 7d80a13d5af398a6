#include "zygote/hosts/common/session_spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "zygote/hosts/common/program_check.h"

namespace spore {
namespace {

constexpr int kSporeFailed = 125;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

std::string_view NameOf(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

// Of the program: the session's with its own over them. Pointers into both.
std::vector<char*> Environment(const std::vector<std::string>& own) {
  std::vector<char*> environment;
  const auto is_own = [&](const char* variable) {
    return std::any_of(own.begin(), own.end(),
                       [&](const std::string& mine) { return NameOf(mine) == NameOf(variable); });
  };
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_own(*variable)) environment.push_back(*variable);
  for (const std::string& variable : own)
    environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  return environment;
}

std::string PathOf(const std::vector<char*>& environment) {
  for (const char* variable : environment)
    if (variable != nullptr && strncmp(variable, "PATH=", 5) == 0) return variable + 5;
  return "/usr/local/bin:/usr/bin:/bin";
}

// As execvp(3) would find it; what is wrong otherwise.
std::optional<Spawned> FindProgram(const std::string& name, const std::string& path,
                                   const std::string& directory, std::string& found) {
  const auto refuse = [&](const ProgramProblem& problem) {
    return Spawned{0, problem.missing ? kNotFound : kCannotRun, name + ": " + problem.text};
  };
  if (name.find('/') != name.npos) {
    found = name.front() == '/' ? name : directory + "/" + name;
    if (const auto problem = CheckProgram(found)) return refuse(*problem);
    return {};
  }
  std::optional<ProgramProblem> met;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    at = end + 1;
    if (folder.empty() || name.empty()) continue;
    found = folder + "/" + name;
    const auto problem = CheckExecutable(found);
    if (!problem) {
      if (const auto inside = CheckProgram(found)) return refuse(*inside);
      return {};
    }
    if (!problem->missing && !met) met = problem;
  }
  if (met) return refuse(*met);
  return refuse({true, "not found in the image (PATH is " + path + ")"});
}

// What the child of a vfork(2) does: calls only, on what is there, telling the parent through
// memory.
struct Child {
  const char* path;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  const int* streams;
  bool terminal;
  int error = 0;
  const char* failed = nullptr;

  [[noreturn]] void Fail(const char* what) {
    error = errno;
    failed = what;
    _exit(kSporeFailed);
  }

  [[noreturn]] void Run() {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    for (int signal = 1; signal <= SIGRTMAX; ++signal) sigaction(signal, &standard, nullptr);
    if (setsid() < 0) Fail("setsid");
    if (terminal && ioctl(streams[0], TIOCSCTTY, 0) < 0) Fail("take over the terminal");
    for (int i = 0; i < 3; ++i)
      if (dup2(streams[i], i) < 0) Fail("place a stream");
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) Fail("close_range");
    if (chdir(directory) < 0) Fail("working directory");
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(path, arguments, environment);
    Fail("execve");
  }
};

}  // namespace

Spawned Spawn(const SpawnOrder& order) {
  if (order.arguments.empty()) return {0, kSporeFailed, "no program is named"};
  const std::string& name = order.arguments.front();
  const std::string directory = order.directory.empty() ? "/tmp" : order.directory;
  const std::vector<char*> environment = Environment(order.variables);
  std::string path;
  if (auto problem = FindProgram(name, PathOf(environment), directory, path)) return *problem;
  std::vector<char*> arguments;
  for (const std::string& word : order.arguments)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Child child{path.c_str(),      arguments.data(), environment.data(),
              directory.c_str(), order.streams,    order.terminal};
  // As posix_spawn(3) does it, which cannot give a program its terminal. Nothing is copied.
  alignas(16) static char stack[64 << 10];
  const auto run = [](void* of) -> int { static_cast<Child*>(of)->Run(); };
  const pid_t pid = clone(run, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &child);
  if (pid < 0) {
    const int error = errno;
    return {0, kSporeFailed,
            name + ": cannot be started: " + strerrordesc_np(error) +
                (error == EAGAIN ? " (the session's limit pids)" : "")};
  }
  if (child.failed == nullptr) return {pid, 0, {}};
  (void)waitpid(pid, nullptr, 0);
  const char* failed = child.failed;
  if (strcmp(failed, "execve") == 0)
    return {0, kCannotRun, name + ": " + DescribeExecFailure(path, child.error)};
  const bool of_directory = strcmp(failed, "working directory") == 0;
  return {0, of_directory ? kCannotRun : kSporeFailed,
          std::string(failed) + (of_directory ? " " + directory : "") + ": " +
              strerrordesc_np(child.error)};
}

void PrepareEnvironment(const std::vector<std::string>& variables) {
  for (const char* name : {"LD_LIBRARY_PATH", "LD_PRELOAD"}) unsetenv(name);
  for (const std::string& variable : variables) {
    const size_t at = variable.find('=');
    if (at != variable.npos && at > 0)
      setenv(variable.substr(0, at).c_str(), variable.c_str() + at + 1, 1);
  }
}

}  // namespace spore
