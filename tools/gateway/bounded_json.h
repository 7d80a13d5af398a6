// JSON from somebody who may want to fill the memory: a byte of text can become forty of a tree.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace spore::gateway {

constexpr std::size_t kMaxJsonDepth = 64;
constexpr std::size_t kMaxJsonValues = 100'000;

// Nothing when it is not JSON, or nested deeper or of more values than the above.
std::optional<nlohmann::json> ParseBounded(std::string_view text);

}  // namespace spore::gateway
