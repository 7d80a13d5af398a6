// A running session, branched: what its interpreter is and has becomes that of fresh interpreters
// in sessions of their own, which trusted code has made and confined as any other.
//
// No process of the source is cloned, and none of a branch ever had a privilege:
// docs/decisions/0023.
#pragma once

namespace spore {

// Of `spore-zygote branch`: waits for its order on kBranchChannelFd, carries it out, tells spored
// there, gives the exit status.
int BranchMain();

}  // namespace spore
