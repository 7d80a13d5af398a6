#include "zygote/hosts/common/session_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/steps/step.h"
#include "sandbox/sys/step_log.h"
#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/common/session_execs.h"
#include "zygote/hosts/common/session_files.h"
#include "zygote/hosts/common/session_interpreter.h"
#include "zygote/hosts/common/session_park.h"
#include "zygote/hosts/common/session_processes.h"
#include "zygote/hosts/common/session_spawn.h"
#include "zygote/hosts/common/session_watch.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;
using wire::FrameType;

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kPiecesAtOnce = 16;  // of a removal, before others get their turn
constexpr int kLookMs = 100;            // again at what asks wait for
constexpr int kBackgroundMs = 1000;
constexpr size_t kMostWaiting = 256;

// One ask as it came.
struct Ask {
  uint64_t id = 0;
  std::string body;
  std::vector<UniqueFd> fds;
};

// One that is answered later.
struct Waiting {
  uint64_t id;
  std::string body;
  uint64_t deadline_ns;
};

struct Removal {
  uint64_t id;
  TreeRemoval tree;
};

std::string FailedBody(int error, const char* what) {
  return Writer(Op::kFailed)
      .PutNumber(Tag::kErrno, static_cast<uint64_t>(error))
      .Put(Tag::kText, what)
      .Take();
}

// The load's fields that a program's environment is made of, for the interpreter.
std::string InterpreterLoad(Reader& load) {
  Writer fields;
  for (const std::string& variable : load.All(Tag::kVariable)) fields.Put(Tag::kVariable, variable);
  return fields.Take();
}

class Agent {
 public:
  Agent(const SessionHost& host, Reader& load, UniqueFd child_signals)
      : child_signals_(std::move(child_signals)),
        execs_(load.GetNumber(Tag::kLimit)),
        interpreter_(host.copy, load.GetNumber(Tag::kLimit), InterpreterLoad(load),
                     [](FrameType type, uint64_t id, std::string body) { Tell(type, id, body); }) {}

  // Until spored has gone; true in an interpreter.
  bool Serve();
  const SessionInterpreter::Places& places() const { return interpreter_.places(); }

 private:
  static void Tell(FrameType type, uint64_t id, const std::string& body) {
    // spored has gone if this fails, which the next read tells.
    (void)WriteFrame(kInstanceFd, type, id, body.data(), body.size());
  }
  static void Answer(uint64_t id, const std::string& body) { Tell(FrameType::kTell, id, body); }

  enum class Next { kGoOn, kEnd, kInterpreter };
  Next ServeAsk();
  Next Begin(Ask& ask);
  Next Park(uint64_t id);
  void Remove(uint64_t id, Reader& reader);
  std::optional<std::string> TryLater(Reader& reader, bool now);
  void Wait(Ask& ask, Reader& reader);
  void ServeWaiting();
  void ServeRemovals();
  void Reap();
  int Patience() const;

  UniqueFd child_signals_;
  SessionExecs execs_;
  SessionInterpreter interpreter_;
  SessionWatches watches_;
  std::list<Waiting> waiting_;
  std::list<Removal> removals_;
};

Agent::Next Agent::ServeAsk() {
  Ask ask;
  wire::FrameHeader header{};
  if (!ReceiveFromSpored(&header, sizeof header, &ask.fds) || header.type != FrameType::kAsk ||
      header.length > session::kMaxBody) {
    return Next::kEnd;
  }
  ask.id = header.id;
  ask.body.resize(header.length);
  if (!ReceiveFromSpored(ask.body.data(), ask.body.size(), nullptr)) return Next::kEnd;
  return Begin(ask);
}

Agent::Next Agent::Begin(Ask& ask) {
  Reader reader(ask.body);
  switch (reader.op()) {
    case Op::kExec:
      Answer(ask.id, execs_.Start(reader, std::move(ask.fds)));
      break;
    case Op::kSignal: {
      const int error = execs_.Signal(static_cast<uint32_t>(reader.GetNumber(Tag::kExecId)),
                                      static_cast<int>(reader.GetNumber(Tag::kSignalNumber)));
      Answer(ask.id, error != 0 ? FailedBody(error, "signal") : Writer(Op::kDone).Take());
      break;
    }
    case Op::kRunCode:
      if (interpreter_.Run(ask.id, reader.Get(Tag::kData))) return Next::kInterpreter;
      break;
    case Op::kAdoptCode:
      if (interpreter_.Adopt(ask.id, reader.GetNumber(Tag::kRun))) return Next::kInterpreter;
      break;
    case Op::kInterrupt:
    case Op::kRestart: {
      const bool done =
          reader.op() == Op::kInterrupt ? interpreter_.Interrupt() : interpreter_.Restart();
      Answer(ask.id, Writer(Op::kDone).PutNumber(Tag::kWasThere, done ? 1 : 0).Take());
      break;
    }
    case Op::kRemoveFile:
      Remove(ask.id, reader);
      break;
    case Op::kReadOutput:
    case Op::kWatchFiles:
      Wait(ask, reader);
      break;
    case Op::kListProcesses:
      Answer(ask.id,
             ListProcesses([this](pid_t pid) { return execs_.IdOf(pid); }, interpreter_.pid()));
      break;
    case Op::kForget:
      waiting_.remove_if(
          [&](const Waiting& one) { return one.id == reader.GetNumber(Tag::kAskId); });
      break;
    case Op::kPark:
      return Park(ask.id);
    default:
      Answer(ask.id, ServeFile(reader).value_or(FailedBody(ENOSYS, "do what was asked")));
      break;
  }
  return Next::kGoOn;
}

// Nothing is left half answered: it may be another daemon that brings it back.
Agent::Next Agent::Park(uint64_t id) {
  for (const Waiting& one : std::exchange(waiting_, {})) {
    Reader reader(one.body);
    if (const auto body = TryLater(reader, /*now=*/true)) Answer(one.id, *body);
  }
  while (!removals_.empty()) ServeRemovals();
  const std::optional<Unparked> unparked = WaitParked(id);
  if (!unparked) return Next::kEnd;
  if (unparked->ask == 0) return Next::kGoOn;
  if (unparked->restored) interpreter_.Restored();
  Writer body(Op::kDone);
  body.PutNumber(Tag::kPid, static_cast<uint64_t>(interpreter_.pid()))
      .PutNumber(Tag::kRun, interpreter_.runs());
  Answer(unparked->ask, body.Take());
  return Next::kGoOn;
}

void Agent::Remove(uint64_t id, Reader& reader) {
  if (auto body = RemoveOne(reader)) return Answer(id, *body);
  if (removals_.size() >= kMostWaiting) return Answer(id, FailedBody(EAGAIN, "remove"));
  removals_.push_back({id, TreeRemoval(std::string(reader.Get(Tag::kPath)))});
}

std::optional<std::string> Agent::TryLater(Reader& reader, bool now) {
  return reader.op() == Op::kReadOutput ? execs_.ReadOutput(reader, now)
                                        : watches_.Serve(reader, now);
}

void Agent::Wait(Ask& ask, Reader& reader) {
  const uint64_t wait_ms = reader.GetNumber(Tag::kWaitMs);
  const bool now = wait_ms == 0 || waiting_.size() >= kMostWaiting;
  if (const auto body = TryLater(reader, now)) return Answer(ask.id, *body);
  waiting_.push_back({ask.id, std::move(ask.body), StepLog::Now() + wait_ms * kMillisecond});
}

void Agent::ServeWaiting() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Reader reader(it->body);
    const auto body = TryLater(reader, StepLog::Now() >= it->deadline_ns);
    if (body) Answer(it->id, *body);
    it = body ? waiting_.erase(it) : std::next(it);
  }
}

void Agent::ServeRemovals() {
  for (auto it = removals_.begin(); it != removals_.end();) {
    std::optional<std::string> body;
    for (uint64_t i = 0; i < kPiecesAtOnce && !body; ++i) body = it->tree.Step();
    if (body) Answer(it->id, *body);
    it = body ? removals_.erase(it) : std::next(it);
  }
}

void Agent::Reap() {
  signalfd_siginfo signals[8];
  (void)!read(child_signals_.get(), signals, sizeof signals);
  for (;;) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0) return;
    std::string event;
    if (execs_.Ended(info, event)) {
      Tell(FrameType::kEvent, 0, event);
    } else {
      (void)interpreter_.Ended(info);
    }
  }
}

int Agent::Patience() const {
  if (!removals_.empty()) return 0;
  if (waiting_.empty()) return interpreter_.has_background() ? kBackgroundMs : -1;
  const uint64_t now = StepLog::Now();
  uint64_t least = kLookMs;
  for (const Waiting& one : waiting_) {
    const uint64_t left = one.deadline_ns > now ? (one.deadline_ns - now) / kMillisecond + 1 : 0;
    least = std::min(least, left);
  }
  return static_cast<int>(least);
}

bool Agent::Serve() {
  std::vector<pollfd> polls;
  for (;;) {
    polls.clear();
    polls.push_back({kInstanceFd, POLLIN, 0});
    polls.push_back({child_signals_.get(), POLLIN, 0});
    execs_.AddPolls(polls);
    interpreter_.AddPolls(polls);
    if (poll(polls.data(), polls.size(), Patience()) < 0 && errno != EINTR) return false;
    const pollfd* polled = polls.data() + 2;
    execs_.Serve(polled);
    interpreter_.Serve(polled);
    if (polls[1].revents != 0) Reap();
    ServeWaiting();
    ServeRemovals();
    if (polls[0].revents == 0) continue;
    const Next next = ServeAsk();
    if (next != Next::kGoOn) return next == Next::kInterpreter;
  }
}

// The signals of children as a descriptor; of all others nothing is wanted.
UniqueFd BlockSignals() {
  sigset_t all, children;
  sigfillset(&all);
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  signal(SIGCHLD, SIG_DFL);
  return UniqueFd(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
}

// What was opened outside of the session cannot be put on disk with it.
bool OpenOwnStreams() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; null && fd <= STDERR_FILENO; ++fd)
    if (dup2(null.get(), fd) < 0) return false;
  return null.valid();
}

void BecomeInterpreter(const SessionHost& host, const SessionInterpreter::Places& places) {
  (void)setsid();
  const int numbers[] = {places.streams[0], places.streams[1], places.streams[2], places.channel};
  if (!PlaceDescriptors(numbers, 4, host.runtime_descriptors).ok()) _exit(125);
  (void)fcntl(kInstanceFd, F_SETFD, FD_CLOEXEC);
  // Its own /proc/self files, as every runtime has them.
  (void)prctl(PR_SET_DUMPABLE, 1);
  (void)prctl(PR_SET_NAME, "interpreter");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

void ServeSession(const SessionHost& host) {
  const std::optional<HostFrame> frame = ReadFrame(kInstanceFd);
  if (!frame || frame->type != FrameType::kLoad || chdir("/tmp") < 0 || !OpenOwnStreams())
    _exit(125);
  Reader load(frame->body, /*has_op=*/false);
  PrepareEnvironment(load.All(Tag::kVariable));
  UniqueFd child_signals = BlockSignals();
  if (!child_signals) _exit(125);
  umask(022);
  // What runs in the session has the same user, and shall not change this process by mistake.
  (void)prctl(PR_SET_DUMPABLE, 0);
  (void)prctl(PR_SET_NAME, "spore-agent");
  // All of the session is one tree below this process, which CRIU can dump.
  (void)setsid();
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
  // Never destroyed: in an interpreter its descriptors are gone, and others have their numbers.
  auto* agent = new Agent(host, load, std::move(child_signals));
  if (!agent->Serve()) _exit(0);
  BecomeInterpreter(host, agent->places());
}

}  // namespace spore
