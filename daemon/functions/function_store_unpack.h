// Runs spore-unpack on one archive.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct UnpackLimits {
  uint64_t archive_bytes = 256ull << 20;
  uint64_t unpacked_bytes = 512ull << 20;
  uint32_t files = 20000;
  uint32_t path_bytes = 1024;
  uint32_t depth = 64;
  uint32_t seconds = 60;
};

struct UnpackJob {
  std::string program;
  uid_t uid = 0;       // and gid
  int archive = -1;    // borrowed, as all descriptors here
  int directory = -1;  // empty, owned by `uid`
  int stop = -1;       // an eventfd; readable: give up
  bool image = false;  // an image's archive: a file or pipe (daemon/unpack/image.h)
  bool plain = false;  // a file that holds plain files only (daemon/unpack/plain.h)
  UnpackLimits limits;
};

struct Unpacked {
  std::string digest;  // "sha256:<hex>"
  uint64_t bytes = 0;  // as the worker counted
  uint64_t files = 0;
  std::vector<std::string> notes;  // of an image: what was left out; printable
};

// Refuses (kInvalid) what is not a memfd sealed against shrinking, growing and writing, and what is
// longer than `max_bytes`. Without the seals the sender could change the archive under our hands.
Result<> CheckArchive(int archive, uint64_t max_bytes);

// Blocks until the worker has ended, or kills it after limits.seconds. kInvalid with the worker's
// words when the archive is at fault. The caller discards the directory after any error.
Result<Unpacked> RunUnpack(const UnpackJob& job);

}  // namespace spore
