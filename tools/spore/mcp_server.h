// A Model Context Protocol server on standard input and output: JSON-RPC 2.0, one message a line
// (modelcontextprotocol.io, revision 2025-06-18, transport "stdio").
//
// Several calls may be under way: each has a connection to spored of its own, so that one that the
// client cancels ends with its connection.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "tools/client/connection.h"
#include "tools/spore/context.h"
#include "tools/spore/mcp_tools.h"

namespace spore::cli {

class McpServer {
 public:
  // `create` is sent for the sandbox, when the first tool is called.
  McpServer(const Context& context, v1::CreateSandboxRequest create, std::vector<Tool> tools)
      : context_(context), create_(std::move(create)), tools_(std::move(tools)) {}
  ~McpServer();
  McpServer(const McpServer&) = delete;
  McpServer& operator=(const McpServer&) = delete;

  // Serves until standard input ends, or SIGTERM or SIGINT comes on `signal_fd`. Ends the sandbox.
  Outcome Run(int signal_fd);

 private:
  struct Pending {
    Json id;
    std::string sandbox;
    client::Connection connection;
    ToolCall call;
  };

  bool ReadInput();
  void OnLine(std::string_view line);
  void OnRequest(const Json& id, const std::string& method, const Json& params);
  void OnNotification(const std::string& method, const Json& params);
  void CallTool(const Json& id, const Json& params);
  void Finish(Pending& pending);
  Expected<std::string> Sandbox();
  Expected<std::string> SandboxFor(Json& arguments);
  void EndSandbox();
  void Answer(const Json& id, Json result);
  void Refuse(const Json& id, int code, const std::string& message);
  void Send(const Json& message);

  const Context& context_;
  v1::CreateSandboxRequest create_;
  std::vector<Tool> tools_;
  std::string sandbox_;  // its id; empty: there is none yet
  std::vector<std::string> branches_;
  std::string input_;  // that is no whole line yet
  std::list<Pending> pending_;
  bool output_lost_ = false;
};

}  // namespace spore::cli
