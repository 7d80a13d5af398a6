#include "zygote/sfork/proc_text.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "sandbox/sys/unique_fd.h"

namespace spore {

bool ProcText::Read(const char* path) {
  size_ = 0;
  text_[0] = '\0';
  const UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  while (size_ < sizeof text_ - 1) {
    const ssize_t got = read(file.get(), text_ + size_, sizeof text_ - 1 - size_);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size_ += static_cast<size_t>(got);
  }
  text_[size_] = '\0';
  return true;
}

bool ProcText::ReadTask(pid_t tid, const char* file) {
  constexpr std::string_view kTask = "/proc/self/task/";
  char path[64];
  memcpy(path, kTask.data(), kTask.size());
  char* end = std::to_chars(path + kTask.size(), path + sizeof path, tid).ptr;
  *end++ = '/';
  const size_t length = strlen(file);
  if (end + length >= path + sizeof path) return false;
  memcpy(end, file, length + 1);
  return Read(path);
}

char ProcText::StateLetter() const {
  const size_t end = view().rfind(')');
  return end != std::string_view::npos && end + 2 < size_ ? text_[end + 2] : '?';
}

unsigned long ProcText::Mask(std::string_view name) const {
  const size_t at = view().find(name);
  return at == std::string_view::npos ? 0 : strtoul(text_ + at + name.size(), nullptr, 16);
}

ssize_t ListThreadIds(pid_t* tids, size_t capacity) {
  const UniqueFd directory(open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return -1;
  alignas(dirent64) char buffer[4096];
  size_t count = 0;
  for (;;) {
    const ssize_t got = getdents64(directory.get(), buffer, sizeof buffer);
    if (got < 0) return -1;
    if (got == 0) return static_cast<ssize_t>(count);
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      pid_t tid = 0;
      const char* end = entry->d_name + strlen(entry->d_name);
      if (std::from_chars(entry->d_name, end, tid).ptr != end) continue;
      if (count < capacity) tids[count] = tid;
      ++count;
    }
  }
}

}  // namespace spore
