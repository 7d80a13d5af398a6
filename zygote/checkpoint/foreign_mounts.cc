#include "zygote/checkpoint/foreign_mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>

#include "sandbox/root_fs.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr const char* kName = "mounts";

// proc(5): number, parent, device, root, place, and the rest.
struct Line {
  std::string number, parent, device, root, place, rest;
};

std::vector<Line> Parse(const std::string& text) {
  std::vector<Line> lines;
  std::istringstream all(text);
  for (std::string one; std::getline(all, one);) {
    Line line;
    std::istringstream words(one);
    words >> line.number >> line.parent >> line.device >> line.root >> line.place;
    std::getline(words, line.rest);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::string JoinMounts(const std::string& own, const std::string& others) {
  std::set<std::string> numbers;
  std::string root;
  for (const Line& line : Parse(own)) {
    numbers.insert(line.number);
    if (line.place == "/") root = line.number;
  }
  std::string joined = own;
  for (const Line& line : Parse(others)) {
    if (!numbers.insert(line.number).second) continue;
    joined += fmt::format("{} {} {} {} /run/spore/mount-{}{}\n", line.number, root, line.device,
                          line.root, line.number, line.rest);
  }
  return joined;
}

std::string ReadMounts(pid_t pid) {
  const std::ifstream file(fmt::format("/proc/{}/mountinfo", pid));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<> ShowMounts(const std::string& image, const std::vector<pid_t>& pids) {
  const std::string path = std::string(kCheckpointPlace) + "/" + kName;
  const std::string text = JoinMounts(ReadMounts(getpid()), image);
  const UniqueFd file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
  if (!file) return SysError("make", path);
  if (fchmod(file.get(), 0444) < 0) return SysError("chmod", path);
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return SysError("write", path);
  for (const pid_t pid : pids) {
    const std::string place = fmt::format("/proc/{}/mountinfo", pid);
    if (mount(path.c_str(), place.c_str(), nullptr, MS_BIND, nullptr) < 0)
      return SysError("bind", place);
  }
  if (unlink(path.c_str()) < 0) return SysError("remove", path);
  return {};
}

}  // namespace spore
