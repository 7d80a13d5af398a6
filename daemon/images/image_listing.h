// What an image's root holds, as a text whose digest is the root's name: a line for each file,
// folder and link, in the order of their paths.
//
//   d 755 usr/bin
//   f 755 6831 <SHA-256 of the contents> usr/bin/python3
//   l python3.13 usr/bin/python3
//
// Owners are written behind the mode where they are not root's, as none are after an import. In
// names a byte that is no printable ASCII, a space or "%" is written "%XX".
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// "<hex>".
std::string Sha256Hex(std::string_view bytes);

struct TreeListing {
  std::string text;
  uint64_t bytes = 0;    // of regular files
  uint64_t entries = 0;  // the lines
};

// Reads every file below `root`, on a thread that may block. kUnavailable once `stop` is set.
Result<TreeListing> ListTree(int root, const std::atomic<bool>& stop);

struct ListingDifferences {
  std::vector<std::string> first;  // in words, at most 100
  uint64_t count = 0;
};
ListingDifferences CompareListings(std::string_view expected, std::string_view found);

}  // namespace spore
