#include "zygote/sfork/descriptor_table.h"

#include <fcntl.h>

#include <algorithm>

#include "zygote/sfork/audit.h"

namespace spore {
namespace {

bool Contains(std::span<const int> numbers, int fd) {
  return std::find(numbers.begin(), numbers.end(), fd) != numbers.end();
}

// Without renewal: what its children may share as it is.
bool HarmlessToShare(const DescriptorNote& note) {
  if (S_ISCHR(note.mode)) return true;  // the image's /dev holds null, zero, full and random only
  const int flags = fcntl(note.fd, F_GETFL);
  return S_ISREG(note.mode) && flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
}

}  // namespace

Result<> DescriptorTable::AddNumber(const DescriptorNote& note) {
  SPORE_ASSIGN(OpenFileNote file, NoteFile(note));
  for (OpenFileNote& known : files_) {
    if (known.kind != file.kind || known.inode != file.inode) continue;
    if (!SameDescription(known.fd(), note.fd)) continue;
    known.numbers.push_back(file.numbers.front());
    return {};
  }
  files_.push_back(std::move(file));
  return {};
}

Result<> DescriptorTable::NoteWatches(std::span<const DescriptorNote> open) {
  for (const OpenFileNote& set : files_) {
    for (const WatchNote& watch : set.watches) {
      if (Contains(numbers_, watch.fd)) continue;
      const bool known = std::any_of(open.begin(), open.end(), [&](const DescriptorNote& note) {
        return note.fd == watch.fd;
      });
      // Closed in the child it would still be open in the zygote, and so still be reported.
      return RefuseDescriptor(set.fd(),
                              "is an epoll set that watches descriptor " +
                                  DescribeDescriptor(watch.fd) +
                                  (known ? ", which is not the runtime's" : ""),
                              "take it out of the set before the freeze");
    }
  }
  return {};
}

Result<DescriptorTable> DescriptorTable::Note(std::span<const DescriptorNote> open,
                                              std::span<const int> allowed, bool renew) {
  DescriptorTable table;
  for (const DescriptorNote& note : open) {
    if (Contains(allowed, note.fd)) continue;
    table.numbers_.push_back(note.fd);
    if (renew) {
      SPORE_TRY(table.AddNumber(note));
    } else if (!HarmlessToShare(note)) {
      return RefuseDescriptor(note.fd, "its children would share",
                              "a preloaded module opened it: take it off the image's preload list");
    }
  }
  SPORE_TRY(NotePairs(table.files_));
  SPORE_TRY(table.NoteWatches(open));
  return table;
}

}  // namespace spore
