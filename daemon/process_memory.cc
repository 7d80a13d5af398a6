#include "daemon/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace spore {

UniqueFd OpenProcessMemory(pid_t pid) {
  const std::string who = pid == 0 ? "self" : std::to_string(pid);
  return UniqueFd(open(("/proc/" + who + "/smaps_rollup").c_str(), O_RDONLY | O_CLOEXEC));
}

namespace {

// Bytes; 0 when there is no such line.
uint64_t Field(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == text.npos) return 0;
  const size_t digits = text.find_first_not_of(' ', at + key.size());
  if (digits == text.npos) return 0;
  uint64_t kilobytes = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), kilobytes);
  return kilobytes * 1024;
}

}  // namespace

uint64_t ReadProcessMemory(const UniqueFd& memory, uint64_t flat_bytes) {
  if (!memory) return 0;
  char buffer[4096];  // the file has some 800 bytes and comes in one read
  const ssize_t size = read(memory.get(), buffer, sizeof buffer);
  if (size <= 0) return 0;
  const std::string_view text(buffer, static_cast<size_t>(size));
  const uint64_t pss = Field(text, "\nPss:");
  if (pss == 0 || flat_bytes == 0) return pss;
  // Pages of the file that somebody has mapped are in there, and are counted with the file.
  const uint64_t mapped = Field(text, "\nPss_Shmem:");
  return pss - std::min(pss, mapped) + flat_bytes;
}

}  // namespace spore
