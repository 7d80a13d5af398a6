#include "daemon/zygotes/copied_zygote.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "daemon/loop/packet_channel.h"

namespace spore {
namespace {

// No sandbox has such an id.
uint64_t NextZygoteId() {
  static uint64_t last = uint64_t{1} << 63;
  return ++last;
}

std::string Joined(const std::vector<std::string>& modules) {
  std::string text;
  for (const std::string& module : modules) text += (text.empty() ? "" : ",") + module;
  return text;
}

void Kill(const UniqueFd& pidfd) {
  if (pidfd) syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

}  // namespace

CopiedZygote::CopiedZygote(EventLoop& loop, ZygoteLink& link, std::string name, Handlers handlers)
    : loop_(loop),
      link_(link),
      name_(std::move(name)),
      handlers_(std::move(handlers)),
      alive_(std::make_shared<bool>(true)) {}

CopiedZygote::~CopiedZygote() {
  *alive_ = false;
}

Result<> CopiedZygote::Start(ZygoteChannel& from, const std::vector<std::string>& modules) {
  SPORE_ASSIGN(SocketPair pair, MakePacketPair());
  channel_ = std::make_unique<ZygoteChannel>(
      loop_, name_, std::move(pair.ours),
      ZygoteChannel::Handlers{[this](const wire::ZygoteReady& ready) { handlers_.on_ready(ready); },
                              [this](const std::string& reason) { Gone(reason); }});
  wire::ForkZygote request;
  request.zygote_id = NextZygoteId();
  Joined(modules).copy(request.modules, sizeof request.modules - 1);
  asked_ = true;
  link_.ForkZygote(from, request, pair.theirs.get(), [this, alive = alive_](auto forked) {
    if (*alive) return Copied(std::move(forked));
    if (forked) Kill(forked->pidfd);
  });
  return {};
}

void CopiedZygote::Copied(Result<ZygoteChannel::Forked> forked) {
  asked_ = false;
  if (!forked) {
    const std::shared_ptr<bool> alive = alive_;
    channel_->End(forked.error().Message());
    if (*alive) TellIfEnded();
    return;
  }
  lives_ = true;
  pidfd_ = std::move(forked->pidfd);
  link_.OnExit(forked->message.pid, [this, alive = alive_](const ZygoteLink::Exit& exit) {
    if (!*alive) return;
    lives_ = false;
    channel_->End(exit ? DescribeExit(*exit) : "its supervisor ended");
    if (*alive) TellIfEnded();
  });
  if (gone_) Kill(pidfd_);
}

void CopiedZygote::End(const std::string& reason) {
  channel_->End(reason);
}

void CopiedZygote::Gone(const std::string& reason) {
  gone_ = true;
  // It may be busy with an import, and not look at its socket.
  if (lives_) Kill(pidfd_);
  const std::shared_ptr<bool> alive = alive_;
  handlers_.on_gone(reason);
  if (*alive) TellIfEnded();
}

void CopiedZygote::TellIfEnded() {
  if (!gone_ || asked_ || lives_ || !handlers_.on_ended) return;
  // The caller may be a part of this: let it return first.
  loop_.Post([ended = std::exchange(handlers_.on_ended, nullptr), alive = alive_] {
    if (*alive) ended();
  });
}

}  // namespace spore
