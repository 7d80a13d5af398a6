// What spored and the process that puts a session on disk (`spore-zygote checkpoint`) or brings one
// back (`spore-zygote restore`) say to each other, on a SOCK_SEQPACKET socket. Both are trusted,
// and built from one tree; what is on disk is the tenant's.
//
//   checkpoint -> spored   CheckpointSessionDone
//   restore -> spored      RestoreSessionDone, on success with two descriptors: the pidfd of the
//                          agent, and the other end of what stands in place of its channel
//                          (session_park.h)
//
// The checkpoint's files lie in one tmpfs: `images`, a folder of CRIU's that belongs to the
// tenant's uid, and `files` with `tmp` and `shm`, what was in /tmp and /dev/shm.
#pragma once

#include <cstdint>

#include "zygote/protocol.h"

namespace spore::wire {

// The descriptors that both are given.
constexpr int kCheckpointChannelFd = 3;
constexpr int kCheckpointProcessFd = 4;  // the pidfd of the session's agent; of its init to restore
constexpr int kCheckpointMountFd = 5;    // that tmpfs, detached: to be attached while CRIU works
constexpr int kCheckpointFolderFd = 6;   // its root
constexpr int kCheckpointCriuFd = 7;     // a detached read-only mount of the /usr that CRIU lies in

constexpr const char* kCheckpointImages = "images";
constexpr const char* kCheckpointLog = "criu.log";      // in there: what CRIU says of a dump
constexpr const char* kCheckpointKernel = "criu.kdat";  // likewise: what it finds of the kernel
constexpr const char* kCheckpointTmp = "files/tmp";
constexpr const char* kCheckpointShm = "files/shm";

// What has become of a session that was to be put on disk.
enum class SessionFate : uint32_t {
  kGoesOn = 0,  // as if nothing had been
  kDumped,      // its processes go on if they were to be left running; else they stand frozen
  kLost,        // in the middle: it has to be ended
};

struct CheckpointSessionDone {
  uint32_t error_kind = 0;  // ErrorKind, when it has failed
  SessionFate fate = SessionFate::kGoesOn;
  char error[512] = {};     // NUL-terminated; empty: none
  int32_t last_number = 0;  // the highest pid or thread id of it, in its pid namespace
  uint32_t processes = 0;
  uint64_t stopped_us = 0;                     // that its processes were held
  uint64_t monotonic_ns = 0, boottime_ns = 0;  // its clocks, when it was dumped
  Steps steps;
};

struct RestoreSessionDone {
  uint32_t error_kind = 0;  // ErrorKind, when it has failed
  uint32_t processes = 0;
  char error[512] = {};  // NUL-terminated; empty: none
  Steps steps;
};

}  // namespace spore::wire
