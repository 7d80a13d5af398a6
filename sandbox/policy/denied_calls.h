// Further system calls that an image takes away from its tenants: `deny` of [policy],
// spore-image(5).
//
// It can only tighten: the calls are refused beside those that every tenant is refused, by the last
// program that a child loads (seccomp_program.h), so from a tenant's first byte on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/policy/call_groups.h"
#include "sandbox/sys/result.h"

namespace spore {

// Validated when it is made, and never changed.
class DeniedCalls {
 public:
  DeniedCalls() = default;  // none
  // `names` of calls that tenants may make, or of DeniableGroups. kInvalid names the first that is
  // neither, is refused to all tenants anyway, or that a runtime cannot do without: to take a
  // request, load code and answer. Whether a certain runtime needs another is found out by trial
  // (zygote/hosts/common/working_set.h).
  static Result<DeniedCalls> Make(std::span<const std::string> names);
  // The same, of a list with commas between.
  static Result<DeniedCalls> Parse(std::string_view list);

  bool empty() const { return calls_.empty() && !processes_; }
  // As libseccomp names them; sorted, each once.
  std::span<const std::string_view> calls() const { return calls_; }
  // clone(2) of what is not a thread.
  bool processes() const { return processes_; }

 private:
  std::vector<std::string_view> calls_;
  bool processes_ = false;
};

// The groups that have a name here.
struct DeniableGroup {
  std::string_view name;
  std::string_view reason;
  std::span<const std::string_view> calls;
};
std::span<const DeniableGroup> DeniableGroups();

}  // namespace spore
