#include "sandbox/cgroup_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace spore {
namespace {

Result<std::string> ReadAll(int fd, std::string_view name) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SysError("read", name);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

Result<std::string> ReadFile(const std::string& path) {
  return ReadFileAt(AT_FDCWD, path.c_str());
}

Result<std::string> ReadFileAt(int directory, const char* name) {
  UniqueFd fd(openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return SysError("open", name);
  return ReadAll(fd.get(), name);
}

Result<> WriteFileAt(int directory, const char* name, std::string_view text) {
  UniqueFd fd(openat(directory, name, O_WRONLY | O_CLOEXEC));
  if (!fd) return SysError("open", name);
  if (write(fd.get(), text.data(), text.size()) < 0)
    return SysError("write '" + std::string(text) + "' to", name);
  return {};
}

bool ExistsAt(int directory, const char* name) {
  return faccessat(directory, name, F_OK, 0) == 0;
}

Result<UniqueFd> OpenDirectory(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return SysError("open", path);
  return fd;
}

uint64_t ReadNumberAt(int directory, const char* name, uint64_t fallback) {
  auto text = ReadFileAt(directory, name);
  if (!text) return fallback;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  return error == std::errc() && end != text->data() ? value : fallback;
}

uint64_t KeyedNumber(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.size() > key.size() && line.substr(0, key.size()) == key && line[key.size()] == ' ') {
      line.remove_prefix(key.size() + 1);
      uint64_t value = 0;
      std::from_chars(line.data(), line.data() + line.size(), value);
      return value;
    }
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
  }
  return 0;
}

}  // namespace spore
