// A libseccomp filter in the making.
#pragma once

#include <seccomp.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "sandbox/policy/call_groups.h"
#include "sandbox/policy/seccomp_program.h"
#include "sandbox/sys/result.h"

namespace spore {

// The kernel looks at 32 bits only of some arguments; a filter sees 64.
constexpr uint64_t kLow32 = 0xffffffff;

// Keeps its first error, so that tables can be added in a row.
class ProgramBuilder {
 public:
  // `foreign`: what becomes of calls through another ABI (int 0x80, x32).
  explicit ProgramBuilder(uint32_t default_action, uint32_t foreign = SCMP_ACT_KILL_PROCESS);

  void Add(uint32_t action, std::string_view name, std::span<const scmp_arg_cmp> comparisons = {});
  void Add(uint32_t action, std::string_view name, const scmp_arg_cmp& comparison) {
    Add(action, name, std::span(&comparison, 1));
  }
  void Add(uint32_t action, std::span<const CallGroup> groups);

  Result<SeccompProgram> Export();

 private:
  struct Release {
    void operator()(void* context) const { seccomp_release(context); }
  };
  void Note(int rc, std::string_view what);

  std::unique_ptr<void, Release> context_;
  Error error_;
};

}  // namespace spore
