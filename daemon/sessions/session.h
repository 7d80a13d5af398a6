// One session: a sandbox that lives, from its creation to its end.
//
//   starting --(agent confined)--> running <--> paused
//        any --(kill, time, idle, end of agent or init, rubbish)--> ending --(init reaped)--> dead
//
// What its agent says is the tenant's word. Its time is kept here, on the host's clock, and nothing
// but Extend moves its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/instances/death.h"
#include "daemon/loop/event_loop.h"
#include "daemon/sessions/agent_link.h"
#include "daemon/sessions/exec_table.h"
#include "daemon/sessions/session_code.h"
#include "daemon/sessions/session_egress.h"
#include "daemon/sessions/session_log.h"
#include "daemon/zygotes/zygote_image.h"
#include "sandbox/sys/result.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

struct SessionSettings {
  std::string id, label;
  std::string language;  // of its code; empty: none
  uid_t owner = 0;
  v1::Limits limits;
  uint64_t ttl_ms = 0;
  uint64_t idle_timeout_ms = 0;  // 0: never
  std::map<std::string, std::string> environment;
  std::optional<EgressSettings> egress;  // nothing: no network
  std::string branch_of;                 // the session that it is to be a copy of; empty: none
  std::string restored_from;             // the checkpoint that it is to come from; empty: none
  bool arrives = false;                  // its processes come from the files of a checkpoint
};

class Session {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // It is dead. It may be destroyed when this has returned.
    virtual void SessionGone(Session& session) = 0;
  };
  using Started = std::function<void(Result<>)>;

  // Its time begins now.
  Session(EventLoop& loop, Owner& owner, ZygoteImage& image, EgressProxies& proxies,
          SessionSettings settings);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // With a sandbox, or why there is none. `started` is called once: its agent is confined, or why
  // not. A branch is not usable before BranchDone. One that is to come from disk has an empty
  // sandbox then, and is not usable before it has adopted what is restored in it.
  void Start(Result<ZygoteImage::Lease> lease, Started started);
  void Kill(v1::Death::Cause cause, const std::string& message);
  void Extend(uint64_t ttl_ms);
  // Stops or continues all of its processes; tells when that is so.
  void Freeze(bool freeze, std::function<void(Result<>)> done);

  void BranchDone();

  // session_park.cc
  // Its agent lets go of its channel; nothing can be asked until Unpark. Tells the agent's
  // descriptor of the door (agent_door.h), when the agent gets to it.
  void Park(std::function<void(Result<int32_t>)> done);
  void Unpark(const UniqueFd& door, std::function<void(Result<>)> done);
  // What has been restored in its sandbox.
  struct Arrival {
    UniqueFd agent;  // a pidfd
    UniqueFd door;   // agent_door.h
    std::vector<v1::Execution> execs;
    uint32_t last_exec = 0;
  };
  void Adopt(Arrival arrival, std::function<void(Result<>)> done);

  bool dying() const { return state_ == v1::Session::ENDING || state_ == v1::Session::DEAD; }
  bool starting() const { return state_ == v1::Session::STARTING; }
  // Whether it can be asked for something now.
  Result<> CheckUsable() const;
  // And is not on its way to the disk or into a copy, where an ask would wait.
  Result<> CheckHere() const;
  // While somebody holds one, it is not idle.
  std::shared_ptr<void> Use();
  // Valid when CheckUsable.
  AgentLink& agent() { return *agent_; }
  ExecTable& execs() { return *execs_; }
  SessionCode& code() { return *code_; }
  std::shared_ptr<SessionLog> log() { return log_; }
  // Called at its end, with what Describe then gives.
  void OnGone(std::function<void()> gone) { on_gone_.push_back(std::move(gone)); }

  const std::string& id() const { return settings_.id; }
  uid_t owner() const { return settings_.owner; }
  const ZygoteImage& image() const { return image_; }
  const std::string& language() const { return settings_.language; }
  uint64_t output_bytes() const { return settings_.limits.output_bytes(); }
  const SessionSettings& settings() const { return settings_; }
  uint64_t expires_ns() const { return expires_ns_; }
  v1::Session Describe() const;

  // For who branches it; valid when CheckUsable, or in a branch that has started.
  ZygoteGeneration* generation() const { return generation_; }
  SandboxPool* pool() const { return pool_; }
  int agent_pidfd() const { return agent_pidfd_.get(); }
  int32_t agent_number() const;  // in its own pid namespace; 0: it has ended
  // What a worker that puts it on disk, or brings it from there, is told of it
  // (zygote/checkpoint/checkpoint_options.h).
  std::vector<std::string> WorkerWords() const;
  int init_pidfd() const { return sandbox_->init_pidfd.get(); }
  uint32_t uid() const { return sandbox_uid_; }  // inside the image's user namespace
  const std::vector<std::string>& cgroup_paths() const { return cgroup_paths_; }
  uid_t host_uid() const { return image_.uid_base() + sandbox_uid_; }
  // Of its interpreter, as its agent has told: the pid inside, 0 when there is none, and how many
  // pieces of code it has begun.
  int32_t interpreter() const { return interpreter_; }
  bool code_running() const { return code_->running(); }
  uint64_t interpreter_runs() const { return code_->runs() + runs_elsewhere_ - runs_before_; }
  // Has an interpreter started that is made a copy of one that has run so many. Tells its pid.
  void AdoptInterpreter(uint64_t runs, std::function<void(Result<int32_t>)> done);

 private:
  using State = v1::Session::State;
  Result<> Launch();
  Result<> Specialise();
  void MakeAgent(UniqueFd channel);
  Result<> Empty();
  void OpenDoor(const UniqueFd& door, bool restored, std::function<void(Result<>)> done);
  std::string LoadFrame() const;
  Result<> StartEgress();
  void OnConfined(const Frame& frame);
  void BeginRunning();
  bool OnEvent(session::Reader& event);
  void OnClosed();
  void OnAgentEnded(const ZygoteLink::Exit& exited);
  void BeginDying();
  void Gone(const SandboxPool::Gone& gone);
  Error EndedError() const;
  void ArmTtl();
  void ArmIdle();
  void AwaitFrozen(bool freeze, uint64_t until_ns, std::function<void(Result<>)> done);
  void CancelTimers();
  uint64_t OomKills() const;

  EventLoop& loop_;
  Owner& owner_;
  ZygoteImage& image_;
  EgressProxies& proxies_;
  SessionSettings settings_;
  int64_t created_unix_ms_;
  uint64_t created_ns_;
  uint64_t expires_ns_ = 0;  // CLOCK_MONOTONIC
  int64_t expires_unix_ms_ = 0;
  State state_ = v1::Session::STARTING;
  Started started_;
  std::optional<Error> start_error_;

  v1::StartKind start_kind_ = v1::START_KIND_UNSPECIFIED;
  ZygoteGeneration* generation_ = nullptr;
  SandboxPool* pool_ = nullptr;
  std::unique_ptr<Sandbox> sandbox_;
  std::vector<std::string> cgroup_paths_;
  uint32_t sandbox_uid_ = 0;
  UniqueFd agent_pidfd_;
  std::unique_ptr<EventLoop::Watch> agent_end_;  // of one that was restored
  std::shared_ptr<SessionLog> log_;
  std::unique_ptr<AgentLink> agent_;
  std::unique_ptr<ExecTable> execs_;
  std::unique_ptr<SessionCode> code_;
  std::unique_ptr<SessionEgress> egress_;
  bool confined_ = false;
  bool has_way_out_ = false;  // its proxy serves, where it has one
  bool emptied_ = false;      // what is restored can be born in its sandbox
  bool away_ = false;         // its agent is parked

  int32_t interpreter_ = 0;
  uint64_t runs_before_ = 0;     // of the session, when the interpreter began
  uint64_t runs_elsewhere_ = 0;  // of the interpreter, before it was copied here
  uint32_t uses_ = 0;
  int64_t idle_since_unix_ms_ = 0;
  EventLoop::TimerId ttl_timer_ = 0;
  EventLoop::TimerId idle_timer_ = 0;
  EventLoop::TimerId closed_timer_ = 0;
  EventLoop::TimerId frozen_timer_ = 0;
  DeathFacts facts_;
  v1::Death death_;
  std::vector<std::function<void()>> on_gone_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
