#include "zygote/branch/copy_descriptors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

using Way = OpenDescriptor::Way;
constexpr int kGivenCount = 4;
constexpr uint64_t kHere = static_cast<uint64_t>(AT_FDCWD);
// What open(2) does not take again.
constexpr int kOnce = O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_NOFOLLOW | O_TMPFILE;

// A socket whose one end the target has, under the number `there`.
struct Passage {
  UniqueFd here;
  uint64_t there = 0;
};

uint64_t Bits(int flags) {
  return static_cast<uint64_t>(static_cast<unsigned>(flags));
}

class Placer {
 public:
  Placer(pid_t source, int source_pidfd, const CopyTarget& target)
      : source_(source), source_pidfd_(source_pidfd), target_(target), bench_(*target.bench) {}

  Result<Passage> OpenPassage() {
    SPORE_TRY(bench_.thread.Make("socketpair", SYS_socketpair, AF_UNIX,
                                 SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bench_.scratch));
    SPORE_ASSIGN(const auto ends, (bench_.TakeStruct<std::array<int, 2>>()));
    Passage passage;
    passage.here.Reset(static_cast<int>(syscall(SYS_pidfd_getfd, target_.pidfd, ends[0], 0)));
    if (!passage.here) return SysError("pidfd_getfd");
    passage.there = Bits(ends[1]);
    SPORE_TRY(Close(Bits(ends[0])));
    return passage;
  }

  // The numbers that they have in the target.
  Result<std::vector<int>> Receive(const Passage& passage, size_t count) {
    std::vector<int> numbers;
    while (numbers.size() < count) {
      struct {
        iovec part;
        msghdr message;
        char byte;
        alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFds * sizeof(int))];
      } place{};
      const uintptr_t base = bench_.scratch;
      const auto at = [&](const void* member) {
        const auto* from = reinterpret_cast<const char*>(&place);
        return reinterpret_cast<void*>(
            base + static_cast<size_t>(static_cast<const char*>(member) - from));
      };
      place.part = {at(&place.byte), 1};
      place.message.msg_iov = static_cast<iovec*>(at(&place.part));
      place.message.msg_iovlen = 1;
      place.message.msg_control = at(place.control);
      place.message.msg_controllen = sizeof place.control;
      SPORE_ASSIGN(const uintptr_t placed, bench_.PlaceStruct(place));
      (void)placed;
      SPORE_TRY(bench_.thread.Make("recvmsg", SYS_recvmsg, passage.there,
                                   reinterpret_cast<uintptr_t>(at(&place.message)),
                                   MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      SPORE_TRY(bench_.memory.Read(base, &place, sizeof place));
      cmsghdr header{};
      memcpy(&header, place.control, sizeof header);
      if ((place.message.msg_flags & MSG_CTRUNC) != 0 || header.cmsg_type != SCM_RIGHTS ||
          header.cmsg_len > sizeof place.control) {
        return MakeError(ErrorKind::kOverloaded, "the limit of open files does not suffice");
      }
      const size_t got = (header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < got; ++i) {
        int number = -1;
        memcpy(&number, place.control + CMSG_LEN(0) + i * sizeof number, sizeof number);
        numbers.push_back(number);
      }
    }
    return numbers;
  }

  Result<> Close(uint64_t number) {
    SPORE_TRY(bench_.thread.Make("close", SYS_close, number));
    return {};
  }

  // Gives what is open as `from` the number that it shall have.
  Result<> Move(uint64_t from, const OpenDescriptor& to, bool keep) {
    const auto number = Bits(to.number);
    if (from == number) {
      SPORE_TRY(bench_.thread.Make("fcntl", SYS_fcntl, number, F_SETFD,
                                   to.close_on_exec ? FD_CLOEXEC : 0));
      return {};
    }
    SPORE_TRY(
        bench_.thread.Make("dup3", SYS_dup3, from, number, to.close_on_exec ? Bits(O_CLOEXEC) : 0));
    return keep ? Result<>() : Close(from);
  }

  Result<> Open(const OpenDescriptor& descriptor) {
    SPORE_ASSIGN(const uintptr_t path, bench_.PlaceText(descriptor.link));
    return OpenAt(path, descriptor);
  }

  // One that has been unlinked: its contents, in another one without a name.
  Result<> OpenUnnamed(const OpenDescriptor& descriptor) {
    const UniqueFd file(open(fmt::format("/proc/{}/fd/{}", source_, descriptor.number).c_str(),
                             O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!file || fstat(file.get(), &status) < 0) return SysError("open", descriptor.link);
    SPORE_ASSIGN(const Passage passage, OpenPassage());
    const char byte = 'f';
    const int fds[] = {file.get()};
    SPORE_TRY(SendMessage(passage.here.get(), std::as_bytes(std::span(&byte, 1)), fds));
    SPORE_ASSIGN(const std::vector<int> received, Receive(passage, 1));
    const uint64_t from = Bits(received.front());
    SPORE_ASSIGN(uintptr_t path,
                 bench_.PlaceText(descriptor.link.starts_with("/dev/shm/") ? "/dev/shm" : "/tmp"));
    SPORE_ASSIGN(const uint64_t to,
                 bench_.thread.Make("open O_TMPFILE", SYS_openat, kHere, path,
                                    Bits(O_TMPFILE | O_RDWR | O_CLOEXEC), status.st_mode & 07777));
    for (off_t left = status.st_size; left > 0;) {
      SPORE_ASSIGN(const uint64_t sent, bench_.thread.Make("sendfile", SYS_sendfile, to, from, 0,
                                                           static_cast<uint64_t>(left)));
      if (sent == 0) break;
      left -= static_cast<off_t>(sent);
    }
    for (const uint64_t number : {from, passage.there}) SPORE_TRY(Close(number));
    SPORE_ASSIGN(path, bench_.PlaceText(fmt::format("/proc/self/fd/{}", to)));
    SPORE_TRY(OpenAt(path, descriptor));
    // It may have had the very number by chance.
    return to == Bits(descriptor.number) ? Result<>() : Close(to);
  }

 private:
  Result<> OpenAt(uintptr_t path, const OpenDescriptor& descriptor) {
    auto opened = bench_.thread.Make("open", SYS_openat, kHere, path,
                                     Bits((descriptor.flags & ~kOnce) | O_CLOEXEC));
    if (!opened) {
      opened.error().object = fmt::format("{} (descriptor {})", descriptor.link, descriptor.number);
      return tl::unexpected(std::move(opened).error());
    }
    if (descriptor.position != 0) {
      SPORE_TRY(bench_.thread.Make("lseek", SYS_lseek, *opened,
                                   static_cast<uint64_t>(descriptor.position), SEEK_SET));
    }
    return Move(*opened, descriptor, false);
  }

  pid_t source_;
  int source_pidfd_;
  const CopyTarget& target_;
  Workbench& bench_;
};

// The copy's own, out of the way until the others have their numbers.
Result<> SetAside(Workbench& bench, int least, std::array<uint64_t, kGivenCount>& aside) {
  for (size_t i = 0; i < kGivenCount; ++i) {
    SPORE_ASSIGN(aside[i], bench.thread.Make("fcntl", SYS_fcntl, i, F_DUPFD_CLOEXEC, Bits(least)));
  }
  return {};
}

Result<> PlaceAll(Placer& placer, Workbench& bench, const std::vector<OpenDescriptor>& descriptors,
                  const std::vector<int>& received) {
  const int least = std::max(kGivenCount, descriptors.back().number + 1);
  // What came from the workshop may have a number that another one shall have: up with it.
  std::vector<uint64_t> made;
  for (const int number : received) {
    SPORE_ASSIGN(const uint64_t moved,
                 bench.thread.Make("fcntl", SYS_fcntl, Bits(number), F_DUPFD_CLOEXEC, Bits(least)));
    made.push_back(moved);
    SPORE_TRY(placer.Close(Bits(number)));
  }
  std::array<uint64_t, kGivenCount> aside{};
  SPORE_TRY(SetAside(bench, least, aside));
  // All of its own go: below, only what the source has.
  SPORE_TRY(bench.thread.Make("close_range", SYS_close_range, 0, Bits(least - 1), 0));
  size_t next = 0;
  for (const OpenDescriptor& descriptor : descriptors) {
    switch (descriptor.way) {
      case Way::kGiven:
        SPORE_TRY(placer.Move(aside[static_cast<size_t>(descriptor.same_as)], descriptor, true));
        break;
      case Way::kPath:
        SPORE_TRY(placer.Open(descriptor));
        break;
      case Way::kUnnamed:
        SPORE_TRY(placer.OpenUnnamed(descriptor));
        break;
      case Way::kMade:
        SPORE_TRY(placer.Move(made[next++], descriptor, false));
        break;
      case Way::kSame:
        SPORE_TRY(placer.Move(Bits(descriptor.same_as), descriptor, true));
        break;
    }
  }
  SPORE_TRY(bench.thread.Make("close_range", SYS_close_range, Bits(least), ~0u, 0));
  return {};
}

}  // namespace

Result<> CopyDescriptors(pid_t source, int source_pidfd,
                         const std::vector<OpenDescriptor>& descriptors,
                         const std::vector<CopyTarget>& targets) {
  const auto count = static_cast<size_t>(
      std::count_if(descriptors.begin(), descriptors.end(),
                    [](const OpenDescriptor& one) { return one.way == Way::kMade; }));
  std::vector<Placer> placers;
  std::vector<Passage> passages;
  std::vector<int> sockets;
  for (const CopyTarget& target : targets) {
    placers.emplace_back(source, source_pidfd, target);
    if (count == 0) continue;
    SPORE_ASSIGN(Passage passage, placers.back().OpenPassage());
    sockets.push_back(passage.here.get());
    passages.push_back(std::move(passage));
  }
  if (count > 0) SPORE_TRY(MakeDescriptors(source_pidfd, descriptors, targets, sockets));
  for (size_t i = 0; i < targets.size(); ++i) {
    std::vector<int> received;
    if (count > 0) {
      SPORE_ASSIGN(received, placers[i].Receive(passages[i], count));
      SPORE_TRY(placers[i].Close(passages[i].there));
    }
    SPORE_TRY(PlaceAll(placers[i], *targets[i].bench, descriptors, received));
  }
  return {};
}

}  // namespace spore
