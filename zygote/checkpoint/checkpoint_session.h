// A running session, put on disk: docs/decisions/0031-checkpoints-of-sessions.md.
#pragma once

namespace spore {

// Of `spore-zygote checkpoint`: does it, tells spored on kCheckpointChannelFd, gives the exit
// status.
int CheckpointMain(int argc, char** argv);

}  // namespace spore
