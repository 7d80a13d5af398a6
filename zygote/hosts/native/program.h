// Becomes an ordinary program.
#pragma once

namespace spore {

// In a confined child: reads what to run and executes it. When that cannot be, says why on stderr
// and ends with 127 (not found) or 126 (found, but cannot be run), as a shell does.
[[noreturn]] void RunProgram();

}  // namespace spore
