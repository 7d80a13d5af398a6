#include "zygote/hosts/common/session_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "sandbox/sys/unique_fd.h"
#include "zygote/session_protocol.h"

namespace spore {
namespace {

using session::Op;
using session::Tag;
using session::Writer;

constexpr size_t kMost = 1024;
constexpr size_t kMostArguments = 4096;

std::string ReadProc(const std::string& path, size_t most) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string text(most, '\0');
  const ssize_t got = file ? read(file.get(), text.data(), text.size()) : 0;
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

// proc(5): "pid (name) state parent ..", where the name may hold anything.
bool PutStat(const std::string& stat, Writer& entry) {
  const size_t open = stat.find('('), close = stat.rfind(')');
  if (open == stat.npos || close == stat.npos || close < open) return false;
  std::istringstream rest(stat.substr(close + 1));
  std::string state;
  uint64_t parent = 0, skipped = 0, user = 0, system = 0, pages = 0;
  rest >> state >> parent;
  for (int field = 5; field < 14; ++field) rest >> skipped;
  rest >> user >> system;
  for (int field = 16; field < 24; ++field) {
    std::string any;  // some are negative
    rest >> any;
  }
  rest >> pages;
  if (state.empty()) return false;
  const auto ticks = static_cast<uint64_t>(std::max(1L, sysconf(_SC_CLK_TCK)));
  entry.Put(Tag::kName, stat.substr(open + 1, close - open - 1))
      .Put(Tag::kState, state.substr(0, 1))
      .PutNumber(Tag::kParent, parent)
      .PutNumber(Tag::kCpuUs, (user + system) * 1'000'000 / ticks)
      .PutNumber(Tag::kMemory, pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  return true;
}

}  // namespace

std::string ListProcesses(const std::function<uint32_t(pid_t)>& exec_of, pid_t interpreter) {
  Writer body(Op::kDone);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
  size_t count = 0;
  while (const dirent* found = folder ? readdir(folder.get()) : nullptr) {
    const auto pid = static_cast<pid_t>(strtol(found->d_name, nullptr, 10));
    if (pid <= 0 || count >= kMost || body.size() > session::kMaxChunk) continue;
    const std::string place = std::string("/proc/") + found->d_name;
    Writer entry;
    if (!PutStat(ReadProc(place + "/stat", 1024), entry)) continue;
    ++count;
    entry.PutNumber(Tag::kPid, static_cast<uint64_t>(pid)).PutNumber(Tag::kExecId, exec_of(pid));
    const uint64_t agent = pid == getpid() ? session::kAgent : 0;
    entry.PutNumber(Tag::kFlags, agent | (pid == interpreter ? session::kInterpreter : 0));
    const std::string words = ReadProc(place + "/cmdline", kMostArguments);
    for (size_t at = 0; at < words.size();) {
      const size_t end = std::min(words.find('\0', at), words.size());
      entry.Put(Tag::kArgument, words.substr(at, end - at));
      at = end + 1;
    }
    body.Put(Tag::kEntry, entry.body());
  }
  return body.Take();
}

}  // namespace spore
