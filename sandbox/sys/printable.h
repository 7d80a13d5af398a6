// Text of tenants and of other programs, made fit to be shown: no control character of it reaches a
// terminal or begins a line of a log.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace spore {

// Decodes one UTF-8 sequence at the start of `text` (not empty). Returns its length, or 0 when it
// is malformed, overlong, a surrogate or beyond U+10FFFF.
size_t DecodeUtf8(std::string_view text, char32_t* code);

// C0 and C1 control characters and DEL. Some terminals obey C1, U+0080 to U+009F, like sequences of
// ESC (ECMA-48).
bool IsControl(char32_t code);

// Appends the character at the start of `text` (not empty) and returns its length: "\x1b" in place
// of a control character or a byte that is not UTF-8, "\u009b" in place of a C1 one.
size_t AppendPrintable(std::string_view text, std::string* out);

// The whole text; tabs stay.
std::string Printable(std::string_view text);

}  // namespace spore
