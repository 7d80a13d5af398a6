#include "zygote/hosts/native/program.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/program_check.h"
#include "zygote/hosts/native/environment.h"

namespace spore {
namespace {

using nlohmann::json;

constexpr int kSporeFailed = 125;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

[[noreturn]] void Refuse(int code, const std::string& name, const std::string& reason) {
  dprintf(STDERR_FILENO, "spore: %s: %s\n", name.c_str(), reason.c_str());
  _exit(code);
}

struct Program {
  std::string path;  // empty: argv[0] is to be looked up
  std::vector<std::string> argv;
};

// Takes the environment over, too.
Program ReadOrder() {
  const std::optional<HostFrame> frame = ReadFrame(kInstanceFd);
  if (!frame || frame->type != wire::FrameType::kLoad) _exit(kSporeFailed);
  const json load = json::parse(frame->body, nullptr, false);
  Program program;
  if (!load.is_object() || !load.contains("argv")) _exit(kSporeFailed);
  program.path = load.value("program", "");
  for (const json& word : load["argv"]) {
    if (!word.is_string()) _exit(kSporeFailed);
    program.argv.push_back(word.get<std::string>());
  }
  if (program.argv.empty()) _exit(kSporeFailed);
  // The host's own, for functions.
  unsetenv("LD_LIBRARY_PATH");
  TakeEnvironment(load);
  return program;
}

// In the PATH that the program will have, as execvp(3) does; but says what it has met.
std::string FindInPath(const std::string& name) {
  const char* variable = getenv("PATH");
  const std::string path = variable != nullptr ? variable : "";
  std::optional<ProgramProblem> met;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    at = end + 1;
    if (folder.empty()) continue;  // the working directory, in shells: never meant here
    const std::string candidate = folder + "/" + name;
    const std::optional<ProgramProblem> problem = CheckExecutable(candidate);
    if (!problem) return candidate;
    if (!problem->missing && !met) met = problem;
  }
  if (met) Refuse(kCannotRun, name, met->text);
  Refuse(kNotFound, name, "not found in the image (PATH is " + path + ")");
}

}  // namespace

void RunProgram() {
  Program program = ReadOrder();
  const std::string& name = program.argv.front();
  if (program.path.empty()) program.path = name.find('/') == name.npos ? FindInPath(name) : name;
  if (chdir("/tmp") < 0) _exit(kSporeFailed);
  if (const auto problem = CheckProgram(program.path))
    Refuse(problem->missing ? kNotFound : kCannotRun, name, problem->text);
  std::vector<char*> argv;
  for (std::string& word : program.argv) argv.push_back(word.data());
  argv.push_back(nullptr);
  execve(program.path.c_str(), argv.data(), environ);
  const int error = errno;
  Refuse(kCannotRun, name, DescribeExecFailure(program.path, error));
}

}  // namespace spore
