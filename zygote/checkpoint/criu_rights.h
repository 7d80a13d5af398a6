// The rights with which CRIU works on a session: those of the session's own uid, and a few
// capabilities of the image's user namespace. None on the host.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// Root of the host, which has gone into the image's user namespace, becomes that. The capabilities
// (bit i is capability i) are ambient and outlive the execution of CRIU; no others can be had
// again.
Result<> TakeCriuRights(uid_t uid, uint64_t capabilities);

// CRIU at kCriuPlace with these words, executed through its own loader, since it may be of another
// Debian than the image is; it reads no configuration, which would be the image's.
std::vector<std::string> CriuCommand(const std::vector<std::string>& arguments);

// Executes what lies at kCriuPlace, with the caller's descriptors and
// no environment of it. Returns only on failure.
Result<> ExecuteCriu(const std::vector<std::string>& arguments, const std::string& runtime_folder);

}  // namespace spore
