// The set-up steps of a sandbox: named, ordered, timed, one file a step.
//
// Steps run between a clone and the first byte of tenant code, in a copy of a process that may
// have had more threads than the copy has. So a step allocates nothing, takes no lock and logs
// nothing: it makes system calls on what was prepared before the clone, and says what failed.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <span>

#include "sandbox/policy/network_policy.h"

namespace spore {

// What a step did. `operation` is a string literal naming the call and its object.
struct StepResult {
  int errno_value = 0;
  const char* operation = nullptr;  // null: success
  bool ok() const { return operation == nullptr; }
};

constexpr StepResult StepOk() {
  return {};
}
inline StepResult StepFailed(const char* operation) {
  return {errno, operation};
}

// ---- cgroup.cc: v1 only; on v2 the clone itself goes into the cgroup ----
// Moves the caller by writing "0" to each cgroup.procs, then (make_namespace) roots a new cgroup
// namespace there, so that /proc/self/cgroup shows nothing of the host.
StepResult EnterCgroups(const int* procs_fds, uint32_t count, bool make_namespace);

// ---- namespaces.cc ----
struct NamespaceFds {
  int pid = -1;  // entered by the cloning process before the clone, not by the child
  int mount = -1, ipc = -1, uts = -1, net = -1, cgroup = -1;
};
StepResult JoinNamespaces(const NamespaceFds& fds);
// The net and cgroup namespaces of a caller that has waited in those of others.
StepResult CompleteNamespaces();

// ---- network.cc ----
// Brings the caller's own `lo` up or down. Needs CAP_NET_ADMIN over its network namespace.
StepResult SetLoopback(bool up);
StepResult IsLoopbackUp(bool* up);
// A socket that listens on this port of 127.0.0.1, for somebody who is not in the namespace.
StepResult ListenOnLoopback(uint16_t port, int* listener_fd);

// ---- mounts.cc: inside a mount namespace of the caller's own ----
struct PrivateMounts {
  uint64_t tmp_bytes = 0;
  uint64_t tmp_inodes = 0;
};
// A /proc of the caller's pid namespace showing processes only (subset=pid), and one tmpfs of
// limited size behind /tmp and /dev/shm.
StepResult MountPrivate(const PrivateMounts& mounts);
StepResult ResizeTmp(uint64_t tmp_bytes);
// Attaches a detached mount (open_tree(2) with OPEN_TREE_CLONE) at `target`.
StepResult AttachMount(int mount_fd, const char* target);

// ---- program.cc ----
// Writes what is in `contents` to `place`, an O_PATH descriptor of a file of the caller's in the
// file system that is attached at `mount_point`, makes it executable and the mount read-only.
StepResult PlaceProgram(int contents, int place, const char* mount_point);

// ---- identity.cc ----
// All ids become `id`, supplementary groups are dropped. `dumpable`: give the process its own
// /proc/self files back (runtimes read maps, fd, task); only for a process that shares its pid
// namespace and uid with nobody else's.
StepResult TakeIdentity(uid_t id, bool dumpable);

// ---- rlimits.cc ----
struct ResourceLimits {
  uint64_t open_files = 1024;
  uint64_t file_size_bytes = 0;  // 0: unlimited
};
StepResult LimitResources(const ResourceLimits& limits);
StepResult LimitFixedResources();  // those that are the same for everybody

// ---- capabilities.cc ----
// Before the identity: dropping from the bounding set and setting securebits need CAP_SETPCAP,
// which the change of uid takes away. Bit i of a mask is capability i.
StepResult LimitBoundingSet(uint64_t keep);  // and empties the ambient set
// The permitted set outlives the change of identity, until the securebits are locked.
StepResult KeepCapabilities();
// From here on uid 0 means nothing to this process and what it starts (capabilities(7)).
StepResult LockSecurebits();
// Writes permitted and effective; inheritable becomes empty.
StepResult SetCapabilities(uint64_t sets);
StepResult SetNoNewPrivs();

// ---- landlock.cc ----
// All that a tenant can write to: one tmpfs (mounts.cc).
constexpr const char* kWritablePlaces[] = {"/tmp", "/dev/shm"};
// Makes a ruleset: files may be written and made below the given directories only, no device
// nodes, no TCP unless `network` has it, abstract sockets and signals only within the sandbox; each
// as far as the kernel knows it. *ruleset_fd is -1 where there is no Landlock.
StepResult MakeLandlockRuleset(const char* const* writable, uint32_t count, NetworkPolicy network,
                               int* ruleset_fd);
StepResult RestrictWithLandlock(int ruleset_fd);

// ---- descriptors.cc ----
// Places sources[i] at descriptor i for i < count, then closes every other descriptor. A source
// of -1 leaves what is at i. The sources must all be >= count or equal to their place. Those in
// `keep`, ascending, stay open where they are, as they are; one below count has no meaning.
StepResult PlaceDescriptors(const int* sources, uint32_t count, std::span<const int> keep = {});

}  // namespace spore
