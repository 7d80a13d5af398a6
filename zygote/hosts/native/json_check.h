// Whether a text is JSON, without making anything of it.
#pragma once

#include <string>
#include <string_view>

namespace spore {

// Empty when the text is one JSON value in UTF-8; else where and why it is none. Needs no memory
// that grows with the text, nor a stack that grows with its nesting.
std::string JsonProblem(std::string_view text);

}  // namespace spore
