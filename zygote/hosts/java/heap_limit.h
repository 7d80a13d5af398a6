// A smaller largest heap than HotSpot was started with.
#pragma once

#include <cstddef>

namespace spore::java {

// Lets the heap of this process grow to `bytes` and no further, from now on. HotSpot fixes the
// largest heap when it starts, and a child inherits the zygote's; so what its collectors compare
// with when they grow is set here, found through the tables that HotSpot exports for debuggers
// (vmStructs.cpp). Then an allocation beyond the limit first collects, as it should, and in the end
// throws OutOfMemoryError, where the kernel would have killed. Knows the serial collector and G1.
//
// A courtesy to the tenant: the limit that binds is the cgroup's. False where this JVM has other
// tables; nothing has been changed then.
bool LimitHeap(size_t bytes);
// Looks up ahead of time what LimitHeap will set.
void PrepareHeapLimit();

}  // namespace spore::java
