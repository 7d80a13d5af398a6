// An image's root: the host's /usr, read-only, with a minimal /etc and /dev; or a tree of its own.
#pragma once

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct RootFsOptions {
  std::string host_dir;  // read-only at /run/spore/host: the language hosts' files
  std::string tree;      // of an imported image; empty: the host's /usr
};

// Turns the caller's mount namespace (its own, mounts private) into the image's root: builds a
// tmpfs, pivots into it (pivot_root(2), the "." idiom), detaches the old root, makes the new one
// read-only. Must run as root of the host's user
// namespace, because device nodes and /usr's owner are the host's; entering a user namespace
// afterwards locks all of it.
//
//   /usr              host's, read-only, nosuid, nodev        /bin /lib ... links into it
//   /etc              passwd, group, hosts, nsswitch.conf, and copies of what libraries look up
//   /dev              null zero full random urandom, links for fd and the standard streams, shm
//   /proc /tmp /run/private /var/task        mount points of each sandbox
//
// With a tree that is the root, read-only, nosuid, nodev, and nothing of the host is in it but /dev
// and /run/spore, each a tmpfs with what the host's root has there. The tree was an archive's: its
// mount points (daemon/unpack/image.cc) are looked up again so that no link is followed.
Result<> EnterImageRoot(const RootFsOptions& options);

// The /proc of the caller's pid namespace, in the image's root.
Result<> MountImageProc();

// Where a checkpoint's files and CRIU are attached while a zygote is dumped or restored.
constexpr const char* kCheckpointPlace = "/run/spore/checkpoint";
constexpr const char* kCriuPlace = "/run/spore/criu";
// Empty files which stand in a checkpoint for the zygote's channel and its stderr.
constexpr const char* kChannelPlaceholder = "/run/spore/channel";
constexpr const char* kMessagesPlaceholder = "/run/spore/messages";

}  // namespace spore
