#include "zygote/branch/branch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/branch/copy_files.h"
#include "zygote/branch/last_pid.h"
#include "zygote/branch/source_process.h"
#include "zygote/branch/target_process.h"
#include "zygote/branch_protocol.h"

namespace spore {
namespace {

pid_t PidOf(int pidfd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(pidfd));
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("Pid:")) return static_cast<pid_t>(strtol(line.c_str() + 4, nullptr, 10));
  return 0;
}

// For folders that are held open while what is in them is copied, and descriptors that are made.
void AllowManyFiles() {
  constexpr rlim_t kManyFiles = 1u << 20;
  rlimit limit{kManyFiles, kManyFiles};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

class Branch {
 public:
  explicit Branch(BranchOptions options) : options_(std::move(options)) {}

  Result<> Run() {
    source_agent_ = PidOf(wire::kBranchSourceFd);
    if (source_agent_ <= 0) return MakeError(ErrorKind::kPrecondition, "the session has ended");
    for (size_t i = 0; i < options_.targets.size(); ++i) {
      agents_.push_back(PidOf(TargetFd(i)));
      if (agents_.back() <= 0) return MakeError(ErrorKind::kUnavailable, "a branch has ended");
    }
    return options_.interpreter == 0 ? RunFiles() : RunInterpreter();
  }

  wire::BranchDone& report() { return report_; }

 private:
  static int TargetFd(size_t i) { return wire::kBranchSourceFd + 1 + static_cast<int>(i); }

  Result<> CopyFilesTo(pid_t agent, const BranchOptions::Target& target) const {
    FilesOrder order{.folders = {}, .owner = target.uid, .cgroups = target.cgroups};
    std::vector<UniqueFd> held;
    for (const char* place : kWritablePlaces) {
      SPORE_ASSIGN(UniqueFd from, OpenPlace(source_agent_, place));
      SPORE_ASSIGN(UniqueFd to, OpenPlace(agent, place));
      order.folders.push_back({from.get(), to.get(), place});
      held.push_back(std::move(from));
      held.push_back(std::move(to));
    }
    return CopyFiles(order);
  }

  Result<> CopyAllFiles() {
    for (size_t i = 0; i < options_.targets.size(); ++i)
      SPORE_TRY(CopyFilesTo(agents_[i], options_.targets[i]));
    return FaultPoint("branch-files");
  }

  Result<> RunFiles() {
    const uint64_t t = StepLog::Now();
    SPORE_TRY(CheckAlone(options_, source_agent_, 0));
    SPORE_TRY(CopyAllFiles());
    report_.steps.Add("files", t);
    return {};
  }

  Result<> RunInterpreter() {
    uint64_t t = StepLog::Now();
    SPORE_ASSIGN(SourceProcess source, SourceProcess::Find(source_agent_, options_.interpreter));
    for (size_t i = 0; i < options_.targets.size(); ++i)
      SPORE_TRY(ChooseNextPid(TargetFd(i), options_.interpreter));
    SPORE_TRY(SendStruct(wire::kBranchChannelFd, wire::BranchReady{}));
    t = report_.steps.Add("prepare", t);
    SPORE_ASSIGN(std::vector<TargetProcess> targets, HoldTargets());
    t = report_.steps.Add("interpreters", t);
    SPORE_TRY(FaultPoint("branch-held"));
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
    SPORE_TRY(source.Note());
    SPORE_TRY(FaultPoint("branch-noted"));
    t = report_.steps.Add("note", t);
    SPORE_TRY(CopyAllFiles());
    t = report_.steps.Add("files", t);
    for (TargetProcess& target : targets) {
      SPORE_ASSIGN(const uint64_t bytes, target.TakeMemory(source));
      report_.copied_bytes += bytes;
    }
    t = report_.steps.Add("memory", t);
    SPORE_TRY(FaultPoint("branch-memory"));
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
  pid_t source_agent_ = 0;
  std::vector<pid_t> agents_;
  wire::BranchDone report_;
};

}  // namespace

int BranchMain(int argc, char** argv) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)prctl(PR_SET_NAME, "spore-branch");
  umask(0077);
  AllowManyFiles();
  auto options = ParseBranchOptions(argc, argv);
  const char* fault = std::getenv("SPORE_FAULT");
  if (auto armed = ArmFaultPoint(fault == nullptr ? "" : fault); !armed)
    options = tl::unexpected(std::move(armed).error());
  if (!options) {
    fprintf(stderr, "spore-zygote: %s\n", options.error().Message().c_str());
    return 2;
  }
  const int last = wire::kBranchSourceFd + static_cast<int>(options->targets.size());
  for (int fd = wire::kBranchChannelFd; fd <= last; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
      perror("spore-zygote: descriptors from spored");
      return 2;
    }
  }
  Branch branch(std::move(*options));
  wire::BranchDone& report = branch.report();
  if (const Result<> done = branch.Run(); !done) {
    Error error = done.error();
    if (error.kind == ErrorKind::kNotFound)
      error = {ErrorKind::kPrecondition, 0, "a process of it has ended meanwhile", {}, {}};
    report.error_kind = static_cast<uint32_t>(error.kind);
    strncpy(report.error, error.Message().c_str(), sizeof report.error - 1);
  }
  return SendStruct(wire::kBranchChannelFd, report) ? 0 : 1;
}

}  // namespace spore
