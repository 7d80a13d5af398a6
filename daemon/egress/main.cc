// spore-egress: the way out of one session's sandbox, for what its rules allow, without any power
// of spored's.
//
//   --uid N       the identity to take
//   descriptor 3  a listening socket in the sandbox's network namespace
//   descriptor 4  to spored (protocol.h)
// When it cannot serve it says why in the only Report that it sends, and exits with 1.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "daemon/egress/confine.h"
#include "daemon/egress/proxy.h"

namespace spore::egress {
namespace {

constexpr size_t kMaxFile = 64 * 1024;
constexpr size_t kMaxSettings = 64 * 1024;

// Its first part; nothing where there is none.
std::string ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFile, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

Result<Settings> ReceiveSettings() {
  std::string text(kMaxSettings, '\0');
  const ssize_t got = TEMP_FAILURE_RETRY(recv(kControlFd, text.data(), text.size(), 0));
  if (got < 0) return SysError("receive the settings");
  if (got == 0) return MakeError(ErrorKind::kUnavailable, "spored has gone");
  text.resize(static_cast<size_t>(got));
  SPORE_ASSIGN(Settings settings, ParseSettings(text));
  settings.hosts = ReadFile("/etc/hosts");
  if (settings.servers.empty()) settings.servers = ParseResolvConf(ReadFile("/etc/resolv.conf"));
  return settings;
}

Result<> Run(int argc, char** argv) {
  if (argc != 3 || strcmp(argv[1], "--uid") != 0)
    return MakeError(ErrorKind::kInternal, "usage: spore-egress --uid N, started by spored");
  SPORE_TRY(DropPrivileges(static_cast<uid_t>(strtoul(argv[2], nullptr, 10))));
  SPORE_ASSIGN(Settings settings, ReceiveSettings());
  SPORE_ASSIGN(Poller poller, Poller::Create());
  SPORE_TRY(Confine());
  Proxy proxy(poller, std::move(settings), kListenerFd, kControlFd);
  return proxy.Serve();
}

}  // namespace
}  // namespace spore::egress

int main(int argc, char** argv) {
  const auto done = spore::egress::Run(argc, argv);
  if (done) _exit(0);
  spore::egress::Report report;
  strncpy(report.line, done.error().Message().c_str(), sizeof report.line - 1);
  (void)send(spore::egress::kControlFd, &report, sizeof report, MSG_DONTWAIT | MSG_NOSIGNAL);
  _exit(1);
}
