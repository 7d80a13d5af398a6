#include "daemon/branch_worker.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "daemon/paths.h"

namespace spore {
namespace {

// Descriptors are moved here first, so that none of the dup2 calls overwrites a later one's source.
constexpr int kAboveFixedFds = wire::kBranchSourceFd + wire::kMaxBranches + 1;

constexpr std::chrono::seconds kLimit{60};

std::vector<std::string> Arguments(const std::string& program, const BranchWorker::Order& order) {
  std::vector<std::string> words{program, "branch",
                                 "interpreter=" + std::to_string(order.interpreter),
                                 "cgroup=" + order.cgroup};
  if (order.running) words.emplace_back("running");
  if (order.alone) words.emplace_back("alone");
  for (const BranchWorker::Target& target : order.targets) {
    words.push_back("target=" + std::to_string(target.uid));
    for (const std::string& cgroup : target.cgroups) words.push_back("enter=" + cgroup);
  }
  return words;
}

// Default signal state, no input, our own stderr, and the descriptors from 3 on.
class SpawnSettings {
 public:
  SpawnSettings() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    error_ = posix_spawn_file_actions_init(&files_) | posix_spawnattr_init(&attributes_);
    error_ |= posix_spawnattr_setsigmask(&attributes_, &none);
    error_ |= posix_spawnattr_setsigdefault(&attributes_, &all);
    error_ |= posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    error_ |= posix_spawn_file_actions_addopen(&files_, 0, "/dev/null", O_RDWR, 0);
    error_ |= posix_spawn_file_actions_adddup2(&files_, 0, 1);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void Pass(int fd) { error_ |= posix_spawn_file_actions_adddup2(&files_, fd, next_++); }
  Result<pid_t> Spawn(std::vector<std::string> arguments) {
    error_ |= posix_spawn_file_actions_addclosefrom_np(&files_, next_);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/bin:/bin", fault = "SPORE_FAULT=";
    if (const char* armed = std::getenv("SPORE_FAULT"); armed != nullptr) fault += armed;
    char* environment[] = {path.data(), fault.data(), nullptr};
    pid_t pid = -1;
    if (error_ == 0)
      error_ = posix_spawn(&pid, argv[0], &files_, &attributes_, argv.data(), environment);
    if (error_ == 0) return pid;
    return SysErrorOf(error_, "start", arguments[0], "SPORE_LIBEXEC names its directory");
  }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
  int error_ = 0;
  int next_ = wire::kBranchChannelFd;
};

Result<UniqueFd> MovedUp(int fd) {
  UniqueFd moved(fcntl(fd, F_DUPFD_CLOEXEC, kAboveFixedFds));
  if (!moved) return SysError("duplicate a descriptor");
  return moved;
}

}  // namespace

Result<std::unique_ptr<BranchWorker>> BranchWorker::Start(EventLoop& loop, const Order& order,
                                                          Handlers handlers) {
  SPORE_ASSIGN(SocketPair pair, MakePacketPair());
  std::vector<UniqueFd> passed;
  std::vector<int> all{pair.theirs.get(), order.source_pidfd};
  for (const Target& target : order.targets) all.push_back(target.agent_pidfd);
  SpawnSettings settings;
  for (const int fd : all) {
    SPORE_ASSIGN(UniqueFd moved, MovedUp(fd));
    settings.Pass(moved.get());
    passed.push_back(std::move(moved));
  }
  std::unique_ptr<BranchWorker> worker(new BranchWorker(loop, std::move(handlers)));
  SPORE_ASSIGN(worker->pid_,
               settings.Spawn(Arguments(LibexecDirectory() + "/spore-zygote", order)));
  worker->pidfd_.Reset(static_cast<int>(syscall(SYS_pidfd_open, worker->pid_, 0)));
  if (!worker->pidfd_) return SysError("pidfd_open");
  BranchWorker* const self = worker.get();
  worker->channel_ = std::make_unique<PacketChannel>(
      loop, std::move(pair.ours),
      PacketChannel::Handlers{.on_packet = [self](Packet& packet) { self->OnPacket(packet); },
                              .on_close = [self](int) { self->OnClosed(); }});
  worker->limit_timer_ = loop.AddTimer(kLimit, [self] {
    self->limit_timer_ = 0;
    self->Tell(MakeError(ErrorKind::kOverloaded, "it could not be copied within 60 s"));
    self->Kill();
  });
  worker->end_ = loop.WatchReadable(self->pidfd_.get(), [self] { self->OnEnded(); });
  return worker;
}

BranchWorker::~BranchWorker() {
  *alive_ = false;
  if (limit_timer_ != 0) loop_.CancelTimer(limit_timer_);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
  (void)TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0));
}

void BranchWorker::Kill() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

void BranchWorker::TellInterpreters(std::span<const int32_t> numbers) {
  wire::BranchInterpreters message;
  std::copy(numbers.begin(), numbers.end(), message.number);
  (void)channel_->SendStruct(message);  // if it has gone, that is told
}

void BranchWorker::Tell(Result<wire::BranchDone> done) {
  if (!std::exchange(told_, true)) handlers_.on_done(std::move(done));
}

void BranchWorker::OnPacket(const Packet& packet) {
  wire::BranchReady ready;
  wire::BranchDone done;
  if (packet.CopyTo(ready)) return handlers_.on_ready();
  if (!packet.CopyTo(done)) return Kill();
  if (done.error[0] == '\0') return Tell(done);
  done.error[sizeof done.error - 1] = '\0';
  const auto kind = std::min(done.error_kind, static_cast<uint32_t>(ErrorKind::kUnavailable));
  Tell(MakeError(static_cast<ErrorKind>(kind), done.error));
}

// All that it has said has been read by then.
void BranchWorker::OnClosed() {
  closed_ = true;
  Tell(MakeError(ErrorKind::kInternal, "the process that branches sessions has ended"));
  TellEndSoon();
}

void BranchWorker::OnEnded() {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
    return;
  pid_ = 0;
  end_.reset();
  TellEndSoon();
}

void BranchWorker::TellEndSoon() {
  if (!closed_ || pid_ != 0) return;
  loop_.Post([this, alive = alive_] {
    if (*alive) handlers_.on_ended();
  });
}

}  // namespace spore
