// Whether a range of uids is free to be handed to sandboxes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spore {

// Empty when uids [base, base + count) are usable; else why not. `accounts` is the text of
// passwd(5) or group(5), `subordinates` that of subuid(5) or subgid(5).
std::string UidRangeProblem(uint32_t base, uint32_t count, std::string_view accounts,
                            std::string_view subordinates);

}  // namespace spore
