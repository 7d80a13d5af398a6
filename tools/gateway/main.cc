// spore-gateway(8): the arguments, and what becomes of them.
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "tools/gateway/access.h"
#include "tools/gateway/config.h"
#include "tools/gateway/event_loop.h"
#include "tools/gateway/http_server.h"
#include "tools/gateway/listener.h"
#include "tools/gateway/privileges.h"
#include "tools/gateway/router.h"
#include "tools/gateway/tls.h"

namespace spore::gateway {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr std::size_t kOwnDescriptors = 64;
constexpr int64_t kDrainMs = 10'000;

void Say(const std::string& message) {
  std::fprintf(stderr, "spore-gateway: %s\n", message.c_str());
}

int Fail(const client::Error& error, int code) {
  Say(error.message);
  return code;
}

// SIGTERM, SIGINT and SIGHUP as a descriptor; the others do nothing here.
client::Result<client::Fd> TakeSignals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return client::LocalError("sigprocmask", errno);
  client::Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return client::LocalError("signalfd", errno);
  return fd;
}

client::Result<> CheckReach(const Listener& listener, const Access& access, const Config& config) {
  if (access.guarded() || listener.local || listener.loopback) return {};
  return client::LocalError("listen: \"" + config.listen +
                            "\" can be reached from other hosts; without token-file or key-file "
                            "only loopback and UNIX sockets are served");
}

using TlsPtr = std::shared_ptr<TlsContext>;

// Null where none is configured.
client::Result<TlsPtr> LoadTls(const Config& config) {
  if (config.tls_certificate.empty() && config.tls_key.empty()) return TlsPtr();
  if (config.tls_certificate.empty() || config.tls_key.empty())
    return client::LocalError("tls-certificate and tls-key: expected both or neither");
  auto tls = TlsContext::Load(config.tls_certificate, config.tls_key);
  if (tls && (*tls)->expired())
    Say(config.tls_certificate + ": has expired on " + (*tls)->valid_until());
  return tls;
}

// SIGHUP: certificates are renewed while the gateway serves. What cannot be used changes nothing.
void Reload(const Config& config, HttpServer& server) {
  auto tls = LoadTls(config);
  if (!tls) return Say("SIGHUP: the certificate stays as it is: " + tls.error().message);
  if (!*tls) return Say("SIGHUP: there is nothing to read again");
  Say("SIGHUP: a certificate good until " + (*tls)->valid_until());
  server.UseTls(std::move(*tls));
}

client::Result<> Serve(const Config& config, Listener listener, Access access, TlsPtr tls,
                       const client::Fd& signals) {
  auto created = EventLoop::Create();
  if (!created) return tl::unexpected(created.error());
  EventLoop loop = std::move(*created);
  if (listener.local) access.TrustHost();
  SporedPool pool(loop, {config.socket, config.spored_connections});
  HttpServer* http = nullptr;
  Service service{pool, config.limits, access.guarded(), config.public_functions,
                  [&http]() -> const HttpCounters& { return http->counters(); }};
  Router router(std::move(service), std::move(access));
  HttpServer server(loop, router, config.http);
  http = &server;
  const char* const over = tls ? " with TLS" : "";
  server.UseTls(std::move(tls));
  if (auto done = server.Listen(std::move(listener.fd)); !done) return done;
  int64_t give_up_ms = 0;
  loop.SetTick([&] {
    if (give_up_ms != 0 && NowMs() > give_up_ms) loop.Stop();
    return server.Tick() || give_up_ms != 0;
  });
  auto watch = loop.Watch(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info;
    if (::read(signals.get(), &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGHUP) return Reload(config, server);
    if (give_up_ms != 0) return loop.Stop();  // asked twice
    sd_notify(0, "STOPPING=1");
    give_up_ms = NowMs() + kDrainMs;
    server.Drain([&] { loop.Stop(); });
    loop.Wake();
  });
  if (!watch) return tl::unexpected(watch.error());
  Say("listening on " + listener.name + over);
  sd_notify(0, "READY=1");
  return loop.Run();
}

int Run(Config config) {
  auto signals = TakeSignals();
  if (!signals) return Fail(signals.error(), kFailed);
  auto access = Access::Load(config.token_file, config.key_file);
  if (!access) return Fail(access.error(), kUsage);
  auto tls = LoadTls(config);
  if (!tls) return Fail(tls.error(), kUsage);
  auto listener = OpenListener(config.listen);
  if (!listener) return Fail(listener.error(), kFailed);
  if (auto fine = CheckReach(*listener, *access, config); !fine) return Fail(fine.error(), kUsage);
  const std::size_t descriptors = RaiseDescriptorLimit();
  if (config.http.max_connections + kOwnDescriptors > descriptors) {
    config.http.max_connections =
        descriptors > 2 * kOwnDescriptors ? descriptors - kOwnDescriptors : kOwnDescriptors;
    Say("max-connections lowered to " + std::to_string(config.http.max_connections) +
        ": the limit of open files is " + std::to_string(descriptors));
  }
  if (auto given_up = GiveUpPrivileges(config.user); !given_up)
    return Fail(given_up.error(), kUsage);
  auto served = Serve(config, std::move(*listener), std::move(*access), std::move(*tls), *signals);
  if (!served) return Fail(served.error(), kFailed);
  return 0;
}

}  // namespace
}  // namespace spore::gateway

int main(int argc, char** argv) {
  namespace gateway = spore::gateway;
  std::string file = gateway::DefaultConfigPath(), listen, socket, tokens, keys, user, certificate,
              tls_key;
  CLI::App app("AWS Lambda's interface to Spore, over HTTP. See spore-gateway(8).",
               "spore-gateway");
  app.add_option("--config", file, "Configuration file")->type_name("FILE");
  app.add_option("--listen", listen, "Where to listen (default 127.0.0.1:8080)")
      ->type_name("HOST:PORT|unix:PATH|systemd");
  app.add_option("--socket", socket, "Where spored listens")->type_name("PATH");
  app.add_option("--token-file", tokens, "Bearer tokens, one a line")->type_name("FILE");
  app.add_option("--key-file", keys, "AWS keys: an id and a secret a line")->type_name("FILE");
  app.add_option("--tls-certificate", certificate, "TLS: certificates, the server's first")
      ->type_name("FILE");
  app.add_option("--tls-key", tls_key, "TLS: the key of that certificate")->type_name("FILE");
  app.add_option("--user", user, "Whom to become when started as root")->type_name("NAME");
  app.set_version_flag("--version", "spore-gateway " SPORE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : gateway::kUsage;
  }
  auto config = gateway::LoadConfig(file);
  if (!config) return gateway::Fail(config.error(), gateway::kUsage);
  if (!listen.empty()) config->listen = listen;
  if (!socket.empty()) config->socket = socket;
  if (!tokens.empty()) config->token_file = tokens;
  if (!keys.empty()) config->key_file = keys;
  if (!user.empty()) config->user = user;
  if (!certificate.empty()) config->tls_certificate = certificate;
  if (!tls_key.empty()) config->tls_key = tls_key;
  return gateway::Run(std::move(*config));
}
