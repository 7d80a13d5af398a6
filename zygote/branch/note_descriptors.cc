#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <set>

#include "zygote/branch/copy_descriptors.h"

namespace spore {
namespace {

constexpr int kFirstOwn = 4;  // below: the three streams and the channel
constexpr std::string_view kDeleted = " (deleted)";

std::string LinkOf(pid_t pid, int number) {
  char target[PATH_MAX];
  const ssize_t length =
      readlink(fmt::format("/proc/{}/fd/{}", pid, number).c_str(), target, sizeof target);
  return {target, length > 0 ? static_cast<size_t>(length) : 0};
}

Result<std::vector<int>> NumbersOf(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/fd", pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(path.c_str()), closedir);
  if (!list) return SysError("list", path);
  std::vector<int> numbers;
  while (const dirent* entry = readdir(list.get())) {
    int number = -1;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc())
      numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Result<OpenDescriptor> Note(pid_t pid, int number) {
  OpenDescriptor descriptor;
  descriptor.number = number;
  descriptor.link = LinkOf(pid, number);
  std::ifstream info(fmt::format("/proc/{}/fdinfo/{}", pid, number));
  for (std::string line; std::getline(info, line);) {
    const char* value = line.c_str() + line.find_first_of("0123456789");
    if (line.starts_with("pos:")) descriptor.position = strtoll(value, nullptr, 10);
    if (line.starts_with("flags:")) descriptor.flags = static_cast<int>(strtol(value, nullptr, 8));
  }
  if (descriptor.link.empty())
    return MakeError(ErrorKind::kInternal, "a descriptor cannot be looked at");
  descriptor.close_on_exec = (descriptor.flags & O_CLOEXEC) != 0;
  descriptor.flags &= ~O_CLOEXEC;
  return descriptor;
}

tl::unexpected<Error> Refuse(const OpenDescriptor& descriptor, const char* why) {
  return MakeError(ErrorKind::kPrecondition,
                   fmt::format("its interpreter has descriptor {} open ({}), {}", descriptor.number,
                               descriptor.link, why),
                   "close it before");
}

// What stands for a file: of what the kernel makes up by a name in brackets there is none.
Result<> ChooseWay(pid_t pid, OpenDescriptor& descriptor) {
  using Way = OpenDescriptor::Way;
  const std::string& link = descriptor.link;
  struct stat status {};
  if (stat(fmt::format("/proc/{}/fd/{}", pid, descriptor.number).c_str(), &status) < 0)
    return SysError("stat a descriptor");
  if (link.front() != '/') {
    const bool known = link.starts_with("pipe:[") || link.starts_with("socket:[") ||
                       link.starts_with("anon_inode:");
    if (!known) return Refuse(descriptor, "which cannot be made again");
    descriptor.way = Way::kMade;
    return {};
  }
  descriptor.way = Way::kPath;
  if (S_ISFIFO(status.st_mode)) return Refuse(descriptor, "a fifo, which others can open");
  if (!link.ends_with(kDeleted)) return {};
  const bool in_memory = link.starts_with("/tmp/") || link.starts_with("/dev/shm/");
  if (!S_ISREG(status.st_mode) || !in_memory)
    return Refuse(descriptor, "which has no name any more");
  descriptor.way = Way::kUnnamed;
  return {};
}

bool SameDescription(pid_t pid, int a, int b) {
  return syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0;
}

// Links of pipes and sockets that the agent holds the other end, or the same, of.
std::set<std::string> PipesOf(pid_t agent) {
  std::set<std::string> links;
  const auto numbers = NumbersOf(agent);
  if (!numbers) return links;
  for (const int number : *numbers) {
    std::string link = LinkOf(agent, number);
    if (link.starts_with("pipe:[")) links.insert(std::move(link));
  }
  return links;
}

}  // namespace

Result<std::vector<OpenDescriptor>> NoteDescriptors(pid_t pid, pid_t agent) {
  using Way = OpenDescriptor::Way;
  SPORE_ASSIGN(const std::vector<int> numbers, NumbersOf(pid));
  const std::set<std::string> to_agent = PipesOf(agent);
  std::map<std::string, int> given;  // of the source, by what they are
  std::vector<OpenDescriptor> all;
  for (const int number : numbers) {
    SPORE_ASSIGN(OpenDescriptor descriptor, Note(pid, number));
    const bool is_output = (number == 1 || number == 2) && to_agent.contains(descriptor.link);
    const bool is_channel = number == 3 && descriptor.link.starts_with("socket:[");
    if (is_output || is_channel) given.emplace(descriptor.link, number);
    const auto known = given.find(descriptor.link);
    if (known != given.end()) {
      descriptor.way = Way::kGiven;
      descriptor.same_as = known->second;
    } else {
      SPORE_TRY(ChooseWay(pid, descriptor));
    }
    for (const OpenDescriptor& before : all) {
      const bool opened = descriptor.way == Way::kPath || descriptor.way == Way::kUnnamed;
      if (!opened || before.link != descriptor.link || before.way == Way::kSame) continue;
      if (!SameDescription(pid, before.number, number)) continue;
      descriptor.way = Way::kSame;
      descriptor.same_as = before.number;
      break;
    }
    all.push_back(std::move(descriptor));
  }
  const auto channel = std::find_if(all.begin(), all.end(), [](const OpenDescriptor& one) {
    return one.number == kFirstOwn - 1 && one.way == Way::kGiven;
  });
  if (channel != all.end()) return all;
  return MakeError(ErrorKind::kPrecondition,
                   "its interpreter has closed its channel (descriptor 3)");
}

}  // namespace spore
