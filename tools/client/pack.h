// Turns what a person wants to deploy into the archive that spored takes.
#pragma once

#include <string>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::client {

// A directory becomes a tar of its contents, a single source file or shared object (.py, .js, .cjs,
// .mjs, .so) a tar of that file; any other file (zip, tar, compressed tar) is sent as it is. The
// descriptor is a sealed memfd.
//
// Names inside are relative and sorted; owners are left out. Symbolic links are kept as links;
// sockets, pipes and devices are an error, because they cannot be deployed.
Result<Fd> PackCode(const std::string& path);

}  // namespace spore::client
