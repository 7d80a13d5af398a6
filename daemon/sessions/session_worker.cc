#include "daemon/sessions/session_worker.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "daemon/common/paths.h"
#include "daemon/common/start_program.h"

namespace spore {
namespace {

std::vector<std::string> Environment() {
  std::vector<std::string> environment{"PATH=/usr/bin:/bin"};
  const char* fault = std::getenv("SPORE_FAULT");
  if (fault != nullptr) environment.push_back(std::string("SPORE_FAULT=") + fault);
  return environment;
}

}  // namespace

Result<std::unique_ptr<SessionWorker>> SessionWorker::Start(EventLoop& loop, Order order,
                                                            Handlers handlers) {
  SPORE_ASSIGN(SocketPair pair, MakePacketPair());
  std::vector<int> passed{pair.theirs.get()};
  passed.insert(passed.end(), order.passed.begin(), order.passed.end());
  order.arguments.insert(order.arguments.begin(), LibexecDirectory() + "/spore-zygote");
  std::unique_ptr<SessionWorker> worker(new SessionWorker(loop, std::move(handlers)));
  SPORE_ASSIGN(StartedProgram process, StartProgram({.arguments = std::move(order.arguments),
                                                     .environment = Environment(),
                                                     .err = STDERR_FILENO,
                                                     .passed = std::move(passed)}));
  worker->pid_ = process.pid;
  worker->pidfd_ = std::move(process.pidfd);
  SessionWorker* const self = worker.get();
  worker->channel_ = std::make_unique<PacketChannel>(
      loop, std::move(pair.ours),
      PacketChannel::Handlers{.on_packet = [self](Packet& p) { self->handlers_.on_packet(p); },
                              .on_close =
                                  [self](int) {
                                    // All that it has said has been read by then.
                                    self->closed_ = true;
                                    self->handlers_.on_closed();
                                    self->TellEndSoon();
                                  }});
  if (order.limit.count() > 0) worker->Limit(order.limit);
  worker->end_ = loop.WatchReadable(self->pidfd_.get(), [self] { self->OnEnded(); });
  return worker;
}

SessionWorker::~SessionWorker() {
  *alive_ = false;
  if (limit_timer_ != 0) loop_.CancelTimer(limit_timer_);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);  // not yet reaped, so the number is still its own
  (void)TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0));
}

void SessionWorker::Limit(std::chrono::seconds limit) {
  limit_timer_ = loop_.AddTimer(limit, [this] {
    limit_timer_ = 0;
    handlers_.on_late();
    Kill();
  });
}

void SessionWorker::Terminate() {
  if (pid_ > 0) kill(pid_, SIGTERM);
}

void SessionWorker::Kill() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

void SessionWorker::OnEnded() {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
    return;
  pid_ = 0;
  end_.reset();
  TellEndSoon();
}

void SessionWorker::TellEndSoon() {
  if (!closed_ || pid_ != 0) return;
  loop_.Post([this, alive = alive_] {
    if (*alive) handlers_.on_ended();
  });
}

v1::Trace TraceOfWorker(const char* process, const wire::Steps& steps, uint64_t base_ns) {
  v1::Trace trace;
  for (uint32_t i = 0; i < std::min<uint32_t>(steps.count, wire::Steps::kMaxSteps); ++i) {
    const wire::Step& from = steps.step[i];
    v1::Step& step = *trace.add_steps();
    step.set_process(process);
    step.set_name(std::string(from.name, strnlen(from.name, sizeof from.name)));
    step.set_start_us((static_cast<int64_t>(from.start_ns) - static_cast<int64_t>(base_ns)) / 1000);
    step.set_duration_us((from.end_ns - from.start_ns) / 1000);
  }
  trace.set_total_us((MonotonicNs() - base_ns) / 1000);
  return trace;
}

}  // namespace spore
