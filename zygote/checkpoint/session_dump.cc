#include "zygote/checkpoint/session_dump.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "sandbox/steps/step.h"
#include "sandbox/sys/fault_point.h"
#include "zygote/branch/copy_files.h"
#include "zygote/branch/thread_state.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/clock_offsets.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/complaint.h"
#include "zygote/checkpoint/dump_filter.h"
#include "zygote/checkpoint/dump_notifier.h"
#include "zygote/checkpoint/foreign_mounts.h"
#include "zygote/checkpoint/take_back.h"

namespace spore {
namespace {

using wire::SessionFate;

// Of all that is done before CRIU: spored waits no longer than that and CRIU's limit take together,
// and a session that cannot be held, or whose files are copied slowly, goes on.
constexpr int kMostTries = 50;
constexpr uint64_t kHoldLimitNs = 10'000'000'000;
constexpr std::chrono::milliseconds kFilesLimit{25'000};
constexpr useconds_t kBetweenTriesUs = 20'000;
constexpr size_t kMostLog = 1 << 20;

// The user namespace that a pid namespace belongs to: the image's (ioctl_ns(2)).
Result<UniqueFd> OpenUserNamespace(pid_t agent) {
  const UniqueFd pids(open(fmt::format("/proc/{}/ns/pid", agent).c_str(), O_RDONLY | O_CLOEXEC));
  if (!pids) return SysError("open a session's pid namespace");
  UniqueFd owner(ioctl(pids.get(), NS_GET_USERNS));
  if (!owner) return SysError("NS_GET_USERNS");
  return owner;
}

// The image's, whose child the session's init is.
Result<pid_t> FindSupervisor(const SessionCgroup& cgroup, pid_t agent) {
  SPORE_ASSIGN(const std::vector<pid_t> pids, cgroup.Processes());
  const auto pid_namespace = [](pid_t pid) {
    struct stat status {};
    const std::string path = fmt::format("/proc/{}/ns/pid", pid);
    return stat(path.c_str(), &status) < 0 ? 0 : status.st_ino;
  };
  const ino_t inside = pid_namespace(agent);
  for (const pid_t pid : pids) {
    if (NumberInside(pid) == 1 && pid_namespace(pid) == inside)
      return static_cast<pid_t>(strtol(StatusLine(pid, "PPid").c_str(), nullptr, 10));
  }
  return MakeError(ErrorKind::kPrecondition, "the session has ended");
}

// Of CRIU's writing, and so of a tenant's perhaps.
std::string ReadLog() {
  const std::string path = std::string(wire::kCheckpointImages) + "/" + wire::kCheckpointLog;
  const UniqueFd log(openat(wire::kCheckpointFolderFd, path.c_str(),
                            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  std::string text(kMostLog, '\0');
  const ssize_t got = log ? read(log.get(), text.data(), text.size()) : 0;
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace

Result<> SessionDump::Run() {
  SPORE_TRY(Prepare());
  SPORE_ASSIGN(const SeccompProgram program, CompileDumpProgram());
  const uint64_t started = StepLog::Now();
  // Until it is known to go on as it was.
  report_.fate = SessionFate::kLost;
  if (const Result<> held = Hold(program); !held) {
    SPORE_TRY(GoOn());
    return held;
  }
  report_.steps.Add("hold", started);
  const Result<> done = DumpHeld();
  report_.stopped_us = (StepLog::Now() - held_since_) / 1000;
  return done;
}

Result<> SessionDump::Prepare() {
  agent_ = PidBehind(wire::kCheckpointProcessFd);
  if (agent_ <= 0) return MakeError(ErrorKind::kPrecondition, "the session has ended");
  if (NumberInside(agent_) != options_.agent)
    return MakeError(ErrorKind::kInternal, "the session's agent has another pid");
  SPORE_ASSIGN(SessionCgroup cgroup, SessionCgroup::Open(options_.cgroups));
  cgroup_.emplace(std::move(cgroup));
  SPORE_ASSIGN(user_namespace_, OpenUserNamespace(agent_));
  SPORE_ASSIGN(supervisor_, FindSupervisor(*cgroup_, agent_));
  return {};
}

// In the middle of vfork(2) nothing can be held: a moment later it can, as a rule.
Result<> SessionDump::Hold(const SeccompProgram& program) {
  held_since_ = StepLog::Now();
  const uint64_t until = held_since_ + kHoldLimitNs;
  for (int tries = 0;; ++tries) {
    const TracerParts parts{.options = options_,
                            .cgroup = *cgroup_,
                            .session = wire::kCheckpointProcessFd,
                            .user_namespace = user_namespace_.get(),
                            .program = program,
                            .limit_ns = until - held_since_};
    auto tracer = DumpTracer::Start(parts);
    if (tracer) {
      tracer_.emplace(std::move(*tracer));
      report_.processes = tracer_->processes();
      report_.last_number = tracer_->last_number();
      const Clocks clocks = ClocksOf(agent_);
      report_.monotonic_ns = clocks.monotonic_ns;
      report_.boottime_ns = clocks.boottime_ns;
      return {};
    }
    SPORE_TRY(cgroup_->Thaw());
    usleep(kBetweenTriesUs);
    held_since_ = StepLog::Now();
    if (tracer.error().kind != ErrorKind::kOverloaded || tries == kMostTries ||
        held_since_ >= until)
      return tl::unexpected(std::move(tracer).error());
  }
}

Result<> SessionDump::CopyAllFiles() {
  const std::string uid = StatusLine(agent_, "Uid");
  FilesOrder order{.folders = {},
                   .owner = 0,
                   .cgroups = options_.enter,
                   .limit = std::min(kFilesLimit, options_.limit)};
  std::from_chars(uid.data(), uid.data() + uid.size(), order.owner);
  if (order.owner == 0) return MakeError(ErrorKind::kPrecondition, "the session has ended");
  const std::pair<const char*, const char*> places[] = {{kWritablePlaces[0], wire::kCheckpointTmp},
                                                        {kWritablePlaces[1], wire::kCheckpointShm}};
  std::vector<UniqueFd> held;
  for (const auto& [place, folder] : places) {
    SPORE_ASSIGN(UniqueFd from, OpenPlace(agent_, place));
    UniqueFd to(
        openat(wire::kCheckpointFolderFd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!to) return SysError("open", folder);
    order.folders.push_back({from.get(), to.get(), place});
    held.push_back(std::move(from));
    held.push_back(std::move(to));
  }
  return CopyFiles(order);
}

SessionRoom::Parts SessionDump::RoomParts() const {
  return {.session = wire::kCheckpointProcessFd,
          .workplace = {.files = wire::kCheckpointMountFd,
                        .criu = wire::kCheckpointCriuFd,
                        .whole_proc = true},
          .image_mounts = ReadMounts(supervisor_),
          .shown_by = {options_.agent, NumberInside(tracer_->pid())}};
}

Result<> SessionDump::DumpHeld() {
  uint64_t t = StepLog::Now();
  const auto prepare = [&]() -> Result<SessionSnapshot> {
    SPORE_TRY(FaultPoint("checkpoint-held"));
    SPORE_TRY(CheckNothingInFlight(*cgroup_));
    SPORE_TRY(CopyAllFiles());
    t = report_.steps.Add("files", t);
    SPORE_ASSIGN(SessionSnapshot before, SessionSnapshot::Take(*cgroup_, agent_));
    SPORE_ASSIGN(SessionRoom room, SessionRoom::Open(RoomParts()));
    room_.emplace(std::move(room));
    SPORE_TRY(FaultPoint("checkpoint-workplace"));
    t = report_.steps.Add("prepare", t);
    return before;
  };
  auto before = prepare();
  if (!before) {
    SPORE_TRY(LetGo());
    return tl::unexpected(std::move(before).error());
  }
  const Result<> dumped = RunCriu(*before);
  report_.steps.Add("criu", t);
  return dumped;
}

Result<> SessionDump::RunCriu(const SessionSnapshot& before) {
  auto listener = tracer_->BecomeCriu();
  if (!listener) {
    SPORE_TRY(LetGo());
    return tl::unexpected(std::move(listener).error());
  }
  DumpNotifier notifier({.listener = std::move(*listener),
                         .transport = tracer_->transport(),
                         .criu = tracer_->pid(),
                         .criu_pidfd = tracer_->pidfd(),
                         .held = before.numbers(),
                         .cgroup = *cgroup_});
  SPORE_ASSIGN(const CriuEnd end, notifier.Serve(options_.limit));
  if (end == CriuEnd::kDied)
    return MakeError(ErrorKind::kUnavailable, "CRIU was killed",
                     "its memory may not have sufficed");
  Result<> dumped = end == CriuEnd::kLate ? Late() : Complaint(notifier.exit_code());
  Result<> back = TakeBack(tracer_->pid(), before.numbers(), *cgroup_, before, agent_);
  if (back) {
    tracer_->End();
    back = CheckTakenBack(options_.enter, *cgroup_, before, agent_);
  }
  if (!back) {
    // What CRIU says comes first: it may be why.
    if (dumped) return back;
    dumped.error().operation += "; then, " + back.error().operation;
    return dumped;
  }
  if (dumped) dumped = FaultPoint("checkpoint-dumped");
  if (dumped) dumped = CheckImages(before);
  SPORE_TRY(RemoveTraces());
  if (!dumped || options_.leave_running) SPORE_TRY(GoOn());
  if (dumped) report_.fate = SessionFate::kDumped;
  return dumped;
}

Result<> SessionDump::Late() const {
  return MakeError(ErrorKind::kOverloaded,
                   fmt::format("CRIU was not done within {} ms", options_.limit.count()));
}

// CRIU has ended well, and left some out all the same.
Result<> SessionDump::CheckImages(const SessionSnapshot& before) const {
  for (const pid_t number : before.processes()) {
    for (const char* kind : {"core", "mm"}) {
      const std::string path = fmt::format("{}/{}-{}.img", wire::kCheckpointImages, kind, number);
      if (faccessat(wire::kCheckpointFolderFd, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return MakeError(ErrorKind::kPrecondition,
                         fmt::format("CRIU has left process {} of it out", number));
    }
  }
  return {};
}

Result<> SessionDump::Complaint(int exit_code) const {
  if (exit_code == 0) return {};
  if (exit_code == DumpTracer::kNotExecuted)
    return MakeError(ErrorKind::kPrecondition, "CRIU cannot be executed",
                     "spore.toml(5), `criu`, says where it is looked for");
  return tl::unexpected(DumpComplaint(ReadLog()));
}

// Of what no checkpoint needs.
Result<> SessionDump::RemoveTraces() {
  for (const char* name : {wire::kCheckpointLog, wire::kCheckpointKernel}) {
    const std::string path = std::string(wire::kCheckpointImages) + "/" + name;
    if (unlinkat(wire::kCheckpointFolderFd, path.c_str(), 0) < 0 && errno != ENOENT)
      return SysError("remove", path);
  }
  return CloseRoom();
}

Result<> SessionDump::CloseRoom() {
  if (room_) SPORE_TRY(room_->Close());
  room_.reset();
  return {};
}

// Before CRIU could change anything.
Result<> SessionDump::LetGo() {
  SPORE_TRY(cgroup_->BeginToFreeze());
  SPORE_TRY(tracer_->LetGo());
  return GoOn();
}

Result<> SessionDump::GoOn() {
  SPORE_TRY(CloseRoom());
  SPORE_TRY(cgroup_->Thaw());
  report_.fate = SessionFate::kGoesOn;
  return {};
}

}  // namespace spore
