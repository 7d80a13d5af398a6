// Payloads and archives in sealed memory files (memfd_create(2)), as spored wants them.
#pragma once

#include <string>
#include <string_view>

#include "tools/client/error.h"
#include "tools/client/fd.h"

namespace spore::client {

Result<Fd> MakeMemfd(const char* name);
// After this nobody can change what the file holds.
Result<> SealMemfd(const Fd& fd);
Result<Fd> SealedMemfd(const char* name, std::string_view contents);

// All of a descriptor from its current position to its end, at most `limit` bytes. `what` names
// it in errors.
Result<std::string> ReadAll(int fd, std::size_t limit, std::string_view what);
// The contents of a memfd that came with a reply, from its start.
Result<std::string> ReadMemfd(const Fd& fd, std::size_t limit);
Result<> WriteAll(int fd, std::string_view data, std::string_view what);

}  // namespace spore::client
