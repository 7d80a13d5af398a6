// The mounts of the image, which a session's processes have files of, shown to CRIU as if they were
// the session's.
//
// What a session has of its zygote, its programs above all, was opened in the mount namespace of
// the image: of mounts that the session's own, a copy of it, has other numbers for. CRIU looks up
// each in /proc/PID/mountinfo, and knows them by paths then, which lead to the same in both.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// `own`, with those lines of `others` that have other numbers, each mounted somewhere of its own.
std::string JoinMounts(const std::string& own, const std::string& others);

// As it can be read of a process, in the host's /proc.
std::string ReadMounts(pid_t pid);

// For a process in the session's namespaces, when CRIU's place is there (workplace.h): until that
// goes, mountinfo of these processes (of the session's numbers) has those of `image` as well.
Result<> ShowMounts(const std::string& image, const std::vector<pid_t>& pids);

}  // namespace spore
