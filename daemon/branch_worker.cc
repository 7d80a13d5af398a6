#include "daemon/branch_worker.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "daemon/paths.h"
#include "daemon/start_program.h"

namespace spore {
namespace {

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

std::vector<std::string> Environment() {
  std::vector<std::string> environment{"PATH=/usr/bin:/bin"};
  const char* fault = std::getenv("SPORE_FAULT");
  if (fault != nullptr) environment.push_back(std::string("SPORE_FAULT=") + fault);
  return environment;
}

}  // namespace

Result<std::unique_ptr<BranchWorker>> BranchWorker::Start(EventLoop& loop, const Order& order,
                                                          Handlers handlers) {
  SPORE_ASSIGN(SocketPair pair, MakePacketPair());
  static_assert(wire::kBranchChannelFd == 3 && wire::kBranchSourceFd == 4);
  std::vector<int> passed{pair.theirs.get(), order.source_pidfd};
  for (const Target& target : order.targets) passed.push_back(target.agent_pidfd);
  std::unique_ptr<BranchWorker> worker(new BranchWorker(loop, std::move(handlers)));
  SPORE_ASSIGN(StartedProgram process,
               StartProgram({.arguments = Arguments(LibexecDirectory() + "/spore-zygote", order),
                             .environment = Environment(),
                             .err = STDERR_FILENO,
                             .passed = std::move(passed)}));
  worker->pid_ = process.pid;
  worker->pidfd_ = std::move(process.pidfd);
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
