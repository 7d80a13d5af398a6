// Clocks of a session that has come to a host which has been up for less time than the one that it
// was dumped on: processes sleep until times of these clocks.
#pragma once

#include <cstdint>
#include <string>

#include "sandbox/sys/result.h"

namespace spore {

struct ClockOffsets {
  uint64_t monotonic_ns = 0, boottime_ns = 0;
  bool any() const { return monotonic_ns != 0 || boottime_ns != 0; }
};

// What a process is told by CLOCK_MONOTONIC and CLOCK_BOOTTIME, now.
struct Clocks {
  uint64_t monotonic_ns = 0, boottime_ns = 0;
};
Clocks ClocksOf(int pid);

// How far the caller's clocks are behind these; 0: they are not.
ClockOffsets OffsetsTo(uint64_t monotonic_ns, uint64_t boottime_ns);

// What the caller's children are born in, and what it executes runs in, has clocks that are ahead
// by so much (time_namespaces(7)). The caller is root of its user namespace.
Result<> EnterTimeNamespace(const ClockOffsets& offsets);

// As /proc/PID/timens_offsets has them, without its spaces; "": the process has those of the host.
std::string ReadOffsets(int pid);
std::string TextOf(const ClockOffsets& offsets);

}  // namespace spore
