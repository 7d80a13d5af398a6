// The socket pair between spored and an instance.
#pragma once

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct ChannelEnds {
  UniqueFd ours, theirs;
};

// A socket belongs to the network namespace that it was made in, for good: who holds it asks there
// for interfaces and their addresses (netdevice(7)), and binds abstract names there (unix(7)). The
// far end will be a tenant's. So both are made in a namespace of their own, where nothing is, and
// that end has a name already, which it cannot change. One thread calls this.
Result<ChannelEnds> MakeInstanceChannel();

}  // namespace spore
