// Others that start Python in a fresh environment, from Debian's packages.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/process.h"
#include "tools/client/error.h"

namespace spore::bench {

struct Peer {
  std::string name;
  std::vector<std::string> argv;  // "@ID" is replaced by a fresh name
  bool many = false;              // also measured with many clients at once
};

// Those that are installed. `folder` is where runc's bundle and state go; it must outlive the use.
// What is missing or does not work is told in `left_out`.
std::vector<Peer> FindPeers(const std::string& folder, std::vector<std::string>& left_out);

client::Result<double> TimePeer(const Peer& peer);

}  // namespace spore::bench
