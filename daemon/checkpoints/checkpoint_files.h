// The files of a checkpoint while CRIU works with them, and the archive that they are kept in.
//
// CRIU's files lie in a tmpfs that is mounted nowhere on the host: it exists as long as somebody
// holds a descriptor of it, so nothing of it is left however spored or CRIU ends. All of this
// blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// The names in a folder, but "." and "..".
Result<std::vector<std::string>> ListNames(int directory);
// The same; those that begin with a dot, or the others. None where it cannot be read.
std::vector<std::string> ListFolders(int directory, bool hidden);

struct CheckpointFiles {
  UniqueFd mount;      // detached: for the supervisor to attach
  UniqueFd directory;  // its root, for us
};
// An empty one that `owner` can write to.
Result<CheckpointFiles> MakeCheckpointFiles(uid_t owner, uint64_t bytes);

// A detached read-only mount of the /usr that CRIU lies in: `configured`, or when that is empty the
// one that scripts/quickstart brings, or the host's. kPrecondition when there is no CRIU.
Result<UniqueFd> OpenCriu(const std::string& configured);

struct CheckpointArchive {
  std::string digest;  // "sha256:<hex>" of the archive
  uint64_t bytes = 0;
  uint64_t unpacked_bytes = 0;
};
// Packs the plain files of `directory`, of which CRIU inside the image is the author, into `file`:
// tar, compressed with zstd. Not synced.
Result<CheckpointArchive> PackCheckpoint(int directory, int file);

// Compares all of `file` with what it should be, and returns to its beginning.
Result<> VerifyCheckpoint(int file, const CheckpointArchive& expected);

// Verifies all of `file`, and only then unpacks it into `directory`, whose
// files then belong to `owner`.
Result<> UnpackCheckpoint(int file, const CheckpointArchive& expected, int directory, uid_t owner);

}  // namespace spore
