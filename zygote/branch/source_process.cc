#include "zygote/branch/source_process.h"

#include <dirent.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <fstream>

#include "sandbox/sys/step_log.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

constexpr int kChannelFd = 3;
constexpr int kMostRounds = 16;  // of looking for threads that are born meanwhile
constexpr int kMostTries = 400;
constexpr useconds_t kBetweenUs = 250;
// So long a large piece of code may be on its way to it.
constexpr uint64_t kTakingCodeNs = 50'000'000;

bool IsOneOf(uint64_t number, std::initializer_list<long> numbers) {
  return std::any_of(numbers.begin(), numbers.end(),
                     [&](long one) { return static_cast<uint64_t>(one) == number; });
}

std::string ReadLink(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t length = readlink(path.c_str(), target, sizeof target);
  return {target, length > 0 ? static_cast<size_t>(length) : 0};
}

}  // namespace

Result<std::vector<pid_t>> ThreadsOf(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/task", pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(path.c_str()), closedir);
  if (!list) return MakeError(ErrorKind::kNotFound, "it has ended");
  std::vector<pid_t> threads;
  while (const dirent* entry = readdir(list.get())) {
    pid_t tid = 0;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec == std::errc())
      threads.push_back(tid);
  }
  std::sort(threads.begin(), threads.end(),
            [&](pid_t a, pid_t b) { return (a == pid) != (b == pid) ? a == pid : a < b; });
  return threads;
}

pid_t FindChild(pid_t parent, pid_t number) {
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", parent));
  for (pid_t child = 0; children >> child;)
    if (NumberInside(child) == number) return child;
  return 0;
}

Result<SourceProcess> SourceProcess::Find(pid_t agent, pid_t number) {
  SourceProcess source;
  source.agent_ = agent;
  source.pid_ = FindChild(agent, number);
  const auto gone = [] { return MakeError(ErrorKind::kPrecondition, "its interpreter has ended"); };
  if (source.pid_ == 0) return gone();
  source.pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, source.pid_, 0)));
  // The pid is nobody else's as long as the descriptor is of a process that lives.
  if (!source.pidfd_ || FindChild(agent, number) != source.pid_) return gone();
  SPORE_ASSIGN(RemoteMemory memory, RemoteMemory::Open(source.pid_));
  source.memory_ = std::make_unique<RemoteMemory>(std::move(memory));
  return source;
}

Result<> SourceProcess::StopOnce() {
  for (int round = 0; round < kMostRounds; ++round) {
    SPORE_ASSIGN(const std::vector<pid_t> tids, ThreadsOf(pid_));
    size_t fresh = threads_.size();
    for (const pid_t tid : tids) {
      const bool held = std::any_of(threads_.begin(), threads_.end(),
                                    [&](const Tracee& thread) { return thread.tid() == tid; });
      if (held) continue;
      Result<Tracee> thread = Tracee::Seize(tid, 0);
      if (!thread && thread.error().kind == ErrorKind::kNotFound) continue;
      if (!thread) return tl::unexpected(std::move(thread).error());
      threads_.push_back(std::move(*thread));
    }
    if (fresh == threads_.size()) {
      if (threads_.empty() || threads_.front().tid() != pid_)
        return MakeError(ErrorKind::kPrecondition, "its interpreter's first thread has ended");
      return {};
    }
    for (; fresh < threads_.size();) {
      const Result<> stopped = threads_[fresh].AwaitStop();
      if (stopped) {
        ++fresh;
        continue;
      }
      if (stopped.error().kind != ErrorKind::kNotFound) return stopped;
      std::swap(threads_[fresh], threads_.back());
      threads_.pop_back();
    }
  }
  return MakeError(ErrorKind::kPrecondition, "its interpreter starts threads too fast to be held");
}

// Half a frame is in no place from which it could be copied.
Result<bool> SourceProcess::IsQuiet(bool running) const {
  const UniqueFd channel(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd_.get(), kChannelFd, 0)));
  int waiting = 0, unsent = 0;
  if (channel && ioctl(channel.get(), FIONREAD, &waiting) == 0 && waiting > 0) return false;
  if (channel && ioctl(channel.get(), SIOCOUTQ, &unsent) == 0 && unsent > 0) return false;
  for (const Tracee& thread : threads_) {
    SPORE_ASSIGN(const ThreadRegisters registers, thread.Read());
    const user_regs_struct& general = registers.general;
    if (static_cast<int64_t>(general.orig_rax) < 0 || general.rdi != kChannelFd) continue;
    if (IsOneOf(general.orig_rax, {SYS_write, SYS_writev, SYS_sendto, SYS_sendmsg})) return false;
    if (running && IsOneOf(general.orig_rax, {SYS_read, SYS_recvfrom, SYS_recvmsg})) return false;
  }
  return true;
}

Result<> SourceProcess::Stop(bool running) {
  const uint64_t started = StepLog::Now();
  for (int i = 0; i < kMostTries; ++i) {
    SPORE_TRY(StopOnce());
    SPORE_ASSIGN(const bool quiet, IsQuiet(running && StepLog::Now() - started < kTakingCodeNs));
    if (quiet) return {};
    LetGo();
    usleep(kBetweenUs);
  }
  return MakeError(ErrorKind::kOverloaded, "its interpreter is sending a large result",
                   "try again later");
}

void SourceProcess::LetGo() {
  threads_.clear();
}

bool SourceProcess::Lives() const {
  return HasMemory(pidfd_.get(), pid_);
}

// Of those that its cgroup lists, the init, the agent and the interpreter are known.
Result<> CheckAlone(const BranchOptions& options, pid_t agent, pid_t interpreter) {
  std::ifstream members(options.cgroup + "/cgroup.procs");
  if (!members) return SysError("open", options.cgroup + "/cgroup.procs");
  if (options.alone) return {};
  const std::string inside = ReadLink(fmt::format("/proc/{}/ns/pid", agent));
  for (pid_t pid = 0; members >> pid;) {
    if (pid == interpreter || pid == agent || NumberInside(pid) <= 1) continue;
    // Of ours: the proxy of a session with a way out.
    if (ReadLink(fmt::format("/proc/{}/ns/pid", pid)) != inside) continue;
    std::ifstream name(fmt::format("/proc/{}/comm", pid));
    std::string comm;
    std::getline(name, comm);
    return MakeError(
        ErrorKind::kPrecondition,
        fmt::format("another program runs in it: {} (process {})", comm, NumberInside(pid)),
        "end it, or leave such programs out of the branch (only_interpreter)");
  }
  return {};
}

Result<> SourceProcess::Note() {
  SPORE_ASSIGN(mappings_, ReadMappings(pid_));
  SPORE_ASSIGN(instruction_, FindSyscallInstruction(pid_, mappings_));
  thread_states_.clear();
  for (Tracee& thread : threads_) {
    SourceThread source(thread, *memory_, instruction_);
    SPORE_ASSIGN(ThreadState state, source.Note());
    thread_states_.push_back(std::move(state));
  }
  std::ifstream timers(fmt::format("/proc/{}/timers", pid_));
  if (timers.peek() != std::ifstream::traits_type::eof())
    return MakeError(ErrorKind::kPrecondition, "its interpreter has timers of timer_create(2)");
  SPORE_ASSIGN(descriptors_, NoteDescriptors(pid_, agent_));
  state_.working_directory = ReadLink(fmt::format("/proc/{}/cwd", pid_));
  const Status status(pid_);
  const std::string umask = status.Line("Umask");
  std::from_chars(umask.data(), umask.data() + umask.size(), state_.umask, 8);
  SourceThread first(threads_.front(), *memory_, instruction_);
  const uint64_t known = status.Mask("SigCgt") | status.Mask("SigIgn");
  SPORE_ASSIGN(state_.actions, first.NoteActions(known));
  return {};
}

}  // namespace spore
