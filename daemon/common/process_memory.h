// The memory of a process: its own, and of what it shares its part of it (PSS, proc(5),
// smaps_rollup). To read it the kernel walks all of the process's page tables, milliseconds for a
// large one, so not on the event loop; to open it costs nothing and pins which process is meant.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "sandbox/sys/unique_fd.h"

namespace spore {

// 0: of the caller itself. Invalid when the process has ended.
UniqueFd OpenProcessMemory(pid_t pid);
// Bytes; 0 when it has ended meanwhile. `flat_bytes`: of a zygote, whose memory is in a file of
// that size, hardly any of which it has mapped.
uint64_t ReadProcessMemory(const UniqueFd& memory, uint64_t flat_bytes = 0);
// Only what no other process has.
uint64_t ReadUniqueMemory(const UniqueFd& memory);

}  // namespace spore
