#include "zygote/hosts/common/session_execs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "zygote/hosts/common/session_spawn.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kEndedKept = 32;  // with their output
constexpr size_t kReadAtOnce = 256 << 10;
constexpr size_t kDrainAtMost = 1 << 20;

std::string Refusal(int status, const std::string& why) {
  return Writer(Op::kDone)
      .PutNumber(Tag::kStatus, static_cast<uint64_t>(status))
      .Put(Tag::kText, why)
      .Take();
}

// A file that holds what the program is to read.
UniqueFd InputFile(std::string_view input) {
  UniqueFd file(memfd_create("input", MFD_CLOEXEC));
  if (!file ||
      pwrite(file.get(), input.data(), input.size(), 0) != static_cast<ssize_t>(input.size())) {
    return {};
  }
  return file;
}

}  // namespace

bool OutputPipe::Make(OutputPipe& pipe) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  pipe.ours.Reset(ends[0]);
  pipe.theirs.Reset(ends[1]);
  return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

bool SessionExecs::KeepStreams(Reader& ask, Exec& exec, int (&streams)[3],
                               std::vector<UniqueFd>& own) {
  const std::string_view input = ask.Get(Tag::kData);
  OutputPipe out, err;
  UniqueFd in =
      input.empty() ? UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)) : InputFile(input);
  if (!in || !OutputPipe::Make(out) || !OutputPipe::Make(err)) return false;
  exec.out.emplace(output_bytes_).pipe = std::move(out.ours);
  exec.err.emplace(output_bytes_).pipe = std::move(err.ours);
  streams[0] = in.get();
  streams[1] = out.theirs.get();
  streams[2] = err.theirs.get();
  own.push_back(std::move(in));
  own.push_back(std::move(out.theirs));
  own.push_back(std::move(err.theirs));
  return true;
}

std::string SessionExecs::Start(Reader& ask, std::vector<UniqueFd> fds) {
  const auto kind = static_cast<session::Streams>(ask.GetNumber(Tag::kStreams));
  const size_t wanted = kind == session::Streams::kAttached   ? 3
                        : kind == session::Streams::kTerminal ? 1
                                                              : 0;
  if (fds.size() != wanted)
    return Refusal(125, "its streams did not arrive (the session's limit on open files?)");
  SpawnOrder order;
  order.arguments = ask.All(Tag::kArgument);
  order.variables = ask.All(Tag::kVariable);
  order.directory = std::string(ask.Get(Tag::kDirectory));
  order.terminal = kind == session::Streams::kTerminal;
  Exec exec;
  exec.with_output = ask.Has(session::kWithOutput);
  if (kind == session::Streams::kKept) {
    if (!KeepStreams(ask, exec, order.streams, fds))
      return Refusal(125, std::string("cannot make its streams: ") + strerrordesc_np(errno));
  } else {
    for (size_t i = 0; i < 3; ++i) order.streams[i] = fds[std::min(i, fds.size() - 1)].get();
  }
  const Spawned spawned = Spawn(order);
  if (spawned.pid == 0) return Refusal(spawned.status, spawned.why);
  exec.pid = spawned.pid;
  execs_[static_cast<uint32_t>(ask.GetNumber(Tag::kExecId))] = std::move(exec);
  ForgetOldest();
  return Writer(Op::kDone).PutNumber(Tag::kPid, static_cast<uint64_t>(spawned.pid)).Take();
}

void SessionExecs::ForgetOldest() {
  size_t ended = 0;
  for (const auto& [id, exec] : execs_) ended += exec.pid == 0 ? 1 : 0;
  for (auto it = execs_.begin(); it != execs_.end() && ended > kEndedKept;) {
    if (it->second.pid != 0) {
      ++it;
      continue;
    }
    it = execs_.erase(it);
    --ended;
  }
}

int SessionExecs::Signal(uint32_t id, int signal) {
  const auto found = execs_.find(id);
  if (found == execs_.end() || found->second.pid == 0) return ESRCH;
  return kill(-found->second.pid, signal) < 0 ? errno : 0;
}

std::optional<std::string> SessionExecs::ReadOutput(Reader& ask, bool now) {
  const auto found = execs_.find(static_cast<uint32_t>(ask.GetNumber(Tag::kExecId)));
  const bool wants_err = ask.Has(session::kStderr);
  if (found == execs_.end() || !found->second.out) {
    return Writer(Op::kFailed).PutNumber(Tag::kErrno, ENOENT).Take();
  }
  const Exec& exec = found->second;
  const Stream& stream = wants_err ? *exec.err : *exec.out;
  const uint64_t asked = ask.GetNumber(Tag::kOffset);
  std::string_view data = stream.ring.From(asked);
  // What others hold open after the program's end is not waited for.
  const bool over = !stream.pipe || exec.pid == 0;
  if (data.empty() && !over && !now) return std::nullopt;
  const uint64_t position = stream.ring.end() - data.size();
  const bool all = data.size() <= session::kMaxChunk;
  if (!all) data = data.substr(0, session::kMaxChunk);
  return Writer(Op::kDone)
      .Put(Tag::kData, data)
      .PutNumber(Tag::kOffset, position)
      .PutNumber(Tag::kFlags, over && all ? session::kEnd : 0)
      .Take();
}

bool SessionExecs::Ended(const siginfo_t& info, std::string& event) {
  const auto found = std::find_if(execs_.begin(), execs_.end(), [&](const auto& entry) {
    return entry.second.pid == info.si_pid;
  });
  if (found == execs_.end()) return false;
  Exec& exec = found->second;
  exec.pid = 0;
  Writer body(Op::kExecEnded);
  body.PutNumber(Tag::kExecId, found->first)
      .PutNumber(Tag::kCode, static_cast<uint64_t>(info.si_code))
      .PutNumber(Tag::kStatus, static_cast<uint64_t>(info.si_status));
  for (auto* stream : {&exec.out, &exec.err}) {
    if (!*stream || !(*stream)->pipe) continue;
    (void)ReadPipe((*stream)->pipe.get(), kDrainAtMost,
                   [&](std::string_view bytes) { (*stream)->ring.Append(bytes); });
  }
  if (exec.with_output && exec.out) {
    const auto put = [&](const Stream& stream, Tag kept, Tag dropped) {
      std::string_view data = stream.ring.From(0);
      if (data.size() > session::kMaxChunk) data = data.substr(data.size() - session::kMaxChunk);
      body.Put(kept, data).PutNumber(dropped, stream.ring.end() - data.size());
    };
    put(*exec.out, Tag::kOut, Tag::kOutDropped);
    put(*exec.err, Tag::kErr, Tag::kErrDropped);
    execs_.erase(found);
  }
  event = body.Take();
  ForgetOldest();
  return true;
}

void SessionExecs::AddPolls(std::vector<pollfd>& polls) const {
  for (const auto& [id, exec] : execs_) {
    for (const auto* stream : {&exec.out, &exec.err})
      if (*stream && (*stream)->pipe) polls.push_back({(*stream)->pipe.get(), POLLIN, 0});
  }
}

void SessionExecs::Serve(const pollfd*& polled) {
  for (auto& [id, exec] : execs_) {
    for (auto* stream : {&exec.out, &exec.err}) {
      if (!*stream || !(*stream)->pipe) continue;
      const short events = (polled++)->revents;
      if (events == 0) continue;
      const bool more = ReadPipe((*stream)->pipe.get(), kReadAtOnce,
                                 [&](std::string_view bytes) { (*stream)->ring.Append(bytes); });
      if (!more) (*stream)->pipe.Reset();
    }
  }
}

uint32_t SessionExecs::IdOf(pid_t pid) const {
  for (const auto& [id, exec] : execs_)
    if (exec.pid == pid) return id;
  return 0;
}

}  // namespace spore
