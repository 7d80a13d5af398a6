#include "tools/spore/mcp_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "tools/spore/output.h"

namespace spore::cli {
namespace {

constexpr size_t kMaxLine = 8u << 20;
constexpr size_t kMaxPending = 64;
constexpr std::array<std::string_view, 3> kRevisions = {"2025-06-18", "2025-03-26", "2024-11-05"};
// JSON-RPC 2.0, section 5.1.
constexpr int kParseError = -32700;
constexpr int kInvalidRequest = -32600;
constexpr int kMethodNotFound = -32601;
constexpr int kInvalidParams = -32602;
constexpr int kServerError = -32000;

constexpr char kService[] = "spore.v1.Sandboxes";

Json Initialized(const Json& params) {
  const std::string asked = params.value("protocolVersion", "");
  const bool known = std::find(kRevisions.begin(), kRevisions.end(), asked) != kRevisions.end();
  return {{"protocolVersion", known ? asked : std::string(kRevisions.front())},
          {"capabilities", {{"tools", Json::object()}}},
          {"serverInfo", {{"name", "spore"}, {"version", SPORE_VERSION}}},
          {"instructions",
           "A sandbox of its own, with files, programs and an interpreter that keep their state "
           "until the client ends. It has no network; only /tmp can be written to."}};
}

}  // namespace

McpServer::~McpServer() {
  EndSandbox();
}

Outcome McpServer::Run(int signal_fd) {
  while (!output_lost_) {
    std::vector<pollfd> polled{{STDIN_FILENO, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    for (const Pending& pending : pending_) polled.push_back({pending.connection.fd(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;  // EINTR
    if (polled[1].revents != 0) break;
    size_t at = 2;
    for (auto pending = pending_.begin(); pending != pending_.end(); ++at) {
      if (polled[at].revents == 0) {
        ++pending;
        continue;
      }
      Finish(*pending);
      pending = pending_.erase(pending);
    }
    if (polled[0].revents != 0 && !ReadInput()) break;
  }
  pending_.clear();
  EndSandbox();
  return kDone;
}

bool McpServer::ReadInput() {
  std::array<char, 1 << 16> buffer;
  const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) return false;
  input_.append(buffer.data(), static_cast<size_t>(count));
  size_t begin = 0;
  for (size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n', begin)) {
    OnLine(std::string_view(input_).substr(begin, end - begin));
    begin = end + 1;
  }
  input_.erase(0, begin);
  if (input_.size() <= kMaxLine) return true;
  Refuse(nullptr, kInvalidRequest, fmt::format("a message of more than {} bytes", kMaxLine));
  return false;
}

void McpServer::OnLine(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  const Json message = Json::parse(line, nullptr, false);
  if (message.is_discarded()) return Refuse(nullptr, kParseError, "not JSON");
  const auto method = message.is_object() ? message.find("method") : message.end();
  const auto id = message.is_object() ? message.find("id") : message.end();
  const bool valid_id = id == message.end() || id->is_string() || id->is_number();
  if (!message.is_object() || !valid_id || (method != message.end() && !method->is_string())) {
    return Refuse(nullptr, kInvalidRequest, "not a JSON-RPC request");
  }
  if (method == message.end()) return;  // an answer, to what was never asked
  const auto params = message.find("params");
  const Json given = params != message.end() && params->is_object() ? *params : Json::object();
  if (id == message.end()) return OnNotification(method->get<std::string>(), given);
  OnRequest(*id, method->get<std::string>(), given);
}

void McpServer::OnNotification(const std::string& method, const Json& params) {
  if (method != "notifications/cancelled") return;
  const auto id = params.find("requestId");
  if (id == params.end()) return;
  // Its connection ends with it, and with that the call. No answer is expected any more.
  pending_.remove_if([&](const Pending& pending) { return pending.id == *id; });
}

void McpServer::OnRequest(const Json& id, const std::string& method, const Json& params) {
  if (method == "initialize") return Answer(id, Initialized(params));
  if (method == "ping") return Answer(id, Json::object());
  if (method == "tools/call") return CallTool(id, params);
  if (method != "tools/list") return Refuse(id, kMethodNotFound, "no method \"" + method + "\"");
  Json list = Json::array();
  for (const Tool& tool : tools_) {
    list.push_back({{"name", tool.name},
                    {"description", tool.description},
                    {"inputSchema", tool.input_schema}});
  }
  Answer(id, {{"tools", std::move(list)}});
}

void McpServer::CallTool(const Json& id, const Json& params) {
  const std::string name = params.contains("name") && params["name"].is_string()
                               ? params["name"].get<std::string>()
                               : std::string();
  const auto tool = std::find_if(tools_.begin(), tools_.end(),
                                 [&](const Tool& candidate) { return candidate.name == name; });
  if (tool == tools_.end()) return Refuse(id, kInvalidParams, "no tool \"" + name + "\"");
  if (pending_.size() >= kMaxPending) {
    return Refuse(id, kServerError, fmt::format("{} calls are under way", pending_.size()));
  }
  const auto given = params.find("arguments");
  Json arguments = given != params.end() ? *given : Json::object();
  auto sandbox = tool->in_sandbox ? SandboxFor(arguments) : Expected<std::string>(std::string());
  if (!sandbox) return Answer(id, TextResult(sandbox.error().message, true));
  auto call = tool->prepare(arguments, *sandbox);
  if (!call) return Answer(id, TextResult(call.error(), true));
  auto connection = context_.Connect();
  if (!connection) return Answer(id, TextResult(connection.error().message, true));
  if (auto sent = connection->Send(call->service, call->method, *call->request); !sent) {
    return Answer(id, TextResult(Explain(sent.error(), context_.socket).message, true));
  }
  pending_.push_back({id, *sandbox, std::move(*connection), std::move(*call)});
}

void McpServer::Finish(Pending& pending) {
  auto reply = pending.connection.Receive();
  if (reply) {
    if (pending.call.made) {
      for (std::string& made : pending.call.made(reply->payload))
        branches_.push_back(std::move(made));
    }
    return Answer(pending.id, pending.call.finish(reply->payload));
  }
  const client::Error& error = reply.error();
  std::string message = Explain(error, context_.socket).message;
  const bool may_be_over =
      error.code == client::kNotFound || error.code == client::kFailedPrecondition;
  if (may_be_over && !pending.sandbox.empty()) {
    // A session that has ended says why when it is asked; the next call gets a fresh one.
    v1::InspectSandboxRequest request;
    request.set_id(pending.sandbox);
    const auto session = CallDaemon<v1::Session>(context_, kService, "Inspect", request);
    const bool over = !session || session->state() == v1::Session::DEAD;
    if (over && pending.sandbox != sandbox_) {
      std::erase(branches_, pending.sandbox);
      message += "\nThe copy has ended.";
    } else if (over) {
      sandbox_.clear();
      message += "\nThe sandbox has ended; the next call starts a fresh one.";
    }
  }
  Answer(pending.id, TextResult(message, true));
}

Expected<std::string> McpServer::Sandbox() {
  if (!sandbox_.empty()) return sandbox_;
  auto session = CallDaemon<v1::Session>(context_, kService, "Create", create_);
  if (!session) return tl::unexpected(session.error());
  sandbox_ = session->id();
  return sandbox_;
}

// The one that the arguments name, of which it is taken out; else the first.
Expected<std::string> McpServer::SandboxFor(Json& arguments) {
  const auto named = arguments.is_object() ? arguments.find(kSandboxArgument) : arguments.end();
  if (named == arguments.end() || named->is_null()) return Sandbox();
  const std::string id = named->is_string() ? named->get<std::string>() : std::string();
  arguments.erase(named);
  if (std::find(branches_.begin(), branches_.end(), id) != branches_.end()) return id;
  if (!id.empty() && id == sandbox_) return id;
  return Fail(kUsage,
              fmt::format("{}: expected an id that branch or restore has given", kSandboxArgument));
}

void McpServer::EndSandbox() {
  std::vector<std::string> all = std::exchange(branches_, {});
  if (!sandbox_.empty()) all.push_back(std::exchange(sandbox_, {}));
  for (const std::string& id : all) {
    v1::KillSandboxRequest request;
    request.set_id(id);
    const auto killed = CallDaemon<v1::Session>(context_, kService, "Kill", request);
    if (!killed) fmt::print(stderr, "spore: {}\n", killed.error().message);
  }
}

void McpServer::Answer(const Json& id, Json result) {
  Send({{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}});
}

void McpServer::Refuse(const Json& id, int code, const std::string& message) {
  Send({{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", message}}}});
}

void McpServer::Send(const Json& message) {
  fmt::print("{}\n", JsonText(message, -1));
  output_lost_ = std::fflush(stdout) != 0;
}

}  // namespace spore::cli
