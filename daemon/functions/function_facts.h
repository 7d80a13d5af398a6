// Published versions, aliases, tags and concurrency of a function: the rules, without disk or
// clock.
//
// Each Change.. is one that FunctionStore::Change applies: it checks what is there when its turn
// has come, and refuses with an error that names field, value and expectation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/functions/function_store.h"
#include "daemon/functions/reserve.h"
#include "sandbox/sys/result.h"
#include "spore/v1/versions.pb.h"

namespace spore {

// "$LATEST" or the number, as handlers and clients see it.
std::string VersionLabel(const v1::Function& function);
// The number that the scheduler knows it by: a published version is another one than the working
// copy that it was.
uint64_t ScheduledAs(const v1::Function& function);

// The number of the published version that a qualifier names; 0: the working copy. `draw`, of 0 to
// below 1, decides where an alias names two.
Result<uint64_t> RouteQualifier(const v1::Function& function, const v1::FunctionFacts& facts,
                                const std::string& qualifier, double draw);
// That version itself. kPrecondition when it is damaged on disk.
Result<std::shared_ptr<const FunctionVersion>> VersionOf(const DeployedFunction& function,
                                                         const std::string& qualifier, double draw);
// Whether `draw` matters.
bool IsDrawn(const v1::FunctionFacts& facts, const std::string& qualifier);

// Instances of all its versions together.
uint32_t MaxInstances(const DeployedFunction& function);
// What is to be kept ready of each version, and of all of them.
std::vector<Reserve> ReservesOf(const DeployedFunction& function);
uint64_t ProvisionedOf(const v1::FunctionFacts& facts);

// That what is kept ready of a function fits into its limit.
Result<> CheckKeptReady(const v1::Function& working_copy, const v1::FunctionFacts& facts);

Result<> ValidateDescription(const std::string& description);
Result<> ValidateAliasName(const std::string& name);
Result<> ValidateTags(const v1::TagRequest& request);

struct Published {
  uint64_t number = 0;
  bool unchanged = false;
};
// `published` is set when the change has been applied.
FunctionStore::ChangeFacts ChangePublish(const v1::PublishVersionRequest& request, int64_t now_ms,
                                         std::shared_ptr<Published> published);
FunctionStore::ChangeFacts ChangeRemoveVersion(uint64_t number);
FunctionStore::ChangeFacts ChangeSetAlias(const v1::SetAliasRequest& request);
FunctionStore::ChangeFacts ChangeRemoveAlias(const std::string& alias);
FunctionStore::ChangeFacts ChangeTags(const v1::TagRequest& request);
FunctionStore::ChangeFacts ChangeConcurrency(const v1::SetConcurrencyRequest& request);
FunctionStore::ChangeFacts ChangeProvision(const v1::ProvisionRequest& request);

}  // namespace spore
