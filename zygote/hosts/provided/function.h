// Serves a function of runtime `provided`: starts its bootstrap, and gives it one invocation after
// another over the Runtime API.
#pragma once

namespace spore {

// In a confined child. The bootstrap is the tenant's, and with it this process.
[[noreturn]] void ServeProvided();

}  // namespace spore
