// Descriptors made anew in a child, from the notes. No allocation, no lock.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "sandbox/sys/unique_fd.h"
#include "zygote/sfork/descriptor_table.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

namespace spore {
namespace {

// Puts `fresh` under each number that the note has, and closes it.
StepResult Place(UniqueFd fresh, const OpenFileNote& file) {
  // F_SETFL knows these and leaves the access mode alone. What has them from birth is spared the
  // call.
  constexpr int kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
  const int flags = fcntl(fresh.get(), F_GETFL);
  if ((flags & kSettable) != (file.status_flags & kSettable) &&
      fcntl(fresh.get(), F_SETFL, file.status_flags & kSettable) < 0) {
    return StepFailed("fcntl F_SETFL of a renewed descriptor");
  }
  for (const OpenFileNote::Number& number : file.numbers) {
    if (dup3(fresh.get(), number.fd, number.close_on_exec ? O_CLOEXEC : 0) < 0)
      return StepFailed("dup3 of a renewed descriptor");
  }
  return StepOk();
}

int Nonblocking(const OpenFileNote& file) {
  return file.status_flags & O_NONBLOCK;
}

// The file itself, not its name: it may have been removed or replaced. The zygote's /proc knows the
// child as "self" while the child is in its mount namespace.
StepResult RenewFile(const OpenFileNote& file) {
  constexpr std::string_view kDirectory = "/proc/self/fd/";
  char path[32] = {};
  memcpy(path, kDirectory.data(), kDirectory.size());
  *std::to_chars(path + kDirectory.size(), path + sizeof path - 1, file.fd()).ptr = '\0';
  UniqueFd fresh(open(path, (file.status_flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC));
  if (!fresh) return StepFailed("open a file of the runtime again");
  if (file.offset > 0 && lseek(fresh.get(), file.offset, SEEK_SET) < 0)
    return StepFailed("lseek in a file of the runtime");
  return Place(std::move(fresh), file);
}

StepResult RenewEventfd(const OpenFileNote& file) {
  // The call takes 32 bits of initial value; the counter has 64.
  const auto first = static_cast<unsigned>(file.count > UINT32_MAX ? 0 : file.count);
  UniqueFd fresh(
      eventfd(first, EFD_CLOEXEC | Nonblocking(file) | (file.semaphore ? EFD_SEMAPHORE : 0)));
  if (!fresh || (file.count > UINT32_MAX && eventfd_write(fresh.get(), file.count) < 0))
    return StepFailed("renew an eventfd");
  return Place(std::move(fresh), file);
}

StepResult RenewTimerfd(const OpenFileNote& file) {
  UniqueFd fresh(timerfd_create(file.clock, TFD_CLOEXEC | Nonblocking(file)));
  if (!fresh) return StepFailed("renew a timerfd");
  const bool armed = file.timer.it_value.tv_sec != 0 || file.timer.it_value.tv_nsec != 0;
  if (armed && timerfd_settime(fresh.get(), TFD_TIMER_ABSTIME | file.timer_flags, &file.timer,
                               nullptr) < 0) {
    return StepFailed("set a renewed timerfd");
  }
  if (file.count != 0 && ioctl(fresh.get(), TFD_IOC_SET_TICKS, &file.count) < 0)
    return StepFailed("set the expirations of a renewed timerfd");
  return Place(std::move(fresh), file);
}

StepResult RenewSignalfd(const OpenFileNote& file) {
  // The kernel's set has 8 bytes, glibc's 128. The call is raw so that nothing stands in front of
  // it.
  UniqueFd fresh(
      static_cast<int>(syscall(SYS_signalfd4, -1, &file.signal_mask, sizeof file.signal_mask,
                               SFD_CLOEXEC | Nonblocking(file))));
  if (!fresh) return StepFailed("renew a signalfd");
  return Place(std::move(fresh), file);
}

// Puts into one end what the other could read.
bool Fill(int fd, const std::vector<char>& content) {
  for (size_t done = 0; done < content.size();) {
    const ssize_t put = write(fd, content.data() + done, content.size() - done);
    if (put <= 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

// `second` is null for an end whose other is closed: then so is the new one's.
StepResult RenewPipe(const OpenFileNote& first, const OpenFileNote* second) {
  const bool first_reads = (first.status_flags & O_ACCMODE) == O_RDONLY;
  const OpenFileNote* reader = first_reads ? &first : second;
  const OpenFileNote* writer = first_reads ? second : &first;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | Nonblocking(first)) < 0) return StepFailed("renew a pipe");
  UniqueFd in(ends[0]), out(ends[1]);
  constexpr int kUsualCapacity = 65536;
  if (first.capacity != kUsualCapacity && fcntl(in.get(), F_SETPIPE_SZ, first.capacity) < 0)
    return StepFailed("size a renewed pipe");
  if (reader != nullptr && !Fill(out.get(), reader->unread))
    return StepFailed("fill a renewed pipe");
  if (reader != nullptr) {
    if (StepResult r = Place(std::move(in), *reader); !r.ok()) return r;
  }
  if (writer != nullptr) return Place(std::move(out), *writer);
  return StepOk();
}

StepResult RenewSocketPair(const OpenFileNote& first, const OpenFileNote* second) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | Nonblocking(first), 0, ends) < 0)
    return StepFailed("renew a socket pair");
  UniqueFd a(ends[0]), b(ends[1]);
  if (!Fill(b.get(), first.unread) || (second != nullptr && !Fill(a.get(), second->unread)))
    return StepFailed("fill a renewed socket pair");
  // Either end may have been shut; to its peer it is the same.
  if (first.no_more_to_read && second != nullptr && shutdown(a.get(), SHUT_RD) < 0)
    return StepFailed("shut a renewed socket");
  if (second != nullptr && second->no_more_to_read && shutdown(b.get(), SHUT_RD) < 0)
    return StepFailed("shut a renewed socket");
  if (StepResult r = Place(std::move(a), first); !r.ok()) return r;
  if (second != nullptr) return Place(std::move(b), *second);
  return StepOk();
}

StepResult RenewPlain(UniqueFd fresh, const char* operation, const OpenFileNote& file) {
  if (!fresh) return StepFailed(operation);
  return Place(std::move(fresh), file);
}

StepResult RenewOne(const OpenFileNote& file, const OpenFileNote* peer) {
  switch (file.kind) {
    case OpenFileKind::kShared:
      return StepOk();
    case OpenFileKind::kFile:
      return RenewFile(file);
    case OpenFileKind::kEventfd:
      return RenewEventfd(file);
    case OpenFileKind::kTimerfd:
      return RenewTimerfd(file);
    case OpenFileKind::kSignalfd:
      return RenewSignalfd(file);
    case OpenFileKind::kInotify:
      return RenewPlain(UniqueFd(inotify_init1(IN_CLOEXEC)), "renew an inotify", file);
    case OpenFileKind::kEpoll:
      return RenewPlain(UniqueFd(epoll_create1(EPOLL_CLOEXEC)), "renew an epoll set", file);
    case OpenFileKind::kPipe:
      return RenewPipe(file, peer);
    case OpenFileKind::kSocketPair:
      return RenewSocketPair(file, peer);
  }
  return StepOk();
}

}  // namespace

StepResult DescriptorTable::RenewWatches(const OpenFileNote& set) const {
  for (const WatchNote& watch : set.watches) {
    epoll_event event{};
    event.events = watch.events;
    event.data.u64 = watch.data;
    if (epoll_ctl(set.fd(), EPOLL_CTL_ADD, watch.fd, &event) < 0)
      return StepFailed("fill a renewed epoll set");
  }
  return StepOk();
}

StepResult DescriptorTable::Renew() const {
  for (size_t i = 0; i < files_.size(); ++i) {
    const int peer = files_[i].peer;
    if (peer >= 0 && static_cast<size_t>(peer) < i) continue;  // made together with it
    const OpenFileNote* other = peer >= 0 ? &files_[static_cast<size_t>(peer)] : nullptr;
    if (StepResult r = RenewOne(files_[i], other); !r.ok()) return r;
  }
  // Sets last, when all that they watch is there, other sets among it.
  for (const OpenFileNote& file : files_) {
    if (StepResult r = RenewWatches(file); !r.ok()) return r;
  }
  return StepOk();
}

}  // namespace spore
