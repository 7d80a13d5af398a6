// The environment that a Load message brings.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace spore {

// Sets the variables of the message's "environment", if it has one.
void TakeEnvironment(const nlohmann::json& load);

}  // namespace spore
