// Starts spore-zygote, the launcher that becomes an image's supervisor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "daemon/config/config.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct ZygoteSpawnOptions {
  std::string program;         // path of spore-zygote
  std::string host_directory;  // holds a folder for each runtime
  uint32_t uid_base = 0;       // host uids [base, base + count) become 0.. in the user namespace
  uint32_t uid_count = 65536;
  std::string checkpoint;  // "dump", "restore", or nothing: it waits for a wire::Checkpoint
};

// The launcher ends by itself once the supervisor exists; the supervisor is a child of the caller
// too (CLONE_PARENT), in the launcher's process group, so that waitid(P_PGID) finds both.
struct ZygoteProcess {
  pid_t launcher = 0;  // also the process group
  UniqueFd launcher_pidfd;
  UniqueFd supervisor;  // SOCK_SEQPACKET, our end
  UniqueFd zygote;      // SOCK_SEQPACKET, our end
  UniqueFd messages;    // what they write to stdout and stderr; non-blocking
};

// The launcher waits for one byte on the supervisor's socket before it does anything, so that the
// caller can put it into its cgroup first.
Result<ZygoteProcess> SpawnZygote(const ImageManifest& image, const ZygoteSpawnOptions& options);

}  // namespace spore
