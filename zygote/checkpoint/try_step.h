// A set-up step (sandbox/steps/step.h) in a process that may allocate.
#pragma once

#include <string_view>

#include "sandbox/steps/step.h"
#include "sandbox/sys/result.h"

namespace spore {

inline Result<> Try(const StepResult& step, std::string_view object = {}) {
  if (step.ok()) return {};
  return SysErrorOf(step.errno_value, step.operation, object);
}

}  // namespace spore
