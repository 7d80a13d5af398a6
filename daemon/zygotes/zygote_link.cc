#include "daemon/zygotes/zygote_link.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "daemon/common/log.h"

namespace spore {
namespace {

constexpr size_t kMaxMessageLine = 1024;
// In attempts, one a millisecond. Thousands of sandboxes that end with their supervisor take
// seconds; within what the daemon allows itself for its end (kStopLimit in daemon.cc).
constexpr int kReapPatience = 15'000;
constexpr int kPoliteAttempts = 1000;

}  // namespace

std::string DescribeExit(const wire::ProcessExited& exited) {
  return std::string("it ended with ") + (exited.code == CLD_EXITED ? "status " : "signal ") +
         std::to_string(exited.status);
}

ZygoteLink::ZygoteLink(EventLoop& loop, std::string name, Cgroup cgroup, Handlers handlers)
    : loop_(loop),
      name_(std::move(name)),
      cgroup_(std::move(cgroup)),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)) {}

ZygoteLink::~ZygoteLink() {
  *alive_ = false;
  if (reap_timer_ != 0) loop_.CancelTimer(reap_timer_);
  if (process_group_ == 0 || unreapable_) return;
  const auto group = static_cast<id_t>(process_group_);
  siginfo_t info{};
  // The group's id stays reserved while one of its processes is unreaped, so this hits no other.
  if (waitid(P_PGID, group, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
    kill(-process_group_, SIGKILL);
  }
  while (waitid(P_PGID, group, nullptr, WEXITED) == 0 || errno == EINTR) {
  }
}

Result<std::unique_ptr<ZygoteLink>> ZygoteLink::Start(EventLoop& loop, const ImageManifest& image,
                                                      const ZygoteSpawnOptions& options,
                                                      Cgroup cgroup, Handlers handlers) {
  SPORE_ASSIGN(ZygoteProcess process, SpawnZygote(image, options));
  std::unique_ptr<ZygoteLink> link(
      new ZygoteLink(loop, image.name, std::move(cgroup), std::move(handlers)));
  const pid_t launcher = process.launcher;
  link->Attach(std::move(process));
  SPORE_TRY(link->cgroup_.Attach(launcher));
  const std::array<std::byte, 1> go{};
  wire::Prepare prepare{.flat = image.flat ? 1u : 0u, .loopback = image.loopback ? 1u : 0u};
  fmt::format("{}", fmt::join(image.deny, ",")).copy(prepare.denied, sizeof prepare.denied - 1);
  SPORE_TRY(link->zygote_->Send(prepare));
  SPORE_TRY(link->supervisor_->Send(go));
  return link;
}

void ZygoteLink::Attach(ZygoteProcess process) {
  process_group_ = process.launcher;
  launcher_running_ = true;
  launcher_pidfd_ = std::move(process.launcher_pidfd);
  messages_fd_ = std::move(process.messages);
  launcher_watch_ = loop_.WatchReadable(launcher_pidfd_.get(), [this] { LauncherEnded(); });
  messages_watch_ = loop_.WatchReadable(messages_fd_.get(), [this] { ReadMessages(); });
  supervisor_ = std::make_unique<PacketChannel>(
      loop_, std::move(process.supervisor),
      PacketChannel::Handlers{[this](Packet& packet) { SupervisorPacket(packet); },
                              [this](int) { SupervisorGone(); }});
  zygote_ = std::make_unique<ZygoteChannel>(
      loop_, "image " + name_, std::move(process.zygote),
      ZygoteChannel::Handlers{[this](const wire::ZygoteReady& ready) { handlers_.on_ready(ready); },
                              [this](const std::string& reason) { ZygoteGone(reason); }});
}

void ZygoteLink::ReadMessages() {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t size = read(messages_fd_.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) break;
    for (const char c : std::span(buffer.data(), static_cast<size_t>(size))) {
      if (c != '\n' && message_line_.size() < kMaxMessageLine) {
        message_line_ += c;
        continue;
      }
      if (!message_line_.empty()) {
        last_message_ = message_line_;
        Log(LogLevel::kInfo, "image " + name_ + ": " + message_line_, {{"SPORE_IMAGE", name_}});
      }
      message_line_.clear();
    }
  }
  messages_watch_.reset();
}

void ZygoteLink::LauncherEnded() {
  siginfo_t info{};
  const int result =
      waitid(P_PIDFD, static_cast<id_t>(launcher_pidfd_.get()), &info, WEXITED | WNOHANG);
  if (result == 0 && info.si_pid == 0) return;
  launcher_running_ = false;
  launcher_watch_.reset();
  launcher_pidfd_.Reset();
  if (info.si_code == CLD_EXITED && info.si_status == 0) return;
  ReadMessages();
  zygote_->End("spore-zygote ended with " +
               std::string(info.si_code == CLD_EXITED ? "status " : "signal ") +
               std::to_string(info.si_status));
}

void ZygoteLink::MakeSandbox(const wire::MakeSandbox& request, std::span<const int> fds,
                             std::function<void(Result<Made>)> done) {
  if (supervisor_ == nullptr) {
    return done(MakeError(ErrorKind::kUnavailable, "the supervisor of image " + name_ + " ended"));
  }
  if (auto sent = supervisor_->SendStruct(request, fds); !sent) {
    return done(tl::unexpected(std::move(sent).error().Wrap("ask for a sandbox")));
  }
  making_[request.sandbox_id] = std::move(done);
}

void ZygoteLink::Fork(ZygoteChannel& zygote, const wire::Fork& request, std::span<const int> fds,
                      ZygoteChannel::Done done) {
  zygote.Fork(request, fds, CountFork(std::move(done)));
}

void ZygoteLink::ForkZygote(ZygoteChannel& zygote, const wire::ForkZygote& request, int socket,
                            ZygoteChannel::Done done) {
  zygote.ForkZygote(request, socket, CountFork(std::move(done)));
}

ZygoteChannel::Done ZygoteLink::CountFork(ZygoteChannel::Done done) {
  ++forking_;
  return [this, done = std::move(done), alive = alive_](Result<Forked> forked) {
    done(std::move(forked));
    // Exits nobody can claim any more (a sandbox that failed to be made).
    if (*alive && --forking_ == 0) early_exits_.clear();
  };
}

void ZygoteLink::SupervisorPacket(Packet& packet) {
  wire::Header header{.type = wire::Type::kProcessExited};
  if (packet.data.size() < sizeof header) return;
  memcpy(&header, packet.data.data(), sizeof header);
  if (header.magic != wire::kMagic) {
    Log(LogLevel::kError, "image " + name_ + ": its supervisor is of another build",
        {{"SPORE_IMAGE", name_}});
    return Close();
  }
  if (header.type == wire::Type::kSandboxMade) return HandleMade(packet);
  wire::CheckpointDone checkpoint;
  if (header.type == wire::Type::kCheckpointDone && packet.CopyTo(checkpoint))
    return HandleCheckpoint(checkpoint);
  wire::ProcessExited exited;
  if (header.type == wire::Type::kProcessExited && packet.CopyTo(exited)) HandleExit(exited);
}

void ZygoteLink::HandleMade(Packet& packet) {
  Made made;
  if (!packet.CopyTo(made.message)) return;
  const auto found = making_.find(made.message.sandbox_id);
  if (found == making_.end()) return;
  auto done = std::move(found->second);
  making_.erase(found);
  if (made.message.failure.failed()) {
    return done(tl::unexpected(ToError(made.message.failure, "make a sandbox")));
  }
  made.fds = std::move(packet.fds);
  const size_t expected = size_t{wire::kLandlockRuleset} +
                          (made.message.has_landlock != 0 ? 1 : 0) +
                          (made.message.has_listener != 0 ? 1 : 0);
  if (packet.fds_lost) {
    made.lost = FdsLost("a new sandbox");
  } else if (made.fds.size() != expected) {
    made.lost =
        Error{ErrorKind::kInternal, 0, "a sandbox came with a wrong set of descriptors", {}, {}};
  }
  done(std::move(made));
}

Result<> ZygoteLink::SendCheckpoint(const wire::Checkpoint& order, std::span<const int> fds) {
  if (supervisor_ == nullptr)
    return MakeError(ErrorKind::kUnavailable, "the supervisor of image " + name_ + " ended");
  return supervisor_->SendStruct(order, fds);
}

void ZygoteLink::HandleCheckpoint(const wire::CheckpointDone& done) {
  zygote_->SetPid(done.pid);
  if (handlers_.on_checkpoint_done) handlers_.on_checkpoint_done(done);
}

void ZygoteLink::HandleExit(const wire::ProcessExited& exited) {
  // Until its pid is known it is the supervisor's only child.
  if (zygote_->pid() == 0 || exited.pid == zygote_->pid())
    return zygote_->End(DescribeExit(exited));
  const auto found = exit_handlers_.find(exited.pid);
  if (found != exit_handlers_.end()) {
    auto handler = std::move(found->second);
    exit_handlers_.erase(found);
    return handler(exited);
  }
  if (forking_ > 0) early_exits_[exited.pid] = exited;
}

void ZygoteLink::OnExit(int32_t pid, std::function<void(const Exit&)> handler) {
  if (supervisor_ == nullptr) {
    // Not at once: the caller is still setting itself up.
    loop_.Post([handler = std::move(handler)] { handler(std::nullopt); });
    return;
  }
  const auto early = early_exits_.find(pid);
  if (early == early_exits_.end()) {
    exit_handlers_[pid] = std::move(handler);
    return;
  }
  const wire::ProcessExited exited = early->second;
  early_exits_.erase(early);
  loop_.Post([handler = std::move(handler), exited] { handler(exited); });
}

void ZygoteLink::ForgetExit(int32_t pid) {
  exit_handlers_.erase(pid);
}

void ZygoteLink::ZygoteGone(const std::string& reason) {
  ReadMessages();
  // One that could not say why itself may have written it.
  const bool explained = zygote_->explained() || zygote_->ready() || last_message_.empty();
  handlers_.on_zygote_gone(explained ? reason : reason + ": " + last_message_);
}

uint64_t ZygoteLink::memory_bytes() const {
  const auto usage = cgroup_.Usage();
  return usage ? usage->memory_bytes : 0;
}

void ZygoteLink::EndZygote() {
  zygote_->End("it is not needed any more");
}

void ZygoteLink::Close() {
  if (supervisor_ != nullptr) SupervisorGone();
}

void ZygoteLink::SupervisorGone() {
  if (supervisor_gone_) return;
  supervisor_gone_ = true;
  supervisor_.reset();
  const std::shared_ptr<bool> alive = alive_;
  auto making = std::move(making_);
  making_.clear();
  for (auto& [id, done] : making) {
    done(MakeError(ErrorKind::kUnavailable, "the supervisor of image " + name_ + " ended"));
  }
  if (*alive) zygote_->End("its supervisor ended");
  if (*alive) Reap();
}

// Its socket closes a moment before a process can be reaped, and a supervisor whose socket we
// closed has its children to kill first. SIGKILL to the group after a second of patience.
void ZygoteLink::Reap() {
  reap_timer_ = 0;
  for (;;) {
    siginfo_t info{};
    if (waitid(P_PGID, static_cast<id_t>(process_group_), &info, WEXITED | WNOHANG) != 0) {
      if (errno == EINTR) continue;
      break;  // ECHILD: all reaped
    }
    if (info.si_pid != 0) continue;
    if (++reap_attempts_ == kPoliteAttempts) kill(-process_group_, SIGKILL);
    if (reap_attempts_ == kReapPatience) {
      Log(LogLevel::kError, "image " + name_ + ": its supervisor cannot be reaped",
          {{"SPORE_IMAGE", name_}});
      unreapable_ = true;
      break;
    }
    reap_timer_ = loop_.AddTimer(std::chrono::milliseconds(1), [this] { Reap(); });
    return;
  }
  launcher_watch_.reset();
  const std::shared_ptr<bool> alive = alive_;
  auto handlers = std::move(exit_handlers_);
  exit_handlers_.clear();
  for (auto& [pid, handler] : handlers) handler(std::nullopt);
  if (*alive) handlers_.on_supervisor_gone();
}

}  // namespace spore
