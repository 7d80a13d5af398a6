// One sandbox in which a function is loaded or a script runs, from its start to its death.
//
//   starting --(frames written, runtime forked)--> busy <--> idle
//        any --(kill, end of runtime or init, rubbish, deadline)--> dying --(init reaped)--> dead
//
// Exactly one thing answers an invocation: the first of its response, the instance's death, or a
// failure to start. An idle instance that had ended before it read the request to its end answers
// nothing: another one is asked. No request is ever given to two that may have begun with it.
// Whatever the runtime says is the tenant's word and decides nothing but that
// tenant's own answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemon/config/config.h"
#include "daemon/functions/code_cache.h"
#include "daemon/functions/import_hints.h"
#include "daemon/functions/work.h"
#include "daemon/history/log_store.h"
#include "daemon/instances/death.h"
#include "daemon/instances/instance_channel.h"
#include "daemon/instances/output_capture.h"
#include "daemon/instances/scheduler.h"
#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/memory_keeper.h"
#include "daemon/zygotes/zygote_image.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct TenantDescriptors;  // instance_start.cc

class Instance {
 public:
  // Told about each change; the Invoker. An instance may be destroyed in InstanceGone only.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void InstanceIdle(Instance& instance) = 0;
    // Whether an instance that has been idle for as long as its function says may be ended.
    virtual bool MayEndIdle(const Instance& instance) = 0;
    virtual void InstanceDying(Instance& instance) = 0;
    virtual void InstanceGone(Instance& instance) = 0;
    // The instance had ended before it read this work: it is for another one.
    virtual void WorkUnread(std::unique_ptr<Work> work) = 0;
  };
  struct Environment {
    EventLoop& loop;
    LogStore& logs;
    CodeCache& code_cache;
    ImportHints& import_hints;
    Owner& owner;
  };

  Instance(const Environment& environment, SlotId slot, std::string id, const Work& first_work);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Puts the runtime into the sandbox and gives it its first work.
  void Start(ZygoteImage& image, ZygoteImage::Lease lease, std::unique_ptr<Work> work);
  // The same without any work: it loads its function and is idle then.
  void Prepare(ZygoteImage& image, ZygoteImage::Lease lease);
  // There is no sandbox for it: answers the work, if there is any, and is gone.
  void StartFailed(std::unique_ptr<Work> work, const Error& error);
  // The next invocation of an idle instance. One that turns out to have ended gives it back.
  void Invoke(std::unique_ptr<Work> work);
  // Its function is no more, and the name may be the next owner's: what it still writes is dropped.
  void CloseLog() { log_closed_ = true; }
  // Ends it; the work in progress, if any, is answered with the death.
  void Kill(v1::Death::Cause cause, const std::string& message);

  SlotId slot() const { return slot_; }
  const std::string& id() const { return id_; }
  const std::string& function() const { return function_; }
  uid_t owner_uid() const { return owner_uid_; }
  bool dying() const { return state_ == State::kDying || state_ == State::kDead; }
  // The work in progress, or 0.
  uint64_t current_work() const { return work_ ? work_->id : 0; }
  v1::Instance Describe() const;
  // Of an idle one: what its end would give back, and cost; without an id.
  MemoryHolder DescribeMemory() const;

 private:
  enum class State { kStarting, kIdle, kBusy, kDying, kDead };

  // instance_start.cc
  void Enter(ZygoteImage& image, ZygoteImage::Lease lease);
  Result<> Launch();
  Result<> Specialise(const TenantDescriptors& descriptors, const std::string& frames);
  Result<> TakeProgramOf(Work& work, TenantDescriptors& descriptors);
  Result<std::string> FirstFrames();
  Result<std::string> NextInvokeFrame();
  void StartDeadline();
  void BeginWork();

  // instance.cc
  void OnData(std::span<const std::byte> data);
  bool OnFrame(Frame& frame);
  void OnConfined(const Frame& frame);
  void OnCompiled(Frame& frame);
  void OnLoaded(const Frame& frame);
  void KeepImports(const std::vector<std::string>& imported);
  void OnResponse(Frame& frame);
  void OnFailed(const Frame& frame);
  void OnRuntimeEnded(const ZygoteLink::Exit& exited);
  void OnChannelClosed(int errno_value);
  void OnInitEnded();
  bool HasEnded() const;
  void GiveBack();
  void BeIdle();
  void ArmIdle();
  void OnTimeout();
  void AwaitEnd();
  void Answer(WorkResult result);
  void AnswerDeath(const v1::Death& death);
  void AfterAnswer();
  void EndInvocationLog(const std::string& error_line, uint64_t memory_peak_bytes);
  v1::StartKind StartedAs() const;
  v1::StartKind WorkStartedAs() const;
  WorkResult NewResult() const;
  void LogLine(v1::LogLine::Stream stream, std::string_view line);
  void Rubbish(const std::string& what);
  void BeginDying();
  void Gone(const SandboxPool::Gone& gone);
  void CancelTimers();
  uint64_t WallUs() const;

  Environment environment_;
  SlotId slot_;
  std::string id_;
  std::string function_;
  std::shared_ptr<const FunctionVersion> version_;
  std::string image_name_;
  std::map<std::string, std::string> image_environment_;
  const ImageManifest* manifest_ = nullptr;
  v1::Limits limits_;
  v1::Isolation isolation_;
  uid_t owner_uid_;
  uint32_t host_uid_base_ = 0;
  int64_t started_unix_ms_;

  State state_ = State::kStarting;
  std::unique_ptr<Work> work_;
  std::vector<std::string> watch_;  // as Work's
  bool measure_;
  bool runs_program_;  // what runs replaces the copy of the zygote
  uint64_t invocations_ = 0;
  bool preparing_ = false;  // it loads its function, and there is no work
  bool reused_ = false;     // the current work met an idle instance
  bool heard_ = false;      // anything at all since then
  uint64_t work_start_ns_ = 0;
  uint64_t work_sent_ns_ = 0;
  uint64_t loaded_ns_ = 0;
  uint64_t load_us_ = 0;  // what its function's start took
  uint64_t idle_since_ns_ = 0;
  uint64_t created_ns_;
  std::string tail_;
  std::optional<Error> start_error_;  // Spore's own failure while it started

  v1::StartKind zygote_start_ = v1::START_KIND_FORK;
  ZygoteGeneration* generation_ = nullptr;
  SandboxPool* pool_ = nullptr;
  std::unique_ptr<Sandbox> sandbox_;
  std::vector<std::string> cgroup_paths_;
  uint32_t sandbox_uid_ = 0;
  UniqueFd runtime_pidfd_;
  int32_t runtime_pid_ = 0;
  bool confined_ = false;
  bool awaits_compiled_ = false;  // asked for, and not told yet
  bool loaded_ = false;
  bool log_closed_ = false;
  FrameParser parser_;
  OutputCapture output_;
  std::unique_ptr<EventLoop::Stream> channel_;

  EventLoop::TimerId deadline_timer_ = 0;
  EventLoop::TimerId idle_timer_ = 0;
  EventLoop::TimerId closed_timer_ = 0;
  DeathFacts facts_;
  v1::Death death_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
