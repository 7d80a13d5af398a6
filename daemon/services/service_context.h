// What the services of spore.proto work with. All borrowed; they outlive the RPC server.
#pragma once

#include <google/protobuf/message.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "daemon/checkpoints/checkpoints.h"
#include "daemon/config/config.h"
#include "daemon/events/async_dispatcher.h"
#include "daemon/events/schedules.h"
#include "daemon/functions/function_facts.h"
#include "daemon/functions/function_store.h"
#include "daemon/history/history.h"
#include "daemon/history/history_readers.h"
#include "daemon/history/log_store.h"
#include "daemon/images/image_store.h"
#include "daemon/images/images.h"
#include "daemon/instances/invoker.h"
#include "daemon/loop/event_loop.h"
#include "daemon/rpc/access.h"
#include "daemon/rpc/payload_budget.h"
#include "daemon/rpc/rpc_server.h"
#include "daemon/sessions/branches.h"
#include "daemon/sessions/session_checkpoint_lane.h"
#include "daemon/sessions/session_checkpoints.h"
#include "daemon/sessions/sessions.h"
#include "daemon/sessions/whole_branches.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

struct ServiceContext {
  EventLoop& loop;
  BlockingLane& lane;
  const Config& config;
  FunctionStore& store;
  LogStore& logs;
  Images& images;
  ImageStore& image_store;
  Invoker& invoker;
  PayloadBudget& payloads;
  Checkpoints& checkpoints;
  AsyncDispatcher& async;
  Schedules& schedules;
  Sessions& sessions;
  History& history;
  HistoryReaders& history_readers;
  Branches& branches;
  WholeBranches& whole_branches;
  SessionCheckpointLane& session_checkpoint_lane;
  SessionCheckpoints& session_checkpoints;
  CgroupLayout cgroup_layout;
  int64_t started_unix_ms = 0;
  std::map<uid_t, uint32_t>
      deploying;  // new functions and versions on their way to the store, by owner
};

using VersionPtr = std::shared_ptr<const FunctionVersion>;

// The history, of something that was done to a function.
inline void TellFunction(ServiceContext& context, v1::HostEvent::Kind kind,
                         const v1::Function& function, const std::string& message) {
  Happening happening;
  happening.kind = kind;
  happening.owner = function.owner_uid();
  happening.function = function.name();
  happening.image = function.settings().image();
  happening.message = message;
  context.history.Add(happening);
}

// The function for whoever `allowed` admits, else the same error as for one that does not exist.
template <typename Allowed>
Result<VersionPtr> FindFunction(const ServiceContext& context, const std::string& name,
                                Allowed allowed) {
  VersionPtr version = context.store.Find(name);
  if (!version || !allowed(version->function)) {
    return MakeError(ErrorKind::kNotFound, "no function \"" + name.substr(0, 64) + "\"");
  }
  return version;
}

// The version that a qualifier names (InvokeRequest.qualifier); `draw` as RouteQualifier's.
template <typename Allowed>
Result<VersionPtr> FindVersion(const ServiceContext& context, const std::string& name,
                               const std::string& qualifier, double draw, Allowed allowed) {
  SPORE_ASSIGN(VersionPtr latest, FindFunction(context, name, allowed));
  if (qualifier.empty()) return latest;
  return VersionOf(*context.store.FindDeployed(name), qualifier, draw);
}

// functions_service.cc
// With what is known of the function beside this version of it.
v1::Function DescribeFunction(const ServiceContext& context, const DeployedFunction& function,
                              const v1::Function& version);
// What one client may keep here, and keep ready (limits-per-client). The latter for the working
// copy of a function as it would be, and what would be kept ready of its other versions.
Result<> CheckFunctionCount(ServiceContext& context, uid_t owner);
Result<> CheckReserve(const ServiceContext& context, const v1::Function& function,
                      const v1::FunctionFacts& facts);
// Bytes of a listing, of the 4 MiB that a message holds.
constexpr size_t kMaxListing = 3u << 20;
// What one answer to a List holds: entries up to a limit, 0 for none, and to kMaxListing; one at
// least.
class ListPage {
 public:
  explicit ListPage(uint32_t limit) : limit_(limit) {}
  // False: the entry is of the next page.
  bool Takes(const google::protobuf::Message& entry) {
    bytes_ += entry.ByteSizeLong() + 16;
    if (count_ > 0 && (bytes_ > kMaxListing || (limit_ > 0 && count_ >= limit_))) return false;
    ++count_;
    return true;
  }

 private:
  uint32_t limit_, count_ = 0;
  size_t bytes_ = 0;
};

// The archive that root imports: one descriptor, a file or pipe. Root's own: closing it makes
// nobody wait but root.
Result<UniqueFd> TakeArchive(std::vector<ClientFd> fds);

// Each registers one service of spore.proto. The context is captured by reference.
void RegisterFunctions(RpcServer& server, ServiceContext& context);
void RegisterAdvice(RpcServer& server, ServiceContext& context);  // of Functions
void RegisterAsync(RpcServer& server, ServiceContext& context);
void RegisterInvocations(RpcServer& server, ServiceContext& context);
void RegisterInstances(RpcServer& server, ServiceContext& context);
void RegisterImages(RpcServer& server, ServiceContext& context);
void RegisterLogs(RpcServer& server, ServiceContext& context);
void RegisterSchedules(RpcServer& server, ServiceContext& context);
void RegisterSystem(RpcServer& server, ServiceContext& context);
void RegisterCheckpoints(RpcServer& server, ServiceContext& context);
void RegisterVersions(RpcServer& server, ServiceContext& context);
void RegisterCheckpointTransfer(RpcServer& server, ServiceContext& context);
void RegisterZygotes(RpcServer& server, ServiceContext& context);
void RegisterSandboxes(RpcServer& server, ServiceContext& context);
void RegisterSessionCheckpoints(RpcServer& server, ServiceContext& context);
void RegisterObservability(RpcServer& server, ServiceContext& context);

}  // namespace spore
