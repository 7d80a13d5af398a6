#include "zygote/checkpoint/checkpoint_session.h"

#include <cstdio>
#include <utility>

#include "sandbox/sys/fd_message.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/checkpoint_options.h"
#include "zygote/checkpoint/session_dump.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {

int CheckpointMain(int argc, char** argv) {
  auto options = ParseCheckpointOptions(argc, argv);
  if (auto begun = BeginWorker("spore-checkpoint", wire::kCheckpointCriuFd); !begun)
    options = tl::unexpected(std::move(begun).error());
  if (!options) {
    fprintf(stderr, "spore-zygote: %s\n", options.error().Message().c_str());
    return 2;
  }
  SessionDump dump(std::move(*options));
  const Result<> done = dump.Run();
  wire::CheckpointSessionDone& report = dump.report();
  if (!done) PutError(done.error(), report);
  return SendStruct(wire::kCheckpointChannelFd, report) ? 0 : 1;
}

}  // namespace spore
