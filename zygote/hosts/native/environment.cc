#include "zygote/hosts/native/environment.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

namespace spore {

void TakeEnvironment(const nlohmann::json& load) {
  const auto environment = load.find("environment");
  if (environment == load.end() || !environment->is_object()) return;
  for (const auto& [name, value] : environment->items()) {
    if (value.is_string()) setenv(name.c_str(), value.get_ref<const std::string&>().c_str(), 1);
  }
}

}  // namespace spore
