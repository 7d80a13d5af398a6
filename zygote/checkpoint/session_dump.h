// The order of things when a session is put on disk.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/dump_tracer.h"
#include "zygote/checkpoint/session_cgroup.h"
#include "zygote/checkpoint/session_room.h"
#include "zygote/checkpoint/session_snapshot.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {

class SessionDump {
 public:
  explicit SessionDump(CheckpointOptions options) : options_(std::move(options)) {}

  // What it could not do is an error; what has become of the session is in the report either way.
  // A session that is lost ends with this object, or, if nobody holds it any more, stands frozen
  // until it is ended.
  Result<> Run();
  wire::CheckpointSessionDone& report() { return report_; }

 private:
  Result<> Prepare();
  Result<> Hold(const SeccompProgram& program);
  Result<> CopyAllFiles();
  SessionRoom::Parts RoomParts() const;
  Result<> DumpHeld();
  Result<> RunCriu(const SessionSnapshot& before);
  Result<> Complaint(int exit_code) const;
  Result<> Late() const;
  Result<> CheckImages(const SessionSnapshot& before) const;
  Result<> RemoveTraces();
  Result<> CloseRoom();
  Result<> LetGo();
  Result<> GoOn();

  CheckpointOptions options_;
  wire::CheckpointSessionDone report_;
  pid_t agent_ = 0, supervisor_ = 0;  // as the host knows them
  UniqueFd user_namespace_;
  std::optional<SessionCgroup> cgroup_;
  std::optional<DumpTracer> tracer_;
  std::optional<SessionRoom> room_;
  uint64_t held_since_ = 0;
};

}  // namespace spore
