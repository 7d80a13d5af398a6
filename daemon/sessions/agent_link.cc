#include "daemon/sessions/agent_link.h"

#include <cerrno>
#include <cstring>

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;

// More than an agent that reads leaves lying about.
constexpr size_t kMaxUnsent = 4u << 20;
constexpr size_t kMaxOperation = 64;
constexpr uint64_t kUnexpectedWindowNs = 1'000'000'000;
constexpr size_t kUnexpectedCost = 1024;  // of each, whatever its size
constexpr size_t kMaxUnexpected = 8u << 20;

// What the agent says of a failure: short, and nothing that a terminal would act on.
std::string OperationOf(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kMaxOperation)) shown += c >= ' ' && c < 0x7f ? c : '?';
  return shown.empty() ? "do what was asked" : shown;
}

std::string AskFrame(uint64_t id, const std::string& body) {
  const wire::FrameHeader header{wire::FrameType::kAsk, static_cast<uint32_t>(body.size()), id};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}

}  // namespace

ErrorKind KindOfErrno(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ESRCH:
      return ErrorKind::kNotFound;
    case EEXIST:
      return ErrorKind::kExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::kDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ENOMEM:
      return ErrorKind::kOverloaded;
    case EINVAL:
    case ENAMETOOLONG:
      return ErrorKind::kInvalid;
    default:
      return ErrorKind::kPrecondition;
  }
}

AgentLink::AgentLink(EventLoop& loop, UniqueFd channel, Handlers handlers)
    : loop_(loop),
      handlers_(std::move(handlers)),
      confined_(!channel),
      holding_(true),
      alive_(std::make_shared<bool>(true)) {
  if (channel) Attach(std::move(channel));
}

void AgentLink::Attach(UniqueFd channel) {
  over_ = false;
  parser_ = FrameParser(0);
  channel_ = loop_.OpenStream(
      std::move(channel), /*receives_fds=*/false,
      {[this](std::span<const std::byte> data, std::vector<UniqueFd>) { OnData(data); },
       [this](int errno_value) {
         if (detached_) return std::exchange(detached_, {})();
         if (std::exchange(over_, true)) return;
         const auto on_close = handlers_.on_close;
         on_close(errno_value);
       }});
  Release();
}

void AgentLink::Hold() {
  holding_ = true;
}

void AgentLink::Release() {
  holding_ = false;
  for (Waiting& one : std::exchange(waiting_, {}))
    channel_->Write(std::move(one.frame), std::move(one.fds));
}

// The stream stays until the next one, for its end is waited for.
void AgentLink::Detach(std::function<void()> gone) {
  holding_ = over_ = true;
  detached_ = std::move(gone);
}

void AgentLink::Send(std::string frame, std::vector<UniqueFd> fds) {
  if (!holding_) return channel_->Write(std::move(frame), std::move(fds));
  waiting_.push_back({std::move(frame), std::move(fds)});
}

AgentLink::~AgentLink() {
  *alive_ = false;
  for (auto& [id, pending] : pending_)
    if (pending.timer != 0) loop_.CancelTimer(pending.timer);
}

uint64_t AgentLink::Expect(std::chrono::milliseconds patience, Answered answered) {
  const uint64_t id = ++last_id_;
  Pending& pending = pending_[id];
  pending.answered = std::move(answered);
  if (patience.count() > 0) {
    pending.timer = loop_.AddTimer(patience, [this, id] {
      pending_.at(id).timer = 0;
      Settle(id, MakeError(ErrorKind::kPrecondition, "the session's agent does not answer",
                           "what runs in the session may have stopped it, or uses all of its cpu"));
    });
  }
  return id;
}

uint64_t AgentLink::Ask(std::string body, std::chrono::milliseconds patience, Answered answered,
                        std::vector<ClientFd> fds) {
  if (failed_) {
    answered(tl::unexpected(*failed_));
    return 0;
  }
  if (!holding_ && channel_->pending_write_bytes() > kMaxUnsent) {
    answered(MakeError(ErrorKind::kOverloaded, "the session does not take what it is sent",
                       "is its agent stopped? spore sandbox ps"));
    return 0;
  }
  const uint64_t id = Expect(patience, std::move(answered));
  std::vector<UniqueFd> passed;
  for (ClientFd& fd : fds) passed.push_back(fd.Take());  // the stream closes them aside
  Send(AskFrame(id, body), std::move(passed));
  return id;
}

std::string AgentLink::AskElsewhere(std::string body, std::chrono::milliseconds patience,
                                    Answered answered) {
  return AskFrame(Expect(patience, std::move(answered)), body);
}

void AgentLink::Forget(uint64_t id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  if (found->second.timer != 0) loop_.CancelTimer(found->second.timer);
  pending_.erase(found);
  if (failed_) return;
  session::Writer forget(Op::kForget);
  forget.PutNumber(Tag::kAskId, id);
  Send(AskFrame(++last_id_, forget.body()));
}

void AgentLink::FailAll(const Error& error) {
  failed_ = error;
  const std::shared_ptr<bool> alive = alive_;
  if (const auto gone = std::exchange(detached_, {})) gone();
  while (*alive && !pending_.empty()) Settle(pending_.begin()->first, tl::unexpected(error));
}

bool AgentLink::Settle(uint64_t id, Result<std::string> result) {
  auto pending = pending_.extract(id);
  if (pending.empty()) return false;
  if (pending.mapped().timer != 0) loop_.CancelTimer(pending.mapped().timer);
  pending.mapped().answered(std::move(result));
  return true;
}

// The daemon's time is not for one session that says what nobody asks.
bool AgentLink::CountUnexpected(size_t bytes) {
  const uint64_t now = MonotonicNs();
  if (now - unexpected_since_ns_ > kUnexpectedWindowNs) {
    unexpected_since_ns_ = now;
    unexpected_ = 0;
  }
  unexpected_ += bytes + kUnexpectedCost;
  return unexpected_ <= kMaxUnexpected || Rubbish("more than anybody wants to know");
}

void AgentLink::OnData(std::span<const std::byte> data) {
  if (over_) return;
  const std::shared_ptr<bool> alive = alive_;
  const auto status = parser_.Feed(data, [this](Frame& frame) { return OnFrame(frame); });
  if (!*alive || over_ || status == FrameParser::Status::kOk) return;
  (void)Rubbish(status == FrameParser::Status::kRubbish ? parser_.problem() : "a response");
}

bool AgentLink::Rubbish(const std::string& what) {
  over_ = true;
  const auto on_rubbish = handlers_.on_rubbish;
  on_rubbish(what);
  return false;
}

bool AgentLink::OnFrame(Frame& frame) {
  const std::shared_ptr<bool> alive = alive_;
  if (confined_ == (frame.type == wire::FrameType::kConfined))
    return Rubbish("its confinement is told first, and once");
  confined_ = true;
  if (frame.type == wire::FrameType::kConfined) {
    handlers_.on_confined(frame);
  } else if (frame.type == wire::FrameType::kTell) {
    return OnTell(frame);
  } else if (frame.type == wire::FrameType::kEvent) {
    Reader event(frame.body);
    if (!event.valid()) return Rubbish("an event that is none");
    const bool expected = handlers_.on_event(event);
    if (*alive && !over_ && !expected) return CountUnexpected(frame.body.size());
  } else {
    return Rubbish("a frame of unknown type");
  }
  return *alive && !over_;
}

bool AgentLink::OnTell(const Frame& frame) {
  const std::shared_ptr<bool> alive = alive_;
  if (frame.id == 0 || frame.id > last_id_) return Rubbish("an answer that nobody had asked for");
  Reader reader(frame.body);
  if (!reader.valid()) return Rubbish("an answer that is none");
  bool wanted = false;
  if (reader.op() == Op::kDone) {
    wanted = Settle(frame.id, frame.body);
  } else if (reader.op() == Op::kFailed) {
    auto error = static_cast<int>(reader.GetNumber(Tag::kErrno) & 0xfff);
    if (strerrordesc_np(error) == nullptr) error = EIO;
    Error failed{KindOfErrno(error), error, OperationOf(reader.Get(Tag::kText)), {}, {}};
    wanted = Settle(frame.id, tl::unexpected(std::move(failed)));
  } else {
    return Rubbish("an answer of unknown kind");
  }
  if (!*alive || over_) return false;
  return wanted || CountUnexpected(frame.body.size());
}

}  // namespace spore
