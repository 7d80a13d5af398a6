// What the parts of `spore sandbox` share.
#pragma once

#include <memory>
#include <string>

#include "spore/v1/sandboxes.pb.h"
#include "tools/spore/context.h"

namespace spore::cli {

constexpr const char* kSandboxes = "spore.v1.Sandboxes";

// "ID:/path", as in docker cp.
struct SandboxPath {
  std::string id;
  std::string path;
};
// Fails (kUsage) when it is not of this form.
Expected<SandboxPath> ParseSandboxPath(const std::string& text);
// Whether it means a place in a session rather than a file here.
bool IsSandboxPath(const std::string& text);

// One call of the service over a connection.
template <typename Response, typename Request>
Expected<Response> CallSandbox(const Context& context, client::Connection& connection,
                               const char* method, const Request& request) {
  auto response = connection.Call<Response>(kSandboxes, method, request);
  if (!response) return tl::unexpected(Explain(response.error(), context.socket));
  return std::move(*response);
}

// What a session is made with: image, limits, times, environment.
void AddSessionOptions(CLI::App& command, const std::shared_ptr<v1::CreateSandboxRequest>& request);
void AddSandboxBranch(CLI::App& sandbox, Context& context);
void AddSandboxCheckpoint(CLI::App& sandbox, Context& context);
void AddSandboxCode(CLI::App& sandbox, Context& context);
void AddSandboxCopy(CLI::App& sandbox, Context& context);
void AddSandboxExec(CLI::App& sandbox, Context& context);
void AddSandboxFiles(CLI::App& sandbox, Context& context);
// The files of `spore sandbox ls ID:/path`.
Outcome ListSandboxFiles(const Context& context, const std::string& place);

}  // namespace spore::cli
