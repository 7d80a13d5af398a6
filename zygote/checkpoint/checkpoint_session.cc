#include "zygote/checkpoint/checkpoint_session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sandbox/sys/fault_point.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/session_dump.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {
namespace {

// For folders that are held open while what is in them is copied.
void AllowManyFiles() {
  constexpr rlim_t kManyFiles = 1u << 20;
  rlimit limit{kManyFiles, kManyFiles};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int CheckpointMain(int argc, char** argv) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)prctl(PR_SET_NAME, "spore-checkpoint");
  umask(0077);
  AllowManyFiles();
  auto options = ParseCheckpointOptions(argc, argv);
  const char* fault = std::getenv("SPORE_FAULT");
  if (auto armed = ArmFaultPoint(fault == nullptr ? "" : fault); !armed)
    options = tl::unexpected(std::move(armed).error());
  if (!options) {
    fprintf(stderr, "spore-zygote: %s\n", options.error().Message().c_str());
    return 2;
  }
  for (int fd = wire::kCheckpointChannelFd; fd <= wire::kCheckpointCriuFd; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
      perror("spore-zygote: descriptors from spored");
      return 2;
    }
  }
  SessionDump dump(std::move(*options));
  const Result<> done = dump.Run();
  wire::CheckpointSessionDone& report = dump.report();
  if (!done) {
    report.error_kind = static_cast<uint32_t>(done.error().kind);
    strncpy(report.error, done.error().Message().c_str(), sizeof report.error - 1);
  }
  return SendStruct(wire::kCheckpointChannelFd, report) ? 0 : 1;
}

}  // namespace spore
