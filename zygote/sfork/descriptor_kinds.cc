// What /proc/self/fdinfo tells of each kind of descriptor (proc(5)).
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/audit.h"
#include "zygote/sfork/descriptor_table.h"

namespace spore {
namespace {

std::string LinkOf(int fd) {
  char target[512];
  const ssize_t length =
      readlink(("/proc/thread-self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return {target, length > 0 ? static_cast<size_t>(length) : 0};
}

// The lines of fdinfo; a value by the name before its colon.
class FdInfo {
 public:
  explicit FdInfo(int fd) {
    std::ifstream file("/proc/thread-self/fdinfo/" + std::to_string(fd));
    for (std::string line; std::getline(file, line);) lines_.push_back(line);
  }
  const std::vector<std::string>& lines() const { return lines_; }
  const char* Text(std::string_view name) const {
    for (const std::string& line : lines_)
      if (line.compare(0, name.size(), name) == 0 && line[name.size()] == ':')
        return line.c_str() + name.size() + 1;
    return nullptr;
  }
  bool Has(std::string_view name) const { return Text(name) != nullptr; }
  uint64_t Number(std::string_view name, int base) const {
    const char* text = Text(name);
    return text == nullptr ? 0 : strtoull(text, nullptr, base);
  }
  // "(seconds, nanoseconds)"
  timespec Time(std::string_view name) const {
    timespec time{};
    const char* text = Text(name);
    if (text == nullptr) return time;
    char* end = nullptr;
    while (*text == ' ' || *text == '(') ++text;
    time.tv_sec = strtoll(text, &end, 10);
    while (*end == ' ' || *end == ',') ++end;
    time.tv_nsec = strtol(end, nullptr, 10);
    return time;
  }

 private:
  std::vector<std::string> lines_;
};

// Kernels before 6.5 do not tell. With every thread stopped nobody sees the counter changed for a
// moment: of 2 more, a semaphore gives 1, and any other all that it has.
bool IsSemaphore(int fd, uint64_t count, const FdInfo& info) {
  if (info.Has("eventfd-semaphore")) return info.Number("eventfd-semaphore", 10) != 0;
  eventfd_t value = 0;
  if (count > UINT64_MAX - 8 || eventfd_write(fd, 2) < 0 || eventfd_read(fd, &value) < 0)
    return false;
  if (value != 1 || count + 2 == 1) {
    if (count != 0) (void)eventfd_write(fd, count);
    return false;
  }
  (void)eventfd_read(fd, &value);
  return true;
}

void NoteEventfd(OpenFileNote& file, const FdInfo& info) {
  file.kind = OpenFileKind::kEventfd;
  file.count = info.Number("eventfd-count", 16);
  file.semaphore = IsSemaphore(file.fd(), file.count, info);
}

Result<> NoteTimerfd(OpenFileNote& file, const FdInfo& info) {
  file.kind = OpenFileKind::kTimerfd;
  file.clock = static_cast<int>(info.Number("clockid", 10));
  file.count = info.Number("ticks", 10);
  file.timer_flags = static_cast<int>(info.Number("settime flags", 8)) & TFD_TIMER_CANCEL_ON_SET;
  file.timer.it_interval = info.Time("it_interval");
  const timespec left = info.Time("it_value"), interval = file.timer.it_interval;
  if (left.tv_sec == 0 && left.tv_nsec == 0) {
    // Disarmed, or done; but a periodic timer that has expired waits for a read(2) before it goes
    // on. It is to expire again at once, in place of the expiration that was not read.
    const bool periodic = interval.tv_sec != 0 || interval.tv_nsec != 0;
    if (!periodic || file.count == 0) return {};
    file.count = 0;
  }
  if (file.clock != CLOCK_MONOTONIC && file.clock != CLOCK_REALTIME && file.clock != CLOCK_BOOTTIME)
    return RefuseDescriptor(file.fd(), "is a timer that may wake the machine");
  // What is left is noted as the time at which nothing will be.
  timespec now{};
  if (clock_gettime(file.clock, &now) < 0) return SysError("clock_gettime");
  file.timer.it_value = {.tv_sec = now.tv_sec + left.tv_sec, .tv_nsec = now.tv_nsec + left.tv_nsec};
  if (file.timer.it_value.tv_nsec >= 1'000'000'000) {
    file.timer.it_value.tv_nsec -= 1'000'000'000;
    ++file.timer.it_value.tv_sec;
  }
  return {};
}

// "tfd:        5 events:       19 data:                5  pos:0 ino:61 sdev:10"
Result<> NoteEpoll(OpenFileNote& file, const FdInfo& info) {
  file.kind = OpenFileKind::kEpoll;
  for (const std::string& line : info.lines()) {
    if (line.compare(0, 4, "tfd:") != 0) continue;
    WatchNote watch;
    uint64_t inode = 0, device = 0;
    if (sscanf(line.c_str(),
               "tfd: %d events: %" SCNx32 " data: %" SCNx64 " pos:%*i ino:%" SCNx64
               " sdev:%" SCNx64,
               &watch.fd, &watch.events, &watch.data, &inode, &device) != 5) {
      return RefuseDescriptor(file.fd(),
                              "is an epoll set that the kernel describes as '" + line + "'");
    }
    // The set knows the file, whatever its number names by now.
    struct stat status {};
    if (fstat(watch.fd, &status) < 0 || status.st_ino != inode) {
      return RefuseDescriptor(file.fd(),
                              "is an epoll set that watches a file which was descriptor " +
                                  std::to_string(watch.fd) + " and is it no more");
    }
    file.watches.push_back(watch);
  }
  return {};
}

Result<> NoteInotify(OpenFileNote& file, const FdInfo& info) {
  file.kind = OpenFileKind::kInotify;
  for (const std::string& line : info.lines()) {
    if (line.compare(0, 11, "inotify wd:") == 0)
      return RefuseDescriptor(file.fd(), "watches files (" + line + ")",
                              "remove its watches before the freeze");
  }
  return {};
}

Result<> NoteAnonymous(OpenFileNote& file, const std::string& link) {
  const FdInfo info(file.fd());
  if (link == "anon_inode:[eventfd]") {
    NoteEventfd(file, info);
    return {};
  }
  if (link == "anon_inode:[timerfd]") return NoteTimerfd(file, info);
  if (link == "anon_inode:[eventpoll]") return NoteEpoll(file, info);
  if (link == "anon_inode:inotify" || link == "anon_inode:[inotify]")
    return NoteInotify(file, info);
  if (link == "anon_inode:[signalfd]") {
    file.kind = OpenFileKind::kSignalfd;
    file.signal_mask = info.Number("sigmask", 16);
    return {};
  }
  if (link == "anon_inode:[io_uring]")
    return RefuseDescriptor(file.fd(), "is an io_uring, whose memory its children would share",
                            "turn it off: libuv UV_USE_IO_URING=0");
  return RefuseDescriptor(file.fd(), "is of a kind that cannot be made anew");
}

Result<> NoteRegular(OpenFileNote& file) {
  if ((file.status_flags & O_PATH) != 0) return {};  // no offset, nothing to read
  if ((file.status_flags & O_ACCMODE) != O_RDONLY)
    return RefuseDescriptor(file.fd(), "is open for writing", "close it before the freeze");
  file.kind = OpenFileKind::kFile;
  file.offset = lseek(file.fd(), 0, SEEK_CUR);
  const UniqueFd again(
      open(("/proc/thread-self/fd/" + std::to_string(file.fd())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!again) {
    const int error = errno;
    return RefuseDescriptor(file.fd(), std::string("cannot be opened again: ") + strerror(error));
  }
  return {};
}

}  // namespace

tl::unexpected<Error> RefuseDescriptor(int fd, const std::string& why, std::string_view hint) {
  return MakeError(ErrorKind::kPrecondition,
                   "the zygote holds descriptor " + DescribeDescriptor(fd) + ", which " + why,
                   hint);
}

bool SameDescription(int a, int b) {
  constexpr int kDupfdQuery = 1027;  // F_DUPFD_QUERY, since 6.10
  if (const int answer = fcntl(a, kDupfdQuery, b); answer >= 0) return answer == 1;
  const int before_a = fcntl(a, F_GETFL), before_b = fcntl(b, F_GETFL);
  if (before_a < 0 || before_a != before_b) return false;
  if (fcntl(a, F_SETFL, before_a ^ O_NONBLOCK) < 0) return false;
  const bool same = fcntl(b, F_GETFL) == (before_a ^ O_NONBLOCK);
  (void)fcntl(a, F_SETFL, before_a);
  return same;
}

Result<OpenFileNote> NoteFile(const DescriptorNote& note) {
  OpenFileNote file;
  const int flags = fcntl(note.fd, F_GETFD);
  file.status_flags = fcntl(note.fd, F_GETFL);
  if (flags < 0 || file.status_flags < 0) return SysError("fcntl", DescribeDescriptor(note.fd));
  file.numbers.push_back({note.fd, (flags & FD_CLOEXEC) != 0});
  file.inode = note.inode;
  const std::string link = LinkOf(note.fd);
  if (link.compare(0, 11, "anon_inode:") == 0) {
    SPORE_TRY(NoteAnonymous(file, link));
  } else if (S_ISREG(note.mode) || S_ISDIR(note.mode) || S_ISLNK(note.mode)) {
    SPORE_TRY(NoteRegular(file));
  } else if (S_ISFIFO(note.mode) && link.compare(0, 6, "pipe:[") == 0) {
    file.kind = OpenFileKind::kPipe;
  } else if (S_ISSOCK(note.mode)) {
    file.kind = OpenFileKind::kSocketPair;  // or refused by NotePairs
  } else if (!S_ISCHR(note.mode)) {
    return RefuseDescriptor(note.fd, "its children would share");
  }
  return file;
}

}  // namespace spore
