#include "zygote/branch/branch.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <span>
#include <utility>
#include <vector>

#include "sandbox/steps/step.h"
#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/branch/copy_files.h"
#include "zygote/branch/copy_memory.h"
#include "zygote/branch/last_pid.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/target_process.h"
#include "zygote/branch/worker_process.h"
#include "zygote/branch_protocol.h"

namespace spore {
namespace {

class Branch {
 public:
  // `agents`: pidfds, of the source's and of each target's.
  Branch(BranchOptions options, ReceivedFds agents)
      : options_(std::move(options)), agent_fds_(std::move(agents)) {}

  Result<> Run() {
    if (agent_fds_.count != options_.targets.size() + 1)
      return MakeError(ErrorKind::kInternal, "spored has passed too few descriptors");
    source_agent_ = PidBehind(agent_fds_.fd[0].get());
    if (source_agent_ <= 0) return MakeError(ErrorKind::kPrecondition, "the session has ended");
    for (size_t i = 0; i < options_.targets.size(); ++i) {
      agents_.push_back(PidBehind(TargetFd(i)));
      if (agents_.back() <= 0) return MakeError(ErrorKind::kUnavailable, "a branch has ended");
    }
    Result<> done = options_.interpreter == 0 ? RunFiles() : RunInterpreter();
    files_.clear();  // nobody writes there any more when an error is told
    return done;
  }

  wire::BranchDone& report() { return report_; }

 private:
  int TargetFd(size_t i) const { return agent_fds_.fd[i + 1].get(); }

  Result<FilesCopy> BeginFilesOf(pid_t agent, const BranchOptions::Target& target) const {
    FilesOrder order{.folders = {}, .owner = target.uid, .cgroups = target.cgroups};
    std::vector<UniqueFd> held;
    for (const char* place : kWritablePlaces) {
      SPORE_ASSIGN(UniqueFd from, OpenPlace(source_agent_, place));
      SPORE_ASSIGN(UniqueFd to, OpenPlace(agent, place));
      order.folders.push_back({from.get(), to.get(), place});
      held.push_back(std::move(from));
      held.push_back(std::move(to));
    }
    return FilesCopy::Begin(order);
  }

  Result<> BeginFiles() {
    for (size_t i = 0; i < options_.targets.size(); ++i) {
      SPORE_ASSIGN(FilesCopy files, BeginFilesOf(agents_[i], options_.targets[i]));
      files_.push_back(std::move(files));
    }
    return {};
  }

  void GoFiles() {
    for (FilesCopy& files : files_) files.Go();
  }

  Result<> AwaitFiles() {
    if (files_.empty()) return {};
    const uint64_t t = StepLog::Now();
    for (FilesCopy& files : files_) SPORE_TRY(files.Await());
    files_.clear();
    report_.steps.Add("files", t);
    return FaultPoint("branch-files");
  }

  Result<> RunFiles() {
    SPORE_TRY(CheckAlone(options_, source_agent_, 0));
    SPORE_TRY(BeginFiles());
    GoFiles();
    return AwaitFiles();
  }

  Result<> RunInterpreter() {
    uint64_t t = StepLog::Now();
    for (size_t i = 0; i < options_.targets.size(); ++i)
      SPORE_TRY(ChooseNextPid(TargetFd(i), options_.interpreter));
    SPORE_TRY(SendStruct(wire::kBranchChannelFd, wire::BranchReady{}));
    // While those start.
    SPORE_ASSIGN(SourceProcess source, SourceProcess::Find(source_agent_, options_.interpreter));
    t = report_.steps.Add("prepare", t);
    SPORE_ASSIGN(std::vector<TargetProcess> targets, HoldTargets());
    t = report_.steps.Add("interpreters", t);
    SPORE_TRY(FaultPoint("branch-held"));
    SPORE_TRY(BeginFiles());
    SPORE_TRY(source.Stop(options_.running));
    const uint64_t stopped = StepLog::Now();
    const Result<> copied = Copy(source, targets);
    // Whatever came of it, the source goes on.
    source.LetGo();
    report_.stopped_us = (StepLog::Now() - stopped) / 1000;
    if (!copied && !source.Lives())
      return MakeError(ErrorKind::kPrecondition, "its interpreter has ended meanwhile");
    for (const TargetProcess& target : targets) {
      if (!copied && !target.Lives())
        return MakeError(ErrorKind::kUnavailable, "a copy ended while it was made",
                         "it was killed, or the limit memory does not suffice for it");
    }
    SPORE_TRY(copied);
    for (TargetProcess& target : targets) SPORE_TRY(target.LetGo());
    return {};
  }

  Result<std::vector<TargetProcess>> HoldTargets() {
    wire::BranchInterpreters message;
    SPORE_ASSIGN(
        ReceivedMessage received,
        ReceiveMessage(wire::kBranchChannelFd, std::as_writable_bytes(std::span(&message, 1))));
    if (received.bytes != sizeof message)
      return MakeError(ErrorKind::kUnavailable, "spored has gone");
    std::vector<TargetProcess> targets;
    for (size_t i = 0; i < options_.targets.size(); ++i) {
      if (message.number[i] != options_.interpreter)
        return MakeError(ErrorKind::kUnavailable, "the interpreter of a branch has another pid");
      SPORE_ASSIGN(
          TargetProcess target,
          TargetProcess::Hold(agents_[i], TargetFd(i), message.number[i], options_.targets[i]));
      targets.push_back(std::move(target));
    }
    return targets;
  }

  Result<> Copy(SourceProcess& source, std::vector<TargetProcess>& targets) {
    uint64_t t = StepLog::Now();
    SPORE_TRY(CheckAlone(options_, source_agent_, source.pid()));
    GoFiles();
    SPORE_TRY(source.Note());
    SPORE_TRY(FaultPoint("branch-noted"));
    t = report_.steps.Add("note", t);
    // Beside the memory, as a rule.
    if (MapsTemporaryFiles(source.mappings())) SPORE_TRY(AwaitFiles());
    for (TargetProcess& target : targets) {
      SPORE_ASSIGN(const uint64_t bytes, target.TakeMemory(source));
      report_.copied_bytes += bytes;
    }
    report_.steps.Add("memory", t);
    SPORE_TRY(FaultPoint("branch-memory"));
    SPORE_TRY(AwaitFiles());
    t = StepLog::Now();
    std::vector<CopyTarget> places;
    for (TargetProcess& target : targets) places.push_back(target.DescriptorTarget());
    SPORE_TRY(CopyDescriptors(source.pid(), source.pidfd(), source.descriptors(), places));
    t = report_.steps.Add("descriptors", t);
    for (TargetProcess& target : targets) {
      SPORE_TRY(target.TakeState(source));
      SPORE_TRY(target.TakeThreads(source));
      SPORE_TRY(target.CheckConfined(source));
    }
    report_.steps.Add("threads", t);
    return {};
  }

  BranchOptions options_;
  ReceivedFds agent_fds_;
  pid_t source_agent_ = 0;
  std::vector<pid_t> agents_;
  std::vector<FilesCopy> files_;
  wire::BranchDone report_;
};

// What spored sends when there is something to do, which may be long after the start.
Result<Branch> AwaitOrder() {
  static_assert(wire::kMaxBranches + 1 <= kMaxMessageFds);
  std::vector<char> words(wire::kMaxBranchOrder);
  SPORE_ASSIGN(ReceivedMessage received,
               ReceiveMessage(wire::kBranchChannelFd, std::as_writable_bytes(std::span(words))));
  if (received.bytes == 0) return MakeError(ErrorKind::kUnavailable, "spored has gone");
  (void)prctl(PR_SET_NAME, "spore-branch");
  SPORE_ASSIGN(BranchOptions options, ParseBranchOptions({words.data(), received.bytes}));
  return Branch(std::move(options), std::move(received.fds));
}

void Tell(const Error& error, wire::BranchDone& report) {
  // A process of the source, or of a branch.
  if (error.kind == ErrorKind::kNotFound)
    return PutError({ErrorKind::kPrecondition, 0, "a process of it has ended meanwhile", {}, {}},
                    report);
  PutError(error, report);
}

}  // namespace

int BranchMain() {
  auto begun = BeginWorker("spore-spare", wire::kBranchChannelFd);
  auto branch = begun ? AwaitOrder() : tl::unexpected(std::move(begun).error());
  if (!branch) {
    if (branch.error().kind == ErrorKind::kUnavailable) return 0;  // nobody is left to work for
    fprintf(stderr, "spore-zygote: %s\n", branch.error().Message().c_str());
    return 2;
  }
  wire::BranchDone& report = branch->report();
  if (const Result<> done = branch->Run(); !done) Tell(done.error(), report);
  return SendStruct(wire::kBranchChannelFd, report) ? 0 : 1;
}

}  // namespace spore
