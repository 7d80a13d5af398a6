// The messages between spored, the zygote supervisor, a zygote and an instance.
//
// Three channels, all made by spored as socket pairs:
//
//   supervisor  SOCK_SEQPACKET  one an image; trusted code on both ends
//               spored -> MakeSandbox          supervisor -> SandboxMade, ProcessExited
//               spored -> Checkpoint           supervisor -> CheckpointDone
//   zygote      SOCK_SEQPACKET  one a zygote; the far end has run operator-chosen libraries
//               spored -> Prepare, Fork, ForkZygote   zygote -> ZygoteReady, Forked
//   instance    SOCK_STREAM     one an instance; the far end is the tenant's from the moment its
//               code is loaded: spored treats what it reads as hostile
//               spored -> Specialise, Load, Invoke   instance -> Confined, Loaded, Response, Failed
//
// A SEQPACKET message is one of the structs below, whole, plus its descriptors. Structs are plain
// data of fixed size: sender and receiver are built from the same tree and run on one host.
#pragma once

#include <cstdint>
#include <cstring>

#include "sandbox/sys/step_log.h"

namespace spore::wire {

constexpr uint32_t kMagic = 0x53504f36;  // "SPO6"; changes with every change of a struct below

enum class Type : uint32_t {
  kMakeSandbox = 1,
  kSandboxMade,
  kProcessExited,
  kZygoteReady,
  kFork,
  kForked,
  kPrepare,
  kForkZygote,
  kCheckpoint,
  kCheckpointDone,
};

struct Header {
  uint32_t magic = kMagic;
  Type type;
};

// An Error (sandbox/sys/result.h) in fixed space; `operation` empty means success.
struct Failure {
  int32_t errno_value = 0;
  char operation[160] = {};  // NUL-terminated, cut when longer
  bool failed() const { return operation[0] != 0; }
};
inline Failure MakeFailure(int errno_value, const char* operation) {
  Failure failure{.errno_value = errno_value};
  if (operation != nullptr) strncpy(failure.operation, operation, sizeof failure.operation - 1);
  return failure;
}

using Step = TimedStep;
using Steps = StepLog;

// How many cgroup.procs descriptors of v1 hierarchies can come with a message.
constexpr uint32_t kMaxCgroupProcs = 8;

// spored -> supervisor: make a sandbox ahead of its use: a small init in new pid, mount, ipc, uts,
// net and cgroup namespaces, with its /proc, /tmp and /dev/shm mounted.
// Descriptors, in this order: the cgroup v2 directory when has_cgroup_v2 (the init is cloned into
// it), then cgroup_procs writable cgroup.procs files of v1 hierarchies.
struct MakeSandbox {
  Header header{.type = Type::kMakeSandbox};
  uint64_t sandbox_id = 0;
  uint32_t uid = 0;  // inside the zygote's user namespace; also the gid
  uint32_t has_cgroup_v2 = 0;
  uint32_t cgroup_procs = 0;
  uint32_t bare = 0;         // no net namespace yet: the image's own. See Fork
  uint32_t loopback = 0;     // its `lo` is up, and Landlock lets it be used; of none that is bare
  uint32_t listen_port = 0;  // with loopback: somebody outside listens on this port of it; 0: none
  uint32_t reserved = 0;
  uint64_t tmp_bytes = 0;
  uint64_t tmp_inodes = 0;
  char hostname[64] = {};
};

// supervisor -> spored. On success with kSandboxFds descriptors in the order of SandboxFd.
enum SandboxFd : int {
  kInitPidfd = 0,
  kPidNamespace,
  kMountNamespace,
  kIpcNamespace,
  kUtsNamespace,
  kNetNamespace,
  kCgroupNamespace,
  kLandlockRuleset,  // left out (has_landlock == 0) where the kernel has none
  kListener,         // likewise (has_listener == 0) without listen_port
  kSandboxFds,
};
struct SandboxMade {
  Header header{.type = Type::kSandboxMade};
  uint64_t sandbox_id = 0;
  int32_t init_pid = 0;  // in the supervisor's pid namespace
  uint32_t has_landlock = 0;
  uint32_t has_listener = 0;
  uint32_t reserved = 0;
  Failure failure;
  Steps steps;
};

// supervisor -> spored: a direct child (a sandbox's init, a runtime, or the zygote) has ended.
// May arrive before the Forked message with the same pid.
struct ProcessExited {
  Header header{.type = Type::kProcessExited};
  int32_t pid = 0;      // in the supervisor's pid namespace
  int32_t code = 0;     // CLD_EXITED, CLD_KILLED or CLD_DUMPED (waitid(2))
  int32_t status = 0;   // exit code or signal
  uint64_t cpu_us = 0;  // user and system, of it and the children it waited for
  uint64_t max_rss_bytes = 0;
};

// spored -> zygote: what the image wants of it beside what its command line says. Sent before it
// starts, so it is there when it is looked for.
constexpr uint32_t kMaxDeniedNames = 1024;
struct Prepare {
  Header header{.type = Type::kPrepare};
  uint32_t flat = 1;      // its memory is to be moved (zygote/sfork/flatten.h)
  uint32_t loopback = 0;  // its children may make the sockets that LoopbackSockets names
  // What DeniedCalls is made of (sandbox/policy/denied_calls.h): comma-separated, NUL-terminated.
  char denied[kMaxDeniedNames] = {};
};

// zygote -> spored: preloaded, frozen, ready to be forked; or why not.
struct ZygoteReady {
  Header header{.type = Type::kZygoteReady};
  int32_t pid = 0;  // in the supervisor's pid namespace
  char runtime_version[32] = {};
  uint64_t preload_us = 0;
  uint64_t flat_bytes = 0;     // of its memory, moved into a file of its own (sfork/flatten.h)
  uint64_t unmoved_bytes = 0;  // anonymous memory beside it
  char flat_note[160] = {};    // why something was not moved
  Failure failure;
};

// spored -> a supervisor that was started with --checkpoint, as the first message and once: start
// the zygote from a checkpoint or, when has_images is 0, in the ordinary way; or start one and dump
// it. Descriptors, when has_images: a detached tmpfs of the checkpoint's files, and a detached
// read-only mount of the /usr that CRIU lies in.
struct Checkpoint {
  Header header{.type = Type::kCheckpoint};
  uint32_t has_images = 0;
  uint32_t limit_ms = 0;  // of CRIU
};

// supervisor -> spored: dumped; or restored, about to say that it is ready; or why not. A zygote
// that could not be restored has been started in the ordinary way.
struct CheckpointDone {
  Header header{.type = Type::kCheckpointDone};
  int32_t pid = 0;       // of the zygote, in the supervisor's pid namespace
  uint64_t criu_us = 0;  // that CRIU ran
  Failure failure;
};

// spored -> zygote: sfork into a sandbox, ahead of its use. The child joins the sandbox, runs the
// runtime's fork hooks, warms up, and waits on its instance socket for kSpecialise. It is trusted
// code until then, and no tenant's.
// Descriptors, in this order: the six namespaces of SandboxFd from kPidNamespace on, the Landlock
// ruleset when has_landlock, the instance socket, the v2 cgroup directory when has_cgroup_v2, then
// cgroup_procs v1 files.
struct Fork {
  Header header{.type = Type::kFork};
  uint64_t sandbox_id = 0;
  uint32_t uid = 0;  // as in MakeSandbox
  uint32_t has_landlock = 0;
  uint32_t has_cgroup_v2 = 0;
  uint32_t cgroup_procs = 0;
  uint32_t spare = 0;  // the child waits before it writes to any memory of the runtime's, until its
                       // instance socket has a frame: kWarmUp, or what makes it somebody's
  uint32_t bare = 0;   // of a spare one: kComplete has to come before that
  uint32_t loopback = 0;  // as in Prepare, of this child alone
  uint32_t reserved = 0;
};

// spored -> zygote, before any Fork: sfork into no sandbox. The child is a zygote itself, with the
// caller's privileges, filter and cgroup: it imports `modules`, says ZygoteReady on the channel
// that comes as the one descriptor, and takes orders there from then on. Answered by Forked, before
// that, under `zygote_id`, which no sandbox has.
constexpr uint32_t kMaxModuleNames = 4096;
struct ForkZygote {
  Header header{.type = Type::kForkZygote};
  uint64_t zygote_id = 0;
  char modules[kMaxModuleNames] = {};  // comma-separated, NUL-terminated
};

// zygote -> spored. On success with one descriptor: the pidfd of the runtime process, or zygote.
struct Forked {
  Header header{.type = Type::kForked};
  uint64_t sandbox_id = 0;
  int32_t pid = 0;  // in the supervisor's pid namespace
  Failure failure;
  Steps steps;  // the zygote's own: receive, audit, clone
};

// ---- instance channel: a frame is this header and `length` bytes of body ----

enum class FrameType : uint32_t {
  // spored -> instance
  kLoad = 1,    // body: JSON, see below
  kInvoke,      // body: u32 length of meta, meta JSON, payload
  kSpecialise,  // body: struct Specialise, with descriptors; the first frame, read by trusted code
  kCode,        // body: a kCompiled of an earlier instance, see there; comes before kLoad
  kWarmUp,      // no body; to a spare child, which then makes itself ready for kSpecialise
  kComplete,    // no body; to a spare child that is bare, with its v1 cgroups' files, if any: it
                // enters them, makes its net and cgroup namespaces, and waits on
  kAsk = 9,     // to the agent of a session: zygote/session_protocol.h
  // zygote -> the child that rehearses (zygote/hosts/common/working_set.h)
  kReportPages = 8,  // no body; answered by a u64 count and as many PageRanges
  // instance -> spored
  kConfined =
      16,     // body: struct Confined; first, and once. A failure is sent by trusted code, which
              // then exits; success goes out with what is sent next, and tells only times
  kLoaded,    // body: JSON {"began_us": n, "ended_us": n}, of CLOCK_MONOTONIC; with "imported":
              // [names] if the Load had "watch": those of them that are loaded now
  kResponse,  // body: the result as JSON
  kFailed,    // body: JSON {"errorType", "errorMessage", "stackTrace": [..]}; the instance
              // stays usable
  kFatal,     // body: as kFailed, of loading or of an invocation; the process then exits
  kCompiled,  // body: the function's code as the runtime has compiled it, opaque to spored, or
              // nothing where it is of no use. Sent once, by trusted code, before tenant code
              // runs, and only if the Load asks for it ("compile")
  kTell,      // of the agent of a session: the answer to a kAsk
  kEvent,     // likewise: what nobody has asked for
};

struct FrameHeader {
  FrameType type;
  uint32_t length;  // of the body, at most kMaxFrame
  uint64_t id;      // of the invocation, echoed by kResponse and kFailed; 0 elsewhere
};
constexpr uint32_t kMaxFrame = 72u << 20;

// What the waiting child becomes.
enum class Mode : uint32_t {
  kFunction = 1,  // loads a function, then serves invocations from its instance socket
  kScript = 2,    // runs one script with the three descriptors as its standard streams
  kProgram = 3,   // becomes an ordinary program, likewise
  kSession = 4,   // serves a session: zygote/session_protocol.h
};

// The child completes its confinement by this; Load is the next frame. Descriptors, with the first
// byte: stdin when has_stdin (else /dev/null), stdout, stderr, the code's detached mount when
// has_code (attached at /var/task); when has_program, what the program holds, and an O_PATH
// descriptor of the file in that mount which it shall be written to.
struct Specialise {
  Mode mode = Mode::kFunction;
  uint32_t has_stdin = 0;
  uint32_t has_code = 0;
  uint32_t has_program = 0;
  uint32_t reserved = 0;
  uint32_t open_files = 1024;    // RLIMIT_NOFILE
  uint64_t tmp_bytes = 0;        // remount /tmp with this size; 0: leave as made
  uint64_t file_size_bytes = 0;  // RLIMIT_FSIZE; 0: unlimited
};

struct Confined {
  Failure failure;  // the set-up step that failed, if one did
  uint32_t reserved = 0;
  Steps steps;
};

// Load JSON, function: {"mode":"function","handler":"app.handler","function_name":"hello",
//   "function_version":"3","memory_limit_in_mb":"128","response_bytes":6291456,
//   "environment":{..}, Lambda's variables among them (daemon/functions/lambda_environment.h),
//   "compile":true or absent, "watch":["numpy",..] or absent, "measure":true or absent}
//   With "measure" the handler is loaded but not called: the first Invoke is answered by what the
//   load took, see daemon/functions/advice.h.
// Load JSON, script: {"mode":"script","argv":["script.py",..],"script":"..text..",
//   "memory_limit_in_mb":"128","environment":{..}}; an archive of programs, a jar, comes as a file:
//   "archive":"/var/task/app.jar" in place of "script"
// Load JSON, program: {"mode":"program","argv":["./prog",..],"program":"/var/task/prog" or, when it
//   is one of the image that argv[0] names, "","environment":{..}}
// Invoke meta JSON: {"request_id":"..","deadline_ms":1700000000000,"arn":"..",
//   "client_context":{..} or absent}

}  // namespace spore::wire
