// The environment variables that AWS Lambda sets for a function of whatever runtime: the one list
// of them. What only a custom runtime gets, its host adds (zygote/hosts/provided).
#pragma once

#include <map>
#include <string>

#include "spore/v1/spore.pb.h"

namespace spore {

struct LambdaInstance {
  std::string id;      // of the instance
  bool ahead = false;  // loaded before anybody has called
};

// Sets them in `environment`, whatever its owner has set; but the region, which libraries ask for,
// only where there is none.
void SetLambdaEnvironment(const v1::Function& function, const LambdaInstance& instance,
                          std::map<std::string, std::string>& environment);

}  // namespace spore
