// A checkpoint of another host into the store here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "daemon/checkpoints/checkpoint_store.h"
#include "daemon/config/config.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct CheckpointImport {
  // A file or pipe (daemon/checkpoints/checkpoint_parcel.h), read to its end; borrowed.
  int source = -1;
  int stop = -1;  // an eventfd; readable: give up
  std::string unpack_program;
  uid_t unpack_uid = 0;    // nobody else's
  uint64_t max_bytes = 0;  // of its archive, and of what it holds
  bool keep_unusable = false;
  std::map<std::string, ImageManifest> images;  // of this host
  std::string host_directory;
};

// Blocks. Only digests and a record of checked fields are read here; the archive, which may be
// anybody's, is unpacked by spore-unpack, and packed again. Nothing is kept of one that is damaged,
// or, unless `keep_unusable`, that cannot be restored here.
Result<v1::Checkpoint> ImportCheckpoint(CheckpointStore& store, const CheckpointImport& import);

}  // namespace spore
