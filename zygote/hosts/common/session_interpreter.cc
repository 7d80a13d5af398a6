#include "zygote/hosts/common/session_interpreter.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sandbox/sys/step_log.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kReadAtOnce = 256 << 10;
constexpr size_t kDrainAtMost = 4 << 20;
// Of what came of a piece of code: value, JSON, forms, an error.
constexpr uint32_t kMaxResult = 1600u << 10;
constexpr size_t kMostBackground = 64 << 10;
constexpr uint64_t kTellEveryNs = 1'000'000'000;

std::string FrameOf(wire::FrameType type, uint64_t id, std::string_view body) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(body.size()), id};
  std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
  frame.append(body);
  return frame;
}

std::string DescribeEnd(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "it exited with status " + std::to_string(info.si_status);
  const char* name = sigabbrev_np(info.si_status);
  return std::string("it was ended by SIG") + (name != nullptr ? name : "?");
}

}  // namespace

bool SessionInterpreter::Start() {
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0) return false;
  channel_.Reset(channel[0]);
  UniqueFd theirs(channel[1]);
  OutputPipe out, err;
  UniqueFd in(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!in || !OutputPipe::Make(out) || !OutputPipe::Make(err) ||
      fcntl(channel[0], F_SETFL, O_NONBLOCK) < 0) {
    return false;
  }
  const pid_t pid = copy_();
  if (pid < 0) return false;
  if (pid == 0) {
    // Owned by nobody any more: PlaceDescriptors closes what it does not place.
    (void)out.ours.Release();
    (void)err.ours.Release();
    places_ = {{in.Release(), out.theirs.Release(), err.theirs.Release()}, theirs.Release()};
    return true;
  }
  pid_ = pid;
  out_ = std::move(out.ours);
  err_ = std::move(err.ours);
  to_send_ = FrameOf(wire::FrameType::kLoad, 0, load_);
  received_.clear();
  runs_ = adopted_ = 0;
  renew_ = false;
  given_up_ = nullptr;
  for (OutputHead& kept : kept_) kept.Begin(kMostBackground);
  tell_(wire::FrameType::kEvent, 0,
        Writer(Op::kCodeChanged).PutNumber(Tag::kPid, static_cast<uint64_t>(pid)).Take());
  return true;
}

bool SessionInterpreter::Refuse(uint64_t ask, int error, const char* what) {
  tell_(wire::FrameType::kTell, ask,
        Writer(Op::kFailed)
            .PutNumber(Tag::kErrno, static_cast<uint64_t>(error))
            .Put(Tag::kText, what)
            .Take());
  return false;
}

bool SessionInterpreter::Adopt(uint64_t ask, uint64_t runs) {
  if (!copy_) return Refuse(ask, ENOTSUP, "run code");
  if (pid_ != 0) return Refuse(ask, EBUSY, "start the interpreter");
  if (!Start()) return Refuse(ask, errno, "start the interpreter");
  if (pid_ == 0) return true;
  to_send_.clear();
  runs_ = adopted_ = runs;
  renew_ = true;
  tell_(wire::FrameType::kTell, ask,
        Writer(Op::kDone).PutNumber(Tag::kPid, static_cast<uint64_t>(pid_)).Take());
  return false;
}

void SessionInterpreter::Restored() {
  ask_.reset();
  begun_ = interrupts_ = false;
  adopted_ = runs_;
  renew_ = pid_ != 0;
  told_ns_ = 0;  // the clock may be another host's, or that of another boot
  for (OutputHead& kept : kept_) kept.Begin(kMostBackground);
}

bool SessionInterpreter::Run(uint64_t ask, std::string_view code) {
  if (!copy_) return Refuse(ask, ENOTSUP, "run code");
  if (ask_) return Refuse(ask, EBUSY, "run code");
  if (given_up_ != nullptr) {
    // It was killed a moment ago.
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) == 0) (void)Ended(info);
  }
  if (pid_ == 0) {
    if (!Start()) return Refuse(ask, errno, "start the interpreter");
    if (pid_ == 0) return true;
  }
  ReadOutput();
  TellBackground(true);
  for (OutputHead& kept : kept_) kept.Begin(most_);
  ask_ = ask;
  begun_ = interrupts_ = false;
  if (std::exchange(renew_, false)) to_send_ += FrameOf(wire::FrameType::kLoad, 0, load_);
  to_send_ += FrameOf(wire::FrameType::kInvoke, ++runs_, code);
  Flush();
  return false;
}

bool SessionInterpreter::Interrupt() {
  if (!ask_ || pid_ == 0) return false;
  interrupts_ = true;
  if (!begun_) return true;
  // Its group: what it has started, too, as in a terminal.
  return kill(-pid_, SIGINT) == 0 || kill(pid_, SIGINT) == 0;
}

bool SessionInterpreter::Restart() {
  if (pid_ == 0) return false;
  if (given_up_ == nullptr) given_up_ = "it was restarted";
  (void)kill(-pid_, SIGKILL);
  (void)kill(pid_, SIGKILL);
  return true;
}

void SessionInterpreter::GiveUp(const char* why) {
  given_up_ = why;
  channel_.Reset();
  (void)Restart();
}

void SessionInterpreter::ReadOutput() {
  UniqueFd* const pipes[] = {&out_, &err_};
  for (size_t i = 0; i < 2; ++i) {
    if (!*pipes[i]) continue;
    const bool more = ReadPipe(pipes[i]->get(), ask_ ? kDrainAtMost : kReadAtOnce,
                               [&](std::string_view bytes) { kept_[i].Append(bytes); });
    if (!more) pipes[i]->Reset();
  }
}

bool SessionInterpreter::has_background() const {
  return !ask_ && !(kept_[0].kept().empty() && kept_[1].kept().empty());
}

// What came while no code ran; once a second, and of more than fits the rest is dropped.
void SessionInterpreter::TellBackground(bool at_once) {
  if (!has_background()) return;
  const uint64_t now = StepLog::Now();
  if (!at_once && told_ns_ + kTellEveryNs > now) return;
  told_ns_ = now;
  for (size_t i = 0; i < 2; ++i) {
    if (kept_[i].kept().empty()) continue;
    tell_(wire::FrameType::kEvent, 0,
          Writer(Op::kBackground)
              .PutNumber(Tag::kFlags, i == 1 ? session::kStderr : 0)
              .Put(Tag::kData, kept_[i].kept())
              .Take());
    kept_[i].Begin(kMostBackground);
  }
}

void SessionInterpreter::Flush() {
  while (!to_send_.empty() && channel_) {
    const ssize_t sent = send(channel_.get(), to_send_.data(), to_send_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return GiveUp("it closed its channel");
    to_send_.erase(0, static_cast<size_t>(sent));
  }
}

// Takes the frame that tells so off what was received; false: it is another one.
bool SessionInterpreter::TakeBegun(const wire::FrameHeader& header) {
  if (header.type != wire::FrameType::kLoaded || header.length != 0 || begun_ || !ask_ ||
      header.id != runs_) {
    return false;
  }
  received_.erase(0, sizeof header);
  begun_ = true;
  if (interrupts_) (void)Interrupt();
  return true;
}

// False: half of one is there.
bool SessionInterpreter::DropOrphans() {
  for (;;) {
    wire::FrameHeader header{};
    if (adopted_ == 0 || received_.size() < sizeof header) return true;
    memcpy(static_cast<void*>(&header), received_.data(), sizeof header);
    const bool is_one =
        header.id != 0 && header.id <= adopted_ && header.length <= kMaxResult &&
        (header.type == wire::FrameType::kLoaded || header.type == wire::FrameType::kResponse);
    if (!is_one) return true;
    if (received_.size() < sizeof header + header.length) return false;
    received_.erase(0, sizeof header + header.length);
  }
}

void SessionInterpreter::ReadChannel() {
  char buffer[64 << 10];
  for (;;) {
    const ssize_t got = recv(channel_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return GiveUp("it closed its channel");
    received_.append(buffer, static_cast<size_t>(got));
    wire::FrameHeader header{};
    if (!DropOrphans()) continue;
    if (received_.size() < sizeof header) continue;
    memcpy(static_cast<void*>(&header), received_.data(), sizeof header);
    if (TakeBegun(header)) {
      if (received_.size() < sizeof header) continue;
      memcpy(static_cast<void*>(&header), received_.data(), sizeof header);
    }
    if (header.type != wire::FrameType::kResponse || header.length > kMaxResult || !ask_ ||
        header.id != runs_ || received_.size() > sizeof header + header.length) {
      return GiveUp("it wrote rubbish to its channel");
    }
    if (received_.size() < sizeof header + header.length) continue;
    const std::string fields = received_.substr(sizeof header);
    received_.clear();
    return Answer(fields);
  }
}

void SessionInterpreter::Answer(std::string_view fields) {
  ReadOutput();
  Writer body(Op::kDone);
  const auto put = [&](Tag tag, std::string_view bytes) {
    switch (tag) {
      case Tag::kValue:
      case Tag::kFlags:
      case Tag::kJson:
      case Tag::kForm:
      case Tag::kErrorType:
      case Tag::kErrorMessage:
      case Tag::kErrorLine:
        body.Put(tag, bytes);
        break;
      default:
        break;
    }
  };
  Reader(fields, /*has_op=*/false).Each(put);
  body.Put(Tag::kOut, kept_[0].kept()).PutNumber(Tag::kOutDropped, kept_[0].dropped());
  body.Put(Tag::kErr, kept_[1].kept()).PutNumber(Tag::kErrDropped, kept_[1].dropped());
  body.PutNumber(Tag::kRun, runs_);
  tell_(wire::FrameType::kTell, *ask_, body.Take());
  ask_.reset();
  for (OutputHead& kept : kept_) kept.Begin(kMostBackground);
}

bool SessionInterpreter::Ended(const siginfo_t& info) {
  if (pid_ == 0 || info.si_pid != pid_) return false;
  if (channel_ && ask_) ReadChannel();  // it may have answered before
  if (ask_) {
    std::string why = DescribeEnd(info);
    // What ends by itself closes its channel first; SIGKILL comes from here, as a rule.
    if (given_up_ != nullptr && info.si_code != CLD_EXITED && info.si_status == SIGKILL)
      why = std::string(given_up_) + ", " + why;
    Writer fields;
    fields.PutNumber(Tag::kFlags, session::kEnded)
        .Put(Tag::kErrorType, "InterpreterEnded")
        .Put(Tag::kErrorMessage, "the interpreter has ended, its state is lost: " + why);
    Answer(fields.body());
  }
  ReadOutput();
  TellBackground(true);
  pid_ = 0;
  given_up_ = nullptr;
  channel_.Reset();
  out_.Reset();
  err_.Reset();
  tell_(wire::FrameType::kEvent, 0, Writer(Op::kCodeChanged).PutNumber(Tag::kPid, 0).Take());
  return true;
}

void SessionInterpreter::AddPolls(std::vector<pollfd>& polls) const {
  const auto events = static_cast<short>(to_send_.empty() ? POLLIN : POLLIN | POLLOUT);
  polls.push_back({channel_.get(), events, 0});
  polls.push_back({out_.get(), POLLIN, 0});
  polls.push_back({err_.get(), POLLIN, 0});
}

void SessionInterpreter::Serve(const pollfd*& polled) {
  const pollfd* const mine = polled;
  polled += 3;
  if (mine[1].revents != 0 || mine[2].revents != 0) ReadOutput();
  TellBackground(false);
  if ((mine[0].revents & POLLOUT) != 0) Flush();
  if ((mine[0].revents & ~POLLOUT) != 0 && channel_) ReadChannel();
}

}  // namespace spore
