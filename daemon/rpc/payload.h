// Payloads that travel beside a message, as sealed memfds (memfd_create(2), fcntl(2) F_ADD_SEALS).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

constexpr size_t kInlinePayloadBytes = 1u << 20;  // beyond, a payload travels as a memfd

// The contents of a memfd from a client. Refuses what is not sealed against shrinking, growing and
// writing (it could change while it is read) and what is longer than `max_bytes`.
Result<std::string> ReadPayload(int memfd, uint64_t max_bytes);
Result<UniqueFd> MakePayload(std::string_view bytes);

// How long a client's memfd is. Refuses, in the name of `what`, what is not sealed as above.
Result<uint64_t> SealedBytes(int memfd, const std::string& what);

// The error for a payload above a function's limit.
Error PayloadTooLarge(uint64_t bytes, uint64_t max_bytes);

}  // namespace spore
