// The pages that a child touches between its tenant's arrival and the first answer, learnt once
// from a rehearsal, and made the child's own while it still waits.
//
// A page that a child writes to is copied, 2 to 4 us each; a page of a file that it reads is mapped
// again. A runtime that can run nothing of its language before it is confined cannot warm itself up
// in each child (docs/decisions/0004). So one child of the zygote answers a request of Spore's own,
// says which pages that took, and ends; all others populate them ahead (madvise(2),
// MADV_POPULATE_READ and _WRITE, since Linux 5.14; pagemap: proc_pid_pagemap(5)). A runtime that
// does warm itself up in each child does so sooner with its pages populated in one go.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"
#include "zygote/sfork/sfork.h"

namespace spore {

struct PageRange {
  uint64_t begin = 0, end = 0;  // addresses
  uint32_t written = 0;         // else only read
  uint32_t reserved = 0;
};

class WorkingSet {
 public:
  // In the frozen zygote: forks a child whose instance channel holds `load` and `invoke`, bodies of
  // those frames, and learns the pages when it has answered. True in that child, which has all of
  // its threads. A child that does not answer is an error: no other would.
  // With an empty `load` nothing is asked: the child, without threads, warms up and reports itself.
  // `trial` is loaded by that child before all else; null: it has the zygote's filter only.
  Result<bool> Rehearse(const FrozenProcess& process, const std::string& load,
                        const std::string& invoke, const SeccompProgram* trial);

  // In a later child. Allocates nothing. What an older kernel refuses is left to page faults.
  void Populate() const;

  size_t pages() const;

 private:
  std::vector<PageRange> ranges_;
};

// In the child that rehearses, when it receives kReportPages: answers with its PageRanges and ends.
[[noreturn]] void ReportWorkingSet(int channel);

}  // namespace spore
