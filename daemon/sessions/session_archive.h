// The archive that a session on disk is kept in: `images`, plain files of CRIU's, which the tenant
// has as good as written, and `files`, a tree that a worker of root's has copied from the tenant's
// /tmp and /dev/shm: folders, files with their holes, symbolic and hard links, fifos, with mode and
// time of change. Names are any bytes, which is why this is no tar.
//
// zstd of: kMark, then the entries in the order of a walk, each a byte (Kind) and what belongs to
// it. Numbers are eight bytes, the least significant first; a text is a number of bytes and these.
//
//   kFolder   name, mode, time; its entries; kUp      (time: seconds, nanoseconds)
//   kFile     name, mode, time, size; {offset, length, bytes}; offset, 0
//   kLink     name, path of an earlier file of the archive
//   kSymlink  name, time, target
//   kFifo     name, mode, time
//   kEnd
//
// Blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "daemon/checkpoints/checkpoint_files.h"
#include "sandbox/sys/result.h"

namespace spore {

namespace session_archive {
constexpr char kMark[] = {'S', 'P', 'O', 'R', 'E', 'S', 'C', '1'};
enum class Kind : uint8_t { kEnd, kFolder, kUp, kFile, kLink, kSymlink, kFifo };
constexpr size_t kMaxName = 255;
constexpr size_t kMaxTarget = 4095;
constexpr size_t kMaxPath = 1u << 20;
constexpr size_t kMaxDepth = 520;
constexpr size_t kChunk = 1u << 20;
}  // namespace session_archive

// Packs what is in `directory` into `file`, not synced. kOverloaded: it takes more than
// `max_bytes`.
Result<CheckpointArchive> PackSession(int directory, int file, uint64_t max_bytes);

// Verifies all of `file`, and only then unpacks it into the empty `directory`. The folder `images`
// and its files then belong to `owner`, all else to root. No link is followed, and nothing is made
// elsewhere, whatever the archive says.
Result<> UnpackSession(int file, const CheckpointArchive& expected, int directory, uid_t owner);

}  // namespace spore
