#include "daemon/functions/lambda_environment.h"

#include "daemon/common/runtimes.h"
#include "daemon/functions/function_facts.h"

namespace spore {

void SetLambdaEnvironment(const v1::Function& function, const LambdaInstance& instance,
                          std::map<std::string, std::string>& environment) {
  const v1::FunctionSettings& settings = function.settings();
  environment["_HANDLER"] = settings.handler();
  environment["LAMBDA_TASK_ROOT"] = "/var/task";
  environment["LAMBDA_RUNTIME_DIR"] = "/var/runtime";
  environment["AWS_LAMBDA_FUNCTION_NAME"] = function.name();
  environment["AWS_LAMBDA_FUNCTION_VERSION"] = VersionLabel(function);
  environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] =
      std::to_string(settings.limits().memory_bytes() >> 20);
  environment["AWS_LAMBDA_INITIALIZATION_TYPE"] =
      instance.ahead ? "provisioned-concurrency" : "on-demand";
  environment["AWS_LAMBDA_LOG_GROUP_NAME"] = "/spore/" + function.name();
  environment["AWS_LAMBDA_LOG_STREAM_NAME"] = instance.id;
  const RuntimeFacts* runtime = FindRuntime(settings.runtime());
  if (runtime != nullptr && !runtime->lambda_name.empty())
    environment["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + std::string(runtime->lambda_name);
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) environment.emplace(name, "local");
}

}  // namespace spore
