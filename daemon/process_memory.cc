#include "daemon/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>

namespace spore {

UniqueFd OpenProcessMemory(pid_t pid) {
  const std::string who = pid == 0 ? "self" : std::to_string(pid);
  return UniqueFd(open(("/proc/" + who + "/smaps_rollup").c_str(), O_RDONLY | O_CLOEXEC));
}

uint64_t ReadProcessMemory(const UniqueFd& memory) {
  if (!memory) return 0;
  char buffer[4096];  // the file has some 800 bytes and comes in one read
  const ssize_t size = read(memory.get(), buffer, sizeof buffer);
  if (size <= 0) return 0;
  const std::string_view text(buffer, static_cast<size_t>(size));
  constexpr std::string_view kKey = "\nPss:";
  const size_t key = text.find(kKey);
  if (key == text.npos) return 0;
  const size_t digits = text.find_first_not_of(' ', key + kKey.size());
  if (digits == text.npos) return 0;
  uint64_t kilobytes = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), kilobytes);
  return kilobytes * 1024;
}

}  // namespace spore
