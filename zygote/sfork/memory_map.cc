#include "zygote/sfork/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr uint64_t kKib = 1024;

// Takes a number and the one character behind it off the front.
template <typename T>
bool TakeNumber(std::string_view& text, T* value, int base, char follows) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  const auto length = static_cast<size_t>(end - text.data());
  if (error != std::errc{} || length == text.size() || *end != follows) return false;
  text.remove_prefix(length + 1);
  return true;
}

std::string_view TakeWord(std::string_view& text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  const size_t end = std::min(text.find(' ', begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

// "Name:    123 kB"
bool IsField(std::string_view line, std::string_view name, uint64_t* value) {
  if (line.substr(0, name.size()) != name) return false;
  line.remove_prefix(name.size());
  const std::string_view word = TakeWord(line);
  *value = 0;
  std::from_chars(word.data(), word.data() + word.size(), *value);
  return true;
}

// What is not known here may be lost by moving the memory, so it is not moved.
void TakeFlags(std::string_view flags, Region& region) {
  for (std::string_view flag; !(flag = TakeWord(flags)).empty();) {
    if (flag == "nr") {
      region.no_reserve = true;
    } else if (flag == "hg") {
      region.huge_pages = true;
    } else if (flag == "nh") {
      region.no_huge_pages = true;
    } else if (flag == "dd") {
      region.not_dumped = true;
    } else if (flag == "lo" || flag == "lf") {
      region.obstacle = Unmoved::kLocked;
    } else if (flag == "wf" || flag == "dp") {
      region.obstacle = Unmoved::kWiped;
    } else if (flag == "ht") {
      region.obstacle = Unmoved::kHuge;
    } else if (flag == "gd") {
      region.obstacle = Unmoved::kStack;
    } else if (flag != "rd" && flag != "wr" && flag != "ex" && flag != "mr" && flag != "mw" &&
               flag != "me" && flag != "ac" && flag != "sd") {
      region.obstacle = Unmoved::kOther;
    }
  }
}

// A plain piece of the process's own memory: brk's, one without a name, or with a name that the
// program gave it (PR_SET_VMA_ANON_NAME).
bool IsAnonymous(const MapLine& line) {
  return !line.shared && line.inode == 0 && line.device == 0 &&
         (line.name.empty() || line.name == "[heap]" || line.name == "[stack]" ||
          line.name.substr(0, 6) == "[anon:");
}

}  // namespace

bool ProcLines::Fill() {
  if (begin_ > 0) memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  ssize_t got = 0;
  do {
    got = read(fd_, buffer_.data() + end_, buffer_.size() - end_);
  } while (got < 0 && errno == EINTR);
  if (got < 0) failed_ = true;
  if (got <= 0) return false;
  end_ += static_cast<size_t>(got);
  return true;
}

bool ProcLines::Next() {
  for (;;) {
    const std::string_view all(buffer_.data() + begin_, end_ - begin_);
    const size_t newline = all.find('\n');
    const bool full = begin_ == 0 && end_ == buffer_.size();
    if (newline == std::string_view::npos && !full && Fill()) continue;
    if (all.empty() || failed_) return false;
    const size_t length = newline == std::string_view::npos ? all.size() : newline;
    line_ = all.substr(0, length);
    begin_ += std::min(length + 1, all.size());
    return true;
  }
}

bool MapLine::Parse(std::string_view line) {
  // Fields of smaps begin with a capital, addresses with a digit or a small letter.
  if (line.empty() || (line[0] >= 'A' && line[0] <= 'Z')) return false;
  if (!TakeNumber(line, &begin, 16, '-') || !TakeNumber(line, &end, 16, ' ')) return false;
  const std::string_view access = TakeWord(line);
  if (access.size() != 4) return false;
  protection = (access[0] == 'r' ? PROT_READ : 0) | (access[1] == 'w' ? PROT_WRITE : 0) |
               (access[2] == 'x' ? PROT_EXEC : 0);
  shared = access[3] == 's';
  const std::string_view start = TakeWord(line);
  offset = 0;
  std::from_chars(start.data(), start.data() + start.size(), offset, 16);
  std::string_view numbers = TakeWord(line);
  unsigned major = 0, minor = 0;
  if (!TakeNumber(numbers, &major, 16, ':')) return false;
  std::from_chars(numbers.data(), numbers.data() + numbers.size(), minor, 16);
  device = makedev(major, minor);
  const std::string_view number = TakeWord(line);
  inode = 0;
  std::from_chars(number.data(), number.data() + number.size(), inode);
  const size_t at = line.find_first_not_of(' ');
  name = at == std::string_view::npos ? std::string_view() : line.substr(at);
  return true;
}

const char* NameOf(Unmoved reason) {
  static constexpr const char* kNames[] = {"",
                                           "in small pieces",
                                           "of the stack",
                                           "locked in memory",
                                           "wiped in children",
                                           "of huge pages",
                                           "under a protection key",
                                           "not readable",
                                           "of another kind",
                                           "beyond the number of mappings",
                                           "that the kernel refused to move"};
  static_assert(std::size(kNames) == static_cast<size_t>(Unmoved::kReasons));
  return kNames[static_cast<size_t>(reason)];
}

ssize_t ReadRegions(std::span<Region> regions, std::span<char> buffer) {
  // Of a process whose first thread has ended, /proc/self shows no memory.
  const UniqueFd smaps(open("/proc/thread-self/smaps", O_RDONLY | O_CLOEXEC));
  if (!smaps) return -1;
  ProcLines lines(smaps.get(), buffer);
  MapLine mapping;
  Region region;
  size_t count = 0;
  bool wanted = false;
  constexpr std::string_view kFlags = "VmFlags:";
  while (lines.Next()) {
    const std::string_view line = lines.line();
    uint64_t value = 0;
    if (mapping.Parse(line)) {
      wanted = IsAnonymous(mapping);
      region = {.begin = mapping.begin, .end = mapping.end, .protection = mapping.protection};
    } else if (!wanted) {
      continue;
    } else if (IsField(line, "Anonymous:", &value) || IsField(line, "Swap:", &value) ||
               IsField(line, "Private_Hugetlb:", &value)) {
      region.bytes += value * kKib;
    } else if (IsField(line, "ProtectionKey:", &value)) {
      if (value != 0) region.obstacle = Unmoved::kKey;
    } else if (line.substr(0, kFlags.size()) == kFlags) {
      if ((region.protection & PROT_READ) == 0) region.obstacle = Unmoved::kUnreadable;
      TakeFlags(line.substr(kFlags.size()), region);
      if (region.bytes == 0) continue;
      if (count == regions.size()) {
        errno = E2BIG;
        return -1;
      }
      regions[count++] = region;
    }
  }
  return lines.failed() ? -1 : static_cast<ssize_t>(count);
}

}  // namespace spore
