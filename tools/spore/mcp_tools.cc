#include "tools/spore/mcp_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "spore/v1/session_checkpoints.pb.h"
#include "tools/client/base64.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

using Prepared = tl::expected<ToolCall, std::string>;
constexpr double kLongestTimeout = 86400;
constexpr size_t kMostFileBytes = 1u << 20;  // of one read or write, as sandboxes.proto says
constexpr int kMostListed = 1000;
constexpr double kMostCopies = 16;
constexpr const char* kCheckpoints = "spore.v1.SessionCheckpoints";

// Reads a tool's arguments; the first that is wrong is kept.
class Arguments {
 public:
  explicit Arguments(const Json& json) : json_(json) {
    if (!json_.is_object()) error_ = "arguments: expected an object";
  }

  std::string String(const char* name, bool required = false) {
    const Json* value = Find(name, required);
    if (value == nullptr) return {};
    if (!value->is_string()) {
      Fail(name, "a string");
      return {};
    }
    return value->get<std::string>();
  }
  bool Bool(const char* name) {
    const Json* value = Find(name, false);
    if (value == nullptr) return false;
    if (!value->is_boolean()) Fail(name, "true or false");
    return value->is_boolean() && value->get<bool>();
  }
  double Number(const char* name, double highest) {
    const Json* value = Find(name, false);
    if (value == nullptr) return 0;
    if (!value->is_number() || value->get<double>() < 0 || value->get<double>() > highest) {
      Fail(name, fmt::format("a number from 0 to {}", highest));
      return 0;
    }
    return value->get<double>();
  }
  uint64_t TimeoutMs() {
    const double seconds = Number("timeout_seconds", kLongestTimeout);
    return seconds > 0 ? std::max<uint64_t>(1, static_cast<uint64_t>(seconds * 1000)) : 0;
  }
  const std::optional<std::string>& error() const { return error_; }

 private:
  const Json* Find(const char* name, bool required) {
    if (error_) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end() && !found->is_null()) return &*found;
    if (required) error_ = fmt::format("{}: it is missing", name);
    return nullptr;
  }
  void Fail(const char* name, const std::string& expected) {
    error_ = fmt::format("{}: expected {}", name, expected);
  }

  const Json& json_;
  std::optional<std::string> error_;
};

template <typename Request, typename Response>
Prepared Call(const Arguments& arguments, const char* method, Request request,
              std::function<Json(const Response&)> render) {
  if (arguments.error()) return tl::unexpected(*arguments.error());
  return ToolCall{method, std::make_unique<Request>(std::move(request)),
                  [render = std::move(render)](const std::string& payload) {
                    Response response;
                    if (response.ParseFromString(payload)) return render(response);
                    return TextResult("spored's answer is not a valid message", true);
                  }};
}

std::vector<std::string> IdsOf(const std::string& payload) {
  v1::BranchSandboxResponse response;
  std::vector<std::string> ids;
  if (response.ParseFromString(payload))
    for (const v1::Session& session : response.sessions()) ids.push_back(session.id());
  return ids;
}

Json Schema(Json properties, Json required) {
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

Json Property(const char* type, const char* description) {
  return {{"type", type}, {"description", description}};
}

void AppendOutput(std::string& text, std::string_view title, const std::string& output,
                  uint64_t dropped) {
  if (output.empty() && dropped == 0) return;
  text += fmt::format("{}[{}]\n{}", text.empty() ? "" : "\n", title, output);
  if (dropped > 0) text += fmt::format("\n[{} more bytes were cut]", dropped);
}

Json RenderCode(const v1::RunCodeResponse& response) {
  std::string text;
  AppendOutput(text, "stdout", response.stdout(), response.stdout_dropped());
  AppendOutput(text, "stderr", response.stderr(), response.stderr_dropped());
  if (response.has_value()) AppendOutput(text, "value", response.value(), 0);
  if (response.has_error()) {
    std::string trace;
    for (const std::string& line : response.error().stack_trace()) trace += line + '\n';
    AppendOutput(text, "error", trace + response.error().type() + ": " + response.error().message(),
                 0);
  }
  if (response.timed_out()) text += "\n[it was interrupted: its time was over]";
  if (response.interpreter_ended()) text += "\n[the interpreter has ended: its state is lost]";
  Json result = TextResult(text.empty() ? "(no output)" : text, response.has_error());
  for (const char* type : {"image/png", "image/jpeg"}) {
    const auto form = response.forms().find(type);
    if (form == response.forms().end()) continue;
    result["content"].push_back(
        {{"type", "image"}, {"data", client::Base64(form->second)}, {"mimeType", type}});
  }
  return result;
}

Tool RunCode(const std::string& language) {
  return {"run_code",
          "Runs " + language +
              " code in the sandbox's interpreter. Variables, imports and functions stay for the "
              "next call. The value of the last expression is returned, as are output and errors.",
          Schema({{"code", Property("string", "The code")},
                  {"timeout_seconds", Property("number", "Interrupt it after this; 0: never")}},
                 {"code"}),
          [](const Json& json, const std::string& id) {
            Arguments arguments(json);
            v1::RunCodeRequest request;
            request.set_id(id);
            request.set_code(arguments.String("code", true));
            request.set_timeout_ms(arguments.TimeoutMs());
            return Call<v1::RunCodeRequest, v1::RunCodeResponse>(arguments, "RunCode",
                                                                 std::move(request), RenderCode);
          }};
}

Json RenderExec(const v1::ExecResponse& response) {
  const v1::Execution& exec = response.exec();
  std::string text;
  AppendOutput(text, "stdout", response.stdout(), response.stdout_dropped());
  AppendOutput(text, "stderr", response.stderr(), response.stderr_dropped());
  if (!exec.error().empty()) AppendOutput(text, "error", exec.error(), 0);
  if (exec.state() == v1::Execution::RUNNING) {
    text += fmt::format("{}[running: process {}]", text.empty() ? "" : "\n", exec.pid());
    return TextResult(text, false);
  }
  text += fmt::format("{}[exit code {}{}]", text.empty() ? "" : "\n", exec.exit_code(),
                      exec.timed_out() ? ": its time was over" : "");
  return TextResult(text, exec.exit_code() != 0);
}

Tool RunCommand() {
  return {"run_command",
          "Runs a shell command line (/bin/sh) in the sandbox, to its end or in the background. "
          "There is no network, and only /tmp can be written to.",
          Schema({{"command", Property("string", "The command line")},
                  {"input", Property("string", "What it reads from its standard input")},
                  {"working_directory", Property("string", "Where it runs; /tmp")},
                  {"timeout_seconds", Property("number", "Kill it after this; 0: never")},
                  {"background", Property("boolean", "Do not wait for its end")}},
                 {"command"}),
          [](const Json& json, const std::string& id) {
            Arguments arguments(json);
            v1::ExecRequest request;
            request.set_id(id);
            request.add_args("/bin/sh");
            request.add_args("-c");
            request.add_args(arguments.String("command", true));
            request.set_streams(v1::ExecRequest::KEPT);
            request.set_input(arguments.String("input"));
            request.set_working_directory(arguments.String("working_directory"));
            request.set_timeout_ms(arguments.TimeoutMs());
            request.set_detach(arguments.Bool("background"));
            return Call<v1::ExecRequest, v1::ExecResponse>(arguments, "Exec", std::move(request),
                                                           RenderExec);
          }};
}

Tool ReadFile() {
  return {"read_file",
          "Reads a file of the sandbox, up to 1 MiB at a time. What is not UTF-8 comes as base64.",
          Schema({{"path", Property("string", "Absolute path")},
                  {"offset", Property("number", "First byte; 0")}},
                 {"path"}),
          [](const Json& json, const std::string& id) {
            Arguments arguments(json);
            v1::ReadFileRequest request;
            request.set_id(id);
            request.set_path(arguments.String("path", true));
            request.set_offset(static_cast<uint64_t>(arguments.Number("offset", 1e15)));
            const uint64_t offset = request.offset();
            return Call<v1::ReadFileRequest, v1::ReadFileResponse>(
                arguments, "ReadFile", std::move(request),
                [offset](const v1::ReadFileResponse& response) {
                  const bool text = TextJson(response.data()) == Json(response.data());
                  Json result =
                      TextResult(text ? response.data() : client::Base64(response.data()), false);
                  if (!text) result["content"].push_back({{"type", "text"}, {"text", "[base64]"}});
                  if (!response.end()) {
                    result["content"].push_back(
                        {{"type", "text"},
                         {"text", fmt::format("[bytes {} to {} of {}]", offset,
                                              offset + response.data().size(), response.size())}});
                  }
                  return result;
                });
          }};
}

Tool WriteFile() {
  return {
      "write_file", "Writes a file in the sandbox's /tmp, in place of what was there, up to 1 MiB.",
      Schema({{"path", Property("string", "Absolute path")},
              {"content", Property("string", "What it shall hold")},
              {"base64", Property("boolean", "The content is base64 of the bytes")},
              {"append", Property("boolean", "Add to what is there")}},
             {"path", "content"}),
      [](const Json& json, const std::string& id) -> Prepared {
        Arguments arguments(json);
        v1::WriteFileRequest request;
        request.set_id(id);
        request.set_path(arguments.String("path", true));
        std::string content = arguments.String("content", true);
        if (arguments.Bool("base64")) {
          std::optional<std::string> decoded = client::FromBase64(content);
          if (!decoded) return tl::unexpected(std::string("content: it is not base64"));
          content = std::move(*decoded);
        }
        if (content.size() > kMostFileBytes) {
          return tl::unexpected(fmt::format("content: {} bytes; expected at most {}",
                                            content.size(), kMostFileBytes));
        }
        request.set_data(std::move(content));
        request.set_create(true);
        request.set_append(arguments.Bool("append"));
        request.set_truncate(!request.append());
        return Call<v1::WriteFileRequest, v1::WriteFileResponse>(
            arguments, "WriteFile", std::move(request), [](const v1::WriteFileResponse& response) {
              return TextResult(fmt::format("It has {} bytes now.", response.size()), false);
            });
      }};
}

std::string FileLine(const v1::FileInfo& file) {
  switch (file.kind()) {
    case v1::FileInfo::DIRECTORY:
      return file.path() + "/\n";
    case v1::FileInfo::SYMLINK:
      return fmt::format("{} -> {}\n", file.path(), file.target());
    case v1::FileInfo::FILE:
      return fmt::format("{}  {} bytes\n", file.path(), file.size());
    default:
      return file.path() + "  (neither file nor folder)\n";
  }
}

Tool ListFiles() {
  return {"list_files", "Lists a folder of the sandbox.",
          Schema({{"path", Property("string", "Absolute path; /tmp")}}, Json::array()),
          [](const Json& json, const std::string& id) {
            Arguments arguments(json);
            v1::ListFilesRequest request;
            request.set_id(id);
            const std::string path = arguments.String("path");
            request.set_path(path.empty() ? "/tmp" : path);
            request.set_limit(kMostListed);
            return Call<v1::ListFilesRequest, v1::ListFilesResponse>(
                arguments, "ListFiles", std::move(request),
                [](const v1::ListFilesResponse& response) {
                  std::vector<std::string> lines;
                  for (const v1::FileInfo& file : response.files()) lines.push_back(FileLine(file));
                  std::sort(lines.begin(), lines.end());
                  std::string text;
                  for (const std::string& line : lines) text += line;
                  if (response.cursor() != 0) text += "[there are more]\n";
                  return TextResult(text.empty() ? "(empty)" : text, false);
                });
          }};
}

Tool Branch() {
  return {"branch",
          "Copies the sandbox as it is now, files and the interpreter's state included, to try "
          "several ways on from here. Gives the copies' ids: pass one as `sandbox` to any tool.",
          Schema({{"copies", Property("number", "How many, 1 to 16; 1")}}, Json::array()),
          [](const Json& json, const std::string& id) -> Prepared {
            Arguments arguments(json);
            v1::BranchSandboxRequest request;
            request.set_id(id);
            request.set_copies(static_cast<uint32_t>(arguments.Number("copies", kMostCopies)));
            Prepared call = Call<v1::BranchSandboxRequest, v1::BranchSandboxResponse>(
                arguments, "Branch", std::move(request),
                [](const v1::BranchSandboxResponse& response) {
                  std::string text;
                  for (const v1::Session& session : response.sessions())
                    text += session.id() + "\n";
                  return TextResult(text, false);
                });
            if (call) call->made = IdsOf;
            return call;
          }};
}

Tool Checkpoint() {
  return {"checkpoint",
          "Keeps the sandbox on disk as it is now, files and all that runs in it included, to be "
          "restored later, also by another client. It goes on. Gives the name of what is kept.",
          Schema({{"name", Property("string", "What it is to be called; one is made without it")}},
                 Json::array()),
          [](const Json& json, const std::string& id) -> Prepared {
            Arguments arguments(json);
            v1::CreateSessionCheckpointRequest request;
            request.set_id(id);
            request.set_name(arguments.String("name"));
            request.set_leave_running(true);
            Prepared call =
                Call<v1::CreateSessionCheckpointRequest, v1::CreateSessionCheckpointResponse>(
                    arguments, "Create", std::move(request),
                    [](const v1::CreateSessionCheckpointResponse& response) {
                      return TextResult(response.checkpoint().name(), false);
                    });
            if (call) call->service = kCheckpoints;
            return call;
          }};
}

Tool Restore() {
  return {"restore",
          "Makes a sandbox of what `checkpoint` has kept. Gives its id: pass it as `sandbox` to "
          "any tool.",
          Schema({{"name", Property("string", "Of what is kept")}}, Json::array({"name"})),
          [](const Json& json, const std::string&) -> Prepared {
            Arguments arguments(json);
            v1::RestoreSessionRequest request;
            request.set_name(arguments.String("name", true));
            Prepared call = Call<v1::RestoreSessionRequest, v1::Session>(
                arguments, "Restore", std::move(request),
                [](const v1::Session& session) { return TextResult(session.id(), false); });
            if (!call) return call;
            call->service = kCheckpoints;
            call->made = [](const std::string& payload) {
              v1::Session session;
              return session.ParseFromString(payload) ? std::vector{session.id()}
                                                      : std::vector<std::string>();
            };
            return call;
          },
          false};
}

Tool EndBranch() {
  return {"end_branch", "Ends a copy that `branch` or `restore` has made.",
          Schema(Json::object(), Json::array()), [](const Json& json, const std::string& id) {
            Arguments arguments(json);
            v1::KillSandboxRequest request;
            request.set_id(id);
            return Call<v1::KillSandboxRequest, v1::Session>(
                arguments, "Kill", std::move(request),
                [](const v1::Session&) { return TextResult("It has ended.", false); });
          }};
}

}  // namespace

Json TextResult(const std::string& text, bool is_error) {
  return {{"content", Json::array({{{"type", "text"}, {"text", TextJson(text)}}})},
          {"isError", is_error}};
}

std::vector<Tool> SandboxTools(const std::string& language) {
  std::vector<Tool> tools;
  if (!language.empty()) tools.push_back(RunCode(language));
  for (const auto make :
       {RunCommand, ReadFile, WriteFile, ListFiles, Branch, Checkpoint, Restore, EndBranch})
    tools.push_back(make());
  for (Tool& tool : tools) {
    if (!tool.in_sandbox) continue;
    tool.input_schema["properties"][kSandboxArgument] =
        Property("string", "An id from branch or restore; without it, the first sandbox");
  }
  tools.back().input_schema["required"].push_back(kSandboxArgument);
  return tools;
}

}  // namespace spore::cli
