// Text that somebody else made, for a field that must be UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace spore {

// At most so many bytes of it; what is not UTF-8 becomes U+FFFD.
std::string ValidUtf8(std::string_view text, size_t most);

}  // namespace spore
