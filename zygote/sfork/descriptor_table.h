// The runtime's own descriptors: what they are, noted once at the freeze, and made anew in a child.
//
// After a fork an epoll set, an eventfd, a pipe, the offset of a file are still those of the zygote
// and so of every other child. Renewed, they have the same numbers, flags and contents, and nobody
// else has them.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"
#include "zygote/sfork/sfork_types.h"

namespace spore {

enum class OpenFileKind {
  kShared,  // left as it is: nothing in it changes (/dev/null)
  kFile,    // for reading only; opened again, so that the offset is the child's own
  kEventfd,
  kTimerfd,
  kSignalfd,
  kInotify,  // without watches
  kEpoll,
  kPipe,
  kSocketPair,  // of streams
};

// What an epoll set watches: a line of its fdinfo.
struct WatchNote {
  int fd = -1;
  uint32_t events = 0;
  uint64_t data = 0;
};

// An open file description, under one number or several (dup(2)).
struct OpenFileNote {
  struct Number {
    int fd = -1;
    bool close_on_exec = false;
  };

  OpenFileKind kind = OpenFileKind::kShared;
  std::vector<Number> numbers;  // not empty
  int status_flags = 0;         // F_GETFL
  ino_t inode = 0;

  off_t offset = 0;                // kFile
  uint64_t count = 0;              // kEventfd; kTimerfd: unread expirations
  bool semaphore = false;          // kEventfd
  int clock = 0, timer_flags = 0;  // kTimerfd
  itimerspec timer{};              // kTimerfd, by its clock's absolute time
  uint64_t signal_mask = 0;        // kSignalfd
  std::vector<WatchNote> watches;  // kEpoll
  int peer = -1;                   // kPipe, kSocketPair: index of the other end; -1: closed
  int capacity = 0;                // kPipe
  std::vector<char> unread;        // kPipe, kSocketPair: what this end can read
  bool no_more_to_read = false;    // kSocketPair

  int fd() const { return numbers.front().fd; }
};

class DescriptorTable {
 public:
  // Of all of `open` but those in `allowed`. An Error names the first that cannot be renewed;
  // without `renew`, the first that would have to be. Threads must be stopped: pipes are emptied
  // and filled again.
  static Result<DescriptorTable> Note(std::span<const DescriptorNote> open,
                                      std::span<const int> allowed, bool renew);

  // In a child.
  StepResult Renew() const;

  // Ascending.
  const std::vector<int>& numbers() const { return numbers_; }

 private:
  Result<> AddNumber(const DescriptorNote& note);
  Result<> NoteWatches(std::span<const DescriptorNote> open);
  StepResult RenewWatches(const OpenFileNote& set) const;

  std::vector<OpenFileNote> files_;
  std::vector<int> numbers_;
};

// Whether two numbers are one open file description. Works on every kernel and without kcmp(2): on
// kernels before 6.10 a status flag is set on one and looked for on the other.
bool SameDescription(int a, int b);

// The error for a descriptor that cannot be copied.
tl::unexpected<Error> RefuseDescriptor(int fd, const std::string& why, std::string_view hint = {});

// ---- what descriptor_kinds.cc and descriptor_pairs.cc know of one file each ----
Result<OpenFileNote> NoteFile(const DescriptorNote& note);
// Finds the other ends of pipes and socket pairs and reads what is in them.
Result<> NotePairs(std::vector<OpenFileNote>& files);

}  // namespace spore
