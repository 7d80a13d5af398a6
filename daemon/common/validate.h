// Checks what a client sent and fills in defaults. Every error is kInvalid and names the field, the
// value and what was expected: "limits.pids: 40000 is out of range; expected 1 to 32768".
#pragma once

#include <map>
#include <string>

#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

Result<> ValidateFunctionName(const std::string& name);
Result<> ValidateHandler(const std::string& runtime, const std::string& handler);
// Names as a shell takes them, values without NUL, at most 64 KiB and 256 variables together.
Result<> ValidateEnvironment(const google::protobuf::Map<std::string, std::string>& environment);

// The defaults given in spore.proto.
v1::Limits DefaultLimits();
// `asked` with each 0 replaced by `base`'s value. Values must lie within spore.proto's ranges and,
// where `max` has one (not 0), at most there. Values from `base` above `max` are lowered to it.
Result<v1::Limits> ResolveLimits(const v1::Limits& asked, const v1::Limits& base,
                                 const v1::Limits& max = {});

}  // namespace spore
