#include "daemon/common/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace spore {
namespace {

// Of a line such as "Pss:   123 kB", in bytes.
uint64_t Line(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == text.npos) return 0;
  const size_t digits = text.find_first_not_of(' ', at + key.size());
  if (digits == text.npos) return 0;
  uint64_t kilobytes = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), kilobytes);
  return kilobytes * 1024;
}

// The file has some 800 bytes and comes in one read.
std::string Read(const UniqueFd& memory) {
  if (!memory) return {};
  char buffer[4096];
  const ssize_t size = read(memory.get(), buffer, sizeof buffer);
  return size > 0 ? std::string(buffer, static_cast<size_t>(size)) : std::string();
}

}  // namespace

UniqueFd OpenProcessMemory(pid_t pid) {
  const std::string who = pid == 0 ? "self" : std::to_string(pid);
  return UniqueFd(open(("/proc/" + who + "/smaps_rollup").c_str(), O_RDONLY | O_CLOEXEC));
}

uint64_t ReadProcessMemory(const UniqueFd& memory, uint64_t flat_bytes) {
  const std::string text = Read(memory);
  const uint64_t pss = Line(text, "\nPss:");
  if (pss == 0 || flat_bytes == 0) return pss;
  // Pages of the file that somebody has mapped are in there, and are counted with the file.
  const uint64_t mapped = Line(text, "\nPss_Shmem:");
  return pss - std::min(pss, mapped) + flat_bytes;
}

uint64_t ReadUniqueMemory(const UniqueFd& memory) {
  const std::string text = Read(memory);
  return Line(text, "\nPrivate_Clean:") + Line(text, "\nPrivate_Dirty:");
}

}  // namespace spore
