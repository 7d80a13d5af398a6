// The processes of a session, as /proc inside tells of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace spore {

// The body of the answer to kListProcesses. `exec_of`: the id of the exec that a process is, or 0.
std::string ListProcesses(const std::function<uint32_t(pid_t)>& exec_of, pid_t interpreter);

}  // namespace spore
