// Whether bytes are well-formed UTF-8 (RFC 3629).
#pragma once

#include <string_view>

namespace spore {

bool IsUtf8(std::string_view bytes);

}  // namespace spore
