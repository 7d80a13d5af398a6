// spore mcp: a sandbox for an agent, over the Model Context Protocol.
#include <fmt/format.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "tools/client/fd.h"
#include "tools/spore/context.h"
#include "tools/spore/mcp_server.h"
#include "tools/spore/sandbox.h"

namespace spore::cli {
namespace {

// The language that run_code takes in the sandboxes of an image.
Expected<std::string> LanguageOf(const Context& context, const std::string& image) {
  v1::GetImageRequest request;
  request.set_name(image);
  auto found = CallDaemon<v1::Image>(context, "spore.v1.Images", "Get", request);
  if (!found) return tl::unexpected(found.error());
  if (found->runtime() == "node") return std::string("javascript");
  return found->runtime() == "python" ? found->runtime() : std::string();
}

Outcome Serve(const Context& context, const v1::CreateSandboxRequest& create) {
  auto language = LanguageOf(context, create.image());
  if (!language) return tl::unexpected(language.error());
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGINT);
  sigaddset(&stops, SIGTERM);
  sigprocmask(SIG_BLOCK, &stops, nullptr);
  const client::Fd signals(::signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid())
    return Fail(kSporeFailed, fmt::format("signalfd: {}", std::strerror(errno)));
  McpServer server(context, create, SandboxTools(*language));
  return server.Run(signals.get());
}

}  // namespace

void AddMcp(CLI::App& app, Context& context) {
  auto create = std::make_shared<v1::CreateSandboxRequest>();
  create->set_image("python");
  CLI::App* mcp = AddCommand(app, context, "mcp",
                             "Offer a sandbox to an agent (Model Context Protocol on stdio)");
  AddSessionOptions(*mcp, create);
  mcp->callback([&context, create] {
    context.command = [&context, create] { return Serve(context, *create); };
  });
}

}  // namespace spore::cli
