// The end of a CRIU whose words come through a pipe, and what it complained of.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"

namespace spore {

// With which a process ends that could not become CRIU, after it has said why.
constexpr int kCriuNotStarted = 126;

// The first thing that it calls an error, without place and time. What it writes may be a tenant's.
std::string FirstComplaint(std::string_view log);

// Its end, and whether it was a good one; the error has its own words. It is killed when late. It
// may write as much as it likes, of which the beginning is read.
Result<> AwaitCriuEnd(pid_t pid, int pidfd, int log, std::chrono::milliseconds limit);

}  // namespace spore
