// What the file system says of a function's file, in one call: Node's own way there asks the same
// by a dozen, each through JavaScript that is cold in a fresh process.
#pragma once

#include <cstdint>
#include <string>

namespace spore {

// Bits of what LookForModule answers.
constexpr uint32_t kFound = 1;
constexpr uint32_t kHasSourceMap = 2;  // "FILE.map" is a file
constexpr uint32_t kIsLink = 4;        // FILE is a symbolic link
constexpr uint32_t kHasPackage = 8;    // there is a package.json in its folder, or in one above
constexpr uint32_t kSuffixShift = 4;   // above: which suffix was found, counted from 0

// The first of BASE.js, BASE, BASE.mjs and BASE.cjs that is a file. 0: none.
uint32_t LookForModule(const std::string& base);

}  // namespace spore
