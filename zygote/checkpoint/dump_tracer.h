// The process that holds a session, and becomes the CRIU that dumps it.
//
// PTRACE_O_SUSPEND_SECCOMP takes a privilege of the host's when it is set, and nobody asks again:
// so root of the host attaches to everything, and gives all rights away before it executes CRIU,
// which goes on holding what it holds (docs/decisions/0030).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/child_process.h"
#include "zygote/checkpoint/session_cgroup.h"

namespace spore {

struct TracerParts {
  const CheckpointOptions& options;
  const SessionCgroup& cgroup;
  int session = -1;         // the pidfd of its agent
  int user_namespace = -1;  // the image's
  const SeccompProgram& program;
  uint64_t limit_ns = 0;  // to hold it
};

class DumpTracer {
 public:
  // All of the session is held when this has returned, and ends with the tracer. The cgroup is not
  // frozen any more.
  // kOverloaded: it may work a moment later. After an error nothing is held. Whoever destroys it
  // kills it, and with it what it holds.
  static Result<DumpTracer> Start(const TracerParts& parts);

  // Nothing is held any more: what is not to run is to be frozen before.
  Result<> LetGo();
  // Gives where the notifications of its filter come. After an error everything is still held, or
  // ends.
  Result<UniqueFd> BecomeCriu();
  // When it is to end: kills it, and waits.
  void End() { process_.Kill(); }

  // With which it ends when it has let go because it could not become CRIU.
  static constexpr int kNotExecuted = 126;

  pid_t pid() const { return process_.pid(); }
  int pidfd() const { return pidfd_.get(); }
  int transport() const { return transport_.get(); }  // transport_socket.h
  uint32_t processes() const { return processes_; }
  pid_t last_number() const { return last_number_; }

 private:
  DumpTracer(ChildProcess process, UniqueFd pidfd)
      : process_(std::move(process)), pidfd_(std::move(pidfd)) {}

  ChildProcess process_;
  UniqueFd pidfd_, transport_;
  uint32_t processes_ = 0;
  pid_t last_number_ = 0;
};

}  // namespace spore
