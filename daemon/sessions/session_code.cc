#include "daemon/sessions/session_code.h"

#include <algorithm>
#include <utility>

#include "daemon/common/text.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kMaxQueue = 64;
// Between SIGINT and the end of an interpreter that does not heed it.
constexpr std::chrono::seconds kGrace{2};
constexpr std::chrono::seconds kPatience{30};
constexpr size_t kMaxType = 256;
constexpr size_t kMaxMessage = 64u << 10;
constexpr int kMaxLines = 256;
constexpr size_t kMaxLine = 4096;
constexpr int kMaxForms = 16;

void AddForm(std::string_view packed, size_t& left, v1::RunCodeResponse& response) {
  Reader form(packed, /*has_op=*/false);
  const std::string name = ValidUtf8(form.Get(Tag::kName), kMaxType);
  const std::string_view data = form.Get(Tag::kData);
  if (name.empty() || data.size() > left || response.forms_size() >= kMaxForms) return;
  left -= data.size();
  (*response.mutable_forms())[name] = std::string(data);
}

v1::RunCodeResponse ParseOutcome(std::string_view body) {
  v1::RunCodeResponse response;
  Reader reader(body);
  if (const auto value = reader.Find(Tag::kValue)) {
    response.set_has_value(true);
    response.set_value(ValidUtf8(*value, session::kMaxValue));
    response.set_value_cut(reader.Has(session::kCut) || value->size() > session::kMaxValue);
  }
  const std::string_view json = reader.Get(Tag::kJson);
  if (json.size() <= session::kMaxJson) response.set_json(std::string(json));
  const auto cut = [](std::string_view text) {
    return std::string(text.substr(0, session::kMaxChunk));
  };
  response.set_stdout(cut(reader.Get(Tag::kOut)));
  response.set_stderr(cut(reader.Get(Tag::kErr)));
  response.set_stdout_dropped(reader.GetNumber(Tag::kOutDropped));
  response.set_stderr_dropped(reader.GetNumber(Tag::kErrDropped));
  response.set_run(reader.GetNumber(Tag::kRun));
  response.set_interpreter_ended(reader.Has(session::kEnded));
  if (const auto type = reader.Find(Tag::kErrorType)) {
    response.mutable_error()->set_type(ValidUtf8(*type, kMaxType));
    response.mutable_error()->set_message(ValidUtf8(reader.Get(Tag::kErrorMessage), kMaxMessage));
  }
  size_t left = session::kMaxJson;
  reader.Each([&](Tag tag, std::string_view bytes) {
    if (tag == Tag::kForm) AddForm(bytes, left, response);
    if (tag == Tag::kErrorLine && response.has_error() &&
        response.error().stack_trace_size() < kMaxLines) {
      response.mutable_error()->add_stack_trace(ValidUtf8(bytes, kMaxLine));
    }
  });
  return response;
}

}  // namespace

SessionCode::SessionCode(EventLoop& loop, AgentLink& agent)
    : loop_(loop), agent_(agent), alive_(std::make_shared<bool>(true)) {}

SessionCode::~SessionCode() {
  *alive_ = false;
  if (running_ && running_->timer != 0) loop_.CancelTimer(running_->timer);
}

uint64_t SessionCode::Run(std::string code, uint64_t timeout_ms, Done done) {
  if (queue_.size() >= kMaxQueue) {
    done(MakeError(ErrorKind::kOverloaded,
                   std::to_string(queue_.size()) + " pieces of code wait for their turn already",
                   "try again later"));
    return 0;
  }
  auto job = std::make_unique<Job>();
  job->id = ++last_id_;
  job->code = std::move(code);
  job->timeout_ms = timeout_ms;
  job->done = std::move(done);
  const uint64_t id = job->id;
  queue_.push_back(std::move(job));
  if (!running_) Next();
  return id;
}

void SessionCode::Next() {
  if (running_ || queue_.empty()) return;
  running_ = std::move(queue_.front());
  queue_.pop_front();
  running_->started_ns = MonotonicNs();
  ++runs_;
  if (running_->timeout_ms != 0) {
    running_->timer = loop_.AddTimer(std::chrono::milliseconds(running_->timeout_ms), [this] {
      running_->timer = 0;
      running_->timed_out = true;
      Stop();
    });
  }
  Writer ask(Op::kRunCode);
  ask.Put(Tag::kData, running_->code);
  running_->code = {};
  agent_.Ask(ask.Take(), {}, [this, alive = alive_](Result<std::string> answer) {
    if (*alive) Answered(std::move(answer));
  });
}

void SessionCode::Answered(Result<std::string> answer) {
  const std::unique_ptr<Job> job = std::exchange(running_, nullptr);
  if (!job) return;
  if (job->timer != 0) loop_.CancelTimer(job->timer);
  const std::shared_ptr<bool> alive = alive_;
  if (job->done && !answer) {
    job->done(tl::unexpected(answer.error()));
  } else if (job->done) {
    v1::RunCodeResponse response = ParseOutcome(*answer);
    response.set_timed_out(job->timed_out);
    response.set_duration_us((MonotonicNs() - job->started_ns) / 1000);
    job->done(std::move(response));
  }
  if (*alive) Next();
}

void SessionCode::Stop() {
  Order(Op::kInterrupt);
  if (running_->timer != 0) loop_.CancelTimer(running_->timer);
  running_->timer = loop_.AddTimer(kGrace, [this] {
    running_->timer = 0;
    Order(Op::kRestart);
  });
}

void SessionCode::Order(Op op) {
  agent_.Ask(Writer(op).Take(), kPatience, [](const Result<std::string>&) {});
}

void SessionCode::Cancel(uint64_t id) {
  if (running_ && running_->id == id) {
    running_->done = nullptr;
    return Stop();
  }
  std::erase_if(queue_, [id](const auto& job) { return job->id == id; });
}

void SessionCode::FailAll(const Error& error) {
  const std::shared_ptr<bool> alive = alive_;
  std::deque<std::unique_ptr<Job>> all = std::exchange(queue_, {});
  if (running_ && running_->timer != 0) loop_.CancelTimer(running_->timer);
  if (running_) all.push_front(std::move(running_));
  for (const auto& job : all)
    if (job->done) job->done(tl::unexpected(error));
}

}  // namespace spore
