// `spore-zygote restore`: brings a session that was put on disk back, in a sandbox in which nothing
// but its init runs (docs/decisions/0030).
//
// CRIU does it in the position of a tenant, so that images which deceive it win nothing. What comes
// of it is stopped, looked at from outside, and given the filters of every session before it goes
// on.
#pragma once

namespace spore {

int RestoreMain(int argc, char** argv);

}  // namespace spore
