#include "zygote/hosts/native/function.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "sandbox/sys/step_log.h"
#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/native/environment.h"
#include "zygote/hosts/native/json_check.h"
#include "zygote/hosts/native/library.h"

namespace spore {
namespace {

using nlohmann::json;
using wire::FrameType;

constexpr const char* kTaskRoot = "/var/task";
// Together, with six bytes a character at most, less than the daemon takes.
constexpr size_t kMaxType = 1024;
constexpr size_t kMaxMessage = 64 * 1024;

// A member that the daemon always sends.
std::string Text(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// What the function is told of itself, for as long as it lives.
struct Function {
  std::string name, version;
  uint64_t memory_limit_mb = 0;
  spore_handler* handler = nullptr;
};

std::string Describe(const std::string& type, const std::string& message) {
  const json text{{"errorType", type.substr(0, kMaxType)},
                  {"errorMessage", message.substr(0, kMaxMessage)},
                  {"stackTrace", json::array()}};
  return text.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool Send(FrameType type, uint64_t id, std::string_view body) {
  // One that is longer than any limit is refused by the length that its header tells.
  const size_t bytes = std::min<size_t>(body.size(), wire::kMaxFrame);
  return WriteFrame(kInstanceFd, type, id, body.data(), bytes);
}

void EnterTask(const json& load) {
  TakeEnvironment(load);
  tzset();
  if (chdir(kTaskRoot) < 0) _exit(1);
  // A killed process cannot flush: what was printed must be on its way at each line's end.
  setvbuf(stdout, nullptr, _IOLBF, 0);
}

Function Load() {
  const std::optional<HostFrame> frame = ReadFrame(kInstanceFd);
  if (!frame || frame->type != FrameType::kLoad) _exit(1);
  const uint64_t begin = StepLog::Now();
  const json load = json::parse(frame->body, nullptr, false);
  if (!load.is_object()) _exit(1);
  Function function;
  function.name = Text(load, "function_name");
  function.version = Text(load, "function_version");
  const std::string memory = Text(load, "memory_limit_in_mb");
  std::from_chars(memory.data(), memory.data() + memory.size(), function.memory_limit_mb);
  EnterTask(load);
  const LoadFailure failure = LoadHandler(Text(load, "handler"), kTaskRoot, &function.handler);
  if (!failure.type.empty()) {
    Send(FrameType::kFatal, 0, Describe(failure.type, failure.message));
    _exit(1);
  }
  // Goes out with the first answer: two wake-ups of the daemon would cost more than they tell.
  QueueLoaded(begin);
  return function;
}

// As the daemon has put it in, behind all else: the parsed value need not be written again, which
// would recurse as deep as it is nested.
std::string_view ClientContext(std::string_view meta) {
  constexpr std::string_view kKey = ",\"client_context\":";
  const size_t at = meta.find(kKey);
  if (at == meta.npos) return {};
  meta.remove_prefix(at + kKey.size());
  return meta.substr(0, meta.size() - 1);
}

struct Invocation {
  json meta;
  std::string client_context;
  std::string_view event;
};
bool Cut(std::string_view body, Invocation& invocation) {
  InvocationParts parts;
  if (!CutInvocation(body, parts)) return false;
  invocation.meta = json::parse(parts.meta, nullptr, false);
  invocation.client_context = ClientContext(parts.meta);
  invocation.event = parts.event;
  return invocation.meta.is_object();
}

Answer Answered(const Function& function, const Invocation& invocation) {
  const std::string_view event = invocation.event.empty() ? "null" : invocation.event;
  if (const std::string problem = JsonProblem(event); !problem.empty())
    return {true, {}, "Runtime.UnmarshalError", "Unable to unmarshal input: " + problem};
  const std::string id = Text(invocation.meta, "request_id");
  const std::string arn = Text(invocation.meta, "arn");
  const std::string& client = invocation.client_context;
  const auto deadline = invocation.meta.find("deadline_ms");
  const bool has_deadline = deadline != invocation.meta.end() && deadline->is_number_integer();
  const spore_context context{
      .version = SPORE_FUNCTION_VERSION,
      .size = sizeof context,
      .request_id = id.c_str(),
      .function_name = function.name.c_str(),
      .function_version = function.version.c_str(),
      .function_arn = arn.c_str(),
      .client_context = client.empty() ? nullptr : client.c_str(),
      .memory_limit_mb = function.memory_limit_mb,
      .deadline_unix_ms = has_deadline ? deadline->get<int64_t>() : 0,
  };
  Answer answer = CallHandler(function.handler, context, event);
  if (answer.failed) return answer;
  if (answer.result.empty()) answer.result = "null";
  const std::string problem = JsonProblem(answer.result);
  if (problem.empty()) return answer;
  return {true, {}, "Runtime.MarshalError", "Unable to marshal response: " + problem};
}

}  // namespace

void ServeFunction() {
  const Function function = Load();
  while (const std::optional<HostFrame> frame = ReadFrame(kInstanceFd)) {
    Invocation invocation;
    if (frame->type != FrameType::kInvoke || !Cut(frame->body, invocation)) _exit(1);
    const Answer answer = Answered(function, invocation);
    fflush(stdout);
    std::cout.flush();
    const bool sent =
        answer.failed ? Send(FrameType::kFailed, frame->id, Describe(answer.type, answer.message))
                      : Send(FrameType::kResponse, frame->id, answer.result);
    // The handler has closed the request channel. spored ends what has none, and tells why; an
    // exit of our own would be told in its place.
    while (!sent) pause();
  }
  _exit(0);
}

}  // namespace spore
