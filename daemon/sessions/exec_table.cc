#include "daemon/sessions/exec_table.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "daemon/common/text.h"
#include "daemon/common/unix_time.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kEndedKept = 64;
constexpr std::chrono::seconds kStartPatience{30};
constexpr int kSporeFailed = 125;
constexpr int kSignalBase = 128;
constexpr size_t kMaxReason = 1024;
constexpr size_t kMaxArgumentsKept = 4096;

std::string AskOf(const v1::ExecRequest& request, uint32_t id) {
  Writer ask(Op::kExec);
  ask.PutNumber(Tag::kExecId, id).PutNumber(Tag::kStreams, request.streams());
  for (const std::string& word : request.args()) ask.Put(Tag::kArgument, word);
  for (const auto& [name, value] : request.environment())
    ask.Put(Tag::kVariable, name + "=" + value);
  ask.Put(Tag::kDirectory, request.working_directory());
  const bool wants_output = request.streams() == v1::ExecRequest::KEPT && !request.detach();
  if (wants_output) ask.PutNumber(Tag::kFlags, session::kWithOutput);
  if (request.streams() == v1::ExecRequest::KEPT) ask.Put(Tag::kData, request.input());
  return ask.Take();
}

// For people: the first of them.
void KeepArguments(const v1::ExecRequest& request, v1::Execution& info) {
  size_t bytes = 0;
  for (const std::string& word : request.args()) {
    bytes += word.size();
    if (bytes > kMaxArgumentsKept) break;
    info.add_args(word);
  }
}

}  // namespace

ExecTable::ExecTable(EventLoop& loop, AgentLink& agent, std::function<uint64_t()> oom_kills)
    : loop_(loop),
      agent_(agent),
      oom_kills_(std::move(oom_kills)),
      alive_(std::make_shared<bool>(true)) {}

ExecTable::~ExecTable() {
  *alive_ = false;
  for (auto& [id, record] : records_)
    if (record.timer != 0) loop_.CancelTimer(record.timer);
  for (auto& [id, waiter] : waiters_)
    if (waiter.timer != 0) loop_.CancelTimer(waiter.timer);
}

uint32_t ExecTable::Start(const v1::ExecRequest& request, std::vector<ClientFd> fds, Done done) {
  const uint32_t id = ++last_id_;
  Record& record = records_[id];
  record.info.set_exec_id(id);
  KeepArguments(request, record.info);
  record.info.set_state(v1::Execution::RUNNING);
  record.info.set_started_unix_ms(NowUnixMs());
  record.info.set_kept(request.streams() == v1::ExecRequest::KEPT);
  record.done = std::move(done);
  record.detach = request.detach();
  ++running_;
  agent_.Ask(
      AskOf(request, id), kStartPatience,
      [this, alive = alive_, id, timeout_ms = request.timeout_ms()](Result<std::string> answer) {
        if (*alive) OnStarted(id, std::move(answer), timeout_ms);
      },
      std::move(fds));
  return id;
}

void ExecTable::Adopt(const std::vector<v1::Execution>& execs, uint32_t last) {
  last_id_ = last;
  for (const v1::Execution& exec : execs) {
    Record& record = records_[exec.exec_id()];
    record.info = exec;
    record.detach = true;
    if (exec.state() == v1::Execution::RUNNING) ++running_;
  }
}

void ExecTable::OnStarted(uint32_t id, Result<std::string> answer, uint64_t timeout_ms) {
  const auto found = records_.find(id);
  if (found == records_.end() || found->second.info.state() != v1::Execution::RUNNING) return;
  Record& record = found->second;
  if (!answer) {
    record.info.set_exit_code(kSporeFailed);
    record.info.set_error(answer.error().Message());
    return End(id, record);
  }
  Reader reader(*answer);
  const auto pid = static_cast<int32_t>(reader.GetNumber(Tag::kPid) & 0x7fffffff);
  if (pid == 0) {
    record.info.set_exit_code(static_cast<int32_t>(reader.GetNumber(Tag::kStatus) & 0xff));
    record.info.set_error(ValidUtf8(reader.Get(Tag::kText), kMaxReason));
    return End(id, record);
  }
  record.info.set_pid(pid);
  if (record.cancelled) Signal(id, SIGKILL);
  if (timeout_ms != 0) {
    record.timer = loop_.AddTimer(std::chrono::milliseconds(timeout_ms), [this, id] {
      Record& late = records_.at(id);
      late.timer = 0;
      late.info.set_timed_out(true);
      Signal(id, SIGKILL);
    });
  }
  if (record.detach) Answer(record);
}

void ExecTable::Signal(uint32_t id, int signal) {
  Writer ask(Op::kSignal);
  ask.PutNumber(Tag::kExecId, id).PutNumber(Tag::kSignalNumber, static_cast<uint64_t>(signal));
  agent_.Ask(ask.Take(), kStartPatience, [](const Result<std::string>&) {});
}

void ExecTable::Cancel(uint32_t id) {
  const auto found = records_.find(id);
  if (found == records_.end() || found->second.info.state() != v1::Execution::RUNNING) return;
  found->second.cancelled = true;
  if (found->second.info.pid() != 0) Signal(id, SIGKILL);
}

bool ExecTable::OnEnded(Reader& event) {
  const auto id = static_cast<uint32_t>(event.GetNumber(Tag::kExecId));
  const auto found = records_.find(id);
  if (found == records_.end() || found->second.info.state() != v1::Execution::RUNNING) return false;
  Record& record = found->second;
  const auto status = static_cast<int32_t>(event.GetNumber(Tag::kStatus) & 0xff);
  if (event.GetNumber(Tag::kCode) == CLD_EXITED) {
    record.info.set_exit_code(status);
  } else {
    record.info.set_signal(status);
    record.info.set_exit_code(kSignalBase + status);
  }
  const uint64_t before = oom_kills_seen_;
  if (status == SIGKILL && record.info.signal() == SIGKILL) oom_kills_seen_ = oom_kills_();
  if (record.info.timed_out()) {
    record.info.set_error("its timeout has passed");
  } else if (oom_kills_seen_ > before) {
    record.info.set_error("killed by the kernel: the session is out of memory");
  }
  if (!record.detach && record.info.kept()) {
    const auto most = session::kMaxChunk;
    record.response.set_stdout(std::string(event.Get(Tag::kOut).substr(0, most)));
    record.response.set_stderr(std::string(event.Get(Tag::kErr).substr(0, most)));
    record.response.set_stdout_dropped(event.GetNumber(Tag::kOutDropped));
    record.response.set_stderr_dropped(event.GetNumber(Tag::kErrDropped));
  }
  End(id, record);
  return true;
}

void ExecTable::End(uint32_t id, Record& record) {
  record.info.set_state(v1::Execution::ENDED);
  record.info.set_ended_unix_ms(NowUnixMs());
  if (record.timer != 0) loop_.CancelTimer(record.timer);
  record.timer = 0;
  --running_;
  const std::shared_ptr<bool> alive = alive_;
  Answer(record);
  if (!*alive) return;
  WakeWaiters(id);
  if (*alive) ForgetOldest();
}

void ExecTable::Answer(Record& record) {
  const Done done = std::exchange(record.done, nullptr);
  if (!done) return;
  v1::ExecResponse response = std::move(record.response);
  record.response.Clear();
  *response.mutable_exec() = record.info;
  done(std::move(response));
}

void ExecTable::WakeWaiters(uint32_t id) {
  std::vector<Waited> woken;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->second.exec != id) {
      ++it;
      continue;
    }
    if (it->second.timer != 0) loop_.CancelTimer(it->second.timer);
    woken.push_back(std::move(it->second.waited));
    it = waiters_.erase(it);
  }
  const v1::Execution info = records_.at(id).info;
  for (const Waited& waited : woken) waited(info);
}

void ExecTable::ForgetOldest() {
  size_t ended = records_.size() - running_;
  for (auto it = records_.begin(); it != records_.end() && ended > kEndedKept;) {
    if (it->second.info.state() != v1::Execution::ENDED) {
      ++it;
      continue;
    }
    it = records_.erase(it);
    --ended;
  }
}

void ExecTable::EndAll(const std::string& message) {
  std::vector<uint32_t> ids;
  for (const auto& [id, record] : records_)
    if (record.info.state() == v1::Execution::RUNNING) ids.push_back(id);
  const std::shared_ptr<bool> alive = alive_;
  for (const uint32_t id : ids) {
    if (!*alive) return;
    const auto found = records_.find(id);
    if (found == records_.end() || found->second.info.state() != v1::Execution::RUNNING) continue;
    found->second.info.set_signal(SIGKILL);
    found->second.info.set_exit_code(kSignalBase + SIGKILL);
    found->second.info.set_error("the session has ended: " + message);
    End(id, found->second);
  }
}

const v1::Execution* ExecTable::Find(uint32_t id) const {
  const auto found = records_.find(id);
  return found == records_.end() ? nullptr : &found->second.info;
}

std::vector<v1::Execution> ExecTable::List() const {
  std::vector<v1::Execution> list;
  for (const auto& [id, record] : records_) list.push_back(record.info);
  return list;
}

uint64_t ExecTable::Wait(uint32_t id, std::chrono::milliseconds most, Waited waited) {
  const v1::Execution& info = records_.at(id).info;
  if (info.state() == v1::Execution::ENDED || most.count() == 0) {
    waited(info);
    return 0;
  }
  const uint64_t wait = ++last_wait_;
  Waiter& waiter = waiters_[wait];
  waiter.exec = id;
  waiter.waited = std::move(waited);
  waiter.timer = loop_.AddTimer(most, [this, wait] {
    auto over = waiters_.extract(wait);
    if (!over.empty()) over.mapped().waited(records_.at(over.mapped().exec).info);
  });
  return wait;
}

void ExecTable::CancelWait(uint64_t wait) {
  const auto found = waiters_.find(wait);
  if (found == waiters_.end()) return;
  loop_.CancelTimer(found->second.timer);
  waiters_.erase(found);
}

}  // namespace spore
