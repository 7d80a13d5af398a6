// NAME:QUALIFIER on the command line: a function and which version of it.
#pragma once

#include <string>
#include <string_view>

namespace spore::cli {

struct Qualified {
  std::string name;
  std::string qualifier;  // empty: there is none
};

inline Qualified SplitQualifier(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos) return {std::string(text), {}};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

}  // namespace spore::cli
