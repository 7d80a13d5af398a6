// What a process has open and how many threads it has, as /proc tells.
#pragma once

#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/sfork/sfork_types.h"

namespace spore {

// Lists all open descriptors of the caller, ascending, without the one used for listing.
Result<std::vector<DescriptorNote>> ListDescriptors();
// How many are open. One stat(2) where the kernel counts them (6.2), else a listing.
Result<size_t> CountDescriptors();
// "3 (socket:[1234])", for messages.
std::string DescribeDescriptor(int fd);

Result<size_t> CountThreads();
// "jemalloc_bg_thd, python3", for messages.
std::string DescribeThreads();

}  // namespace spore
