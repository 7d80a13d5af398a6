// Serves a function: loads its handler, then answers one invocation after another.
#pragma once

namespace spore {

// In a confined child. Everything in it runs in the tenant's process: nothing of Spore's security
// depends on it.
[[noreturn]] void ServeFunction();

}  // namespace spore
