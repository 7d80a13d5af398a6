#include "daemon/daemon.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <optional>

#include "daemon/common/log.h"
#include "daemon/common/paths.h"
#include "daemon/common/unix_time.h"
#include "daemon/config/host_setup.h"
#include "daemon/events/async_dispatcher.h"
#include "daemon/events/async_store.h"
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
#include "daemon/recovery.h"
#include "daemon/rpc/payload_budget.h"
#include "daemon/rpc/rpc_server.h"
#include "daemon/services/service_context.h"
#include "daemon/sessions/egress_proxies.h"
#include "daemon/sessions/sessions.h"
#include "daemon/zygotes/memory_keeper.h"
#include "sandbox/cgroup.h"

namespace spore {
namespace {

// The longest that stopping waits for sandboxes to end; what is left then dies with the daemon.
constexpr std::chrono::seconds kStopLimit{20};
// Of the helpers' block, from its beginning on: who unpacks a function's archive, an image's, a
// checkpoint's.
constexpr uid_t kImageUnpackUid = 1;
constexpr uid_t kCheckpointUnpackUid = 2;
// The proxies of sessions.
constexpr uid_t kFirstProxyUid = 1024;
constexpr uid_t kLastProxyUid = 65535;

// Members are destroyed in the reverse order: what serves clients first, the loop and then the
// locks last.
class Daemon {
 public:
  explicit Daemon(const Config& config) : config_(config) {}

  Result<> SetUp(const std::map<std::string, ImageManifest>& manifests);
  Result<> Serve();

 private:
  Result<> SetUpHost();
  Result<> SetUpStores();
  uid_t HelperUids() const;
  Result<> SetUpParts(const std::map<std::string, ImageManifest>& manifests);
  Result<> SetUpAsync();
  void RegisterServices();
  void BeginStop(int signal);
  void Tell(v1::HostEvent::Kind kind, const std::string& message);
  size_t TellShort(size_t ended, const std::string& why);

  const Config& config_;
  std::optional<LockFile> runtime_lock_;
  std::optional<LockFile> state_lock_;
  std::optional<PayloadBudget> payloads_;  // charges wait in the loop and on its lanes
  std::unique_ptr<EventLoop> loop_;
  History history_;
  std::optional<HistoryReaders> history_readers_;
  std::optional<StopSignals> signals_;
  std::optional<CgroupTree> cgroups_;
  std::unique_ptr<BlockingLane> lane_;
  std::unique_ptr<FunctionStore> store_;
  std::unique_ptr<LogStore> logs_;
  std::unique_ptr<ImageStore> image_store_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::unique_ptr<SessionCheckpointLane> session_checkpoint_lane_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<Invoker> invoker_;
  std::unique_ptr<AsyncStore> async_store_;
  std::optional<AsyncDispatcher> async_;
  std::unique_ptr<Schedules> schedules_;
  std::optional<EgressProxies> proxies_;
  std::unique_ptr<Sessions> sessions_;
  std::optional<Branches> branches_;
  std::optional<SessionDumps> session_dumps_;
  std::optional<SessionArrivals> session_arrivals_;
  std::optional<WholeBranches> whole_branches_;
  std::optional<SessionCheckpoints> session_checkpoints_;
  std::optional<MemoryKeeper> memory_keeper_;
  std::optional<ServiceContext> context_;
  std::optional<ListeningSocket> socket_;
  std::unique_ptr<RpcServer> server_;
  bool stopping_ = false;
};

Result<> Daemon::SetUpHost() {
  SPORE_TRY(PrepareProcess());
  SPORE_TRY(MakeDirectories(config_.runtime_dir, 0755));
  SPORE_TRY(MakeDirectories(config_.state_dir, 0700));
  SPORE_ASSIGN(runtime_lock_, LockFile::Take(config_.runtime_dir));
  if (config_.state_dir != config_.runtime_dir) {
    SPORE_ASSIGN(state_lock_, LockFile::Take(config_.state_dir));
  }
  // Before any thread: each inherits the mask.
  SPORE_ASSIGN(signals_, StopSignals::Block());
  SPORE_ASSIGN(loop_, EventLoop::Create({}));
  history_readers_.emplace(*loop_, history_);

  SPORE_ASSIGN(const size_t mounts, RemoveStaleMounts(config_.runtime_dir));
  CgroupTreeOptions options;
  options.name = config_.cgroup_name;
  if (!config_.cgroup_root.empty()) options.root = config_.cgroup_root;
  options.favordynmods = config_.favordynmods;
  SPORE_ASSIGN(cgroups_, CgroupTree::Open(options));
  SPORE_ASSIGN(const size_t processes, SweepCgroups(*cgroups_));
  if (mounts + processes > 0) {
    Log(LogLevel::kWarning, "removed what an earlier spored left: " + std::to_string(processes) +
                                " processes, " + std::to_string(mounts) + " mounts");
  }
  return {};
}

// What lies on disk.
Result<> Daemon::SetUpStores() {
  lane_ = std::make_unique<BlockingLane>(*loop_);
  FunctionStore::Options store;
  store.state_dir = config_.state_dir;
  store.report = [](const std::string& line) { Log(LogLevel::kWarning, line); };
  store.unpack_program = LibexecDirectory() + "/spore-unpack";
  store.unpack_uid = HelperUids();
  SPORE_ASSIGN(store_, FunctionStore::Open(*loop_, *lane_, store));
  LogStore::Options logs;
  logs.directory = config_.state_dir + "/logs";
  SPORE_ASSIGN(logs_, LogStore::Open(*loop_, *lane_, logs));
  ImageStoreOptions images;
  images.state_dir = config_.state_dir;
  images.unpack_program = store.unpack_program;
  images.unpack_uid = store.unpack_uid + kImageUnpackUid;
  images.max_bytes = config_.max_image_bytes;
  images.report = [](const std::string& line) { Log(LogLevel::kWarning, line); };
  SPORE_ASSIGN(image_store_, ImageStore::Open(*loop_, images));
  SPORE_ASSIGN(checkpoints_,
               Checkpoints::Open(*loop_, {.state_dir = config_.state_dir,
                                          .criu = config_.criu,
                                          .host_directory = HostsDirectory(),
                                          .after_ms = config_.checkpoint_after_ms,
                                          .unpack_program = store.unpack_program,
                                          .unpack_uid = store.unpack_uid + kCheckpointUnpackUid,
                                          .max_bytes = config_.max_image_bytes,
                                          .prefetch = config_.checkpoint_prefetch}));
  SPORE_ASSIGN(session_checkpoint_lane_,
               SessionCheckpointLane::Open(
                   *loop_, {.state_dir = config_.state_dir,
                            .criu = config_.criu,
                            .host_directory = HostsDirectory(),
                            .limits = {.per_owner = config_.session_checkpoints_max,
                                       .bytes = config_.session_checkpoints_bytes,
                                       .owner_bytes = config_.client.session_checkpoints_bytes}}));
  return {};
}

// The first of the block of uids that is kept for helpers.
uid_t Daemon::HelperUids() const {
  return config_.uid_base + config_.uid_count - 65536;
}

Result<> Daemon::SetUpParts(const std::map<std::string, ImageManifest>& manifests) {
  SPORE_TRY(SetUpStores());
  SPORE_ASSIGN(images_, Images::Create(*loop_, *lane_, *cgroups_, *checkpoints_, history_, config_,
                                       manifests, image_store_->loaded()));
  payloads_.emplace(PayloadBudget::Limits{config_.payload_memory, config_.client.payload_memory});
  Invoker::Options invoker;
  invoker.limits.max_instances = config_.max_instances;
  invoker.limits.max_queue = config_.max_queue;
  invoker.limits.max_queue_ns = config_.max_queue_ms * 1'000'000;
  invoker.limits.client_instances = config_.client.max_instances;
  invoker.limits.client_queue = config_.client.max_queue;
  invoker.dead_kept = config_.dead_kept;
  invoker_ = std::make_unique<Invoker>(*loop_, *logs_, *images_, history_, invoker);
  proxies_.emplace(*loop_, LibexecDirectory() + "/spore-egress", HelperUids() + kFirstProxyUid,
                   HelperUids() + kLastProxyUid);
  sessions_ = std::make_unique<Sessions>(*loop_, *images_, *invoker_, history_, *proxies_,
                                         config_.dead_kept);
  branches_.emplace(*loop_, *sessions_);
  session_dumps_.emplace(*loop_, *cgroups_, *sessions_);
  session_arrivals_.emplace(*loop_, *sessions_);
  whole_branches_.emplace(*sessions_, *session_checkpoint_lane_, *session_dumps_,
                          *session_arrivals_);
  session_checkpoints_.emplace(*images_, *sessions_, *session_checkpoint_lane_, *session_dumps_,
                               *session_arrivals_, config_.sessions);
  memory_keeper_.emplace(
      *loop_, config_.memory_reserve,
      MemoryKeeper::Evictor{[this](size_t most, const std::string& why) {
                              return TellShort(invoker_->EvictForMemory(most, why), why);
                            },
                            [this](size_t most, const std::string& why) {
                              return TellShort(images_->EvictForMemory(most, why), why);
                            }});
  SPORE_TRY(SetUpAsync());
  context_.emplace(ServiceContext{*loop_,
                                  *lane_,
                                  config_,
                                  *store_,
                                  *logs_,
                                  *images_,
                                  *image_store_,
                                  *invoker_,
                                  *payloads_,
                                  *checkpoints_,
                                  *async_,
                                  *schedules_,
                                  *sessions_,
                                  history_,
                                  *history_readers_,
                                  *branches_,
                                  *whole_branches_,
                                  *session_checkpoint_lane_,
                                  *session_checkpoints_,
                                  cgroups_->layout(),
                                  NowUnixMs(),
                                  {}});
  return {};
}

Result<> Daemon::SetUpAsync() {
  AsyncDisk::Options options;
  options.directory = config_.state_dir + "/async";
  options.keep_results = config_.async.keep_results;
  options.report = [](const std::string& line) { Log(LogLevel::kError, line); };
  SPORE_ASSIGN(async_store_, AsyncStore::Open(*loop_, options));
  async_.emplace(
      AsyncDispatcher::Parts{*loop_, *async_store_, *store_, *invoker_, *payloads_, *logs_},
      config_.async);
  SPORE_TRY(async_->Load());
  SPORE_ASSIGN(schedules_,
               Schedules::Create(*loop_, *async_, *store_, config_.async.client_schedules));
  return schedules_->Load();
}

// A new service of spore.proto is registered here.
void Daemon::RegisterServices() {
  RegisterFunctions(*server_, *context_);
  RegisterAdvice(*server_, *context_);
  RegisterAsync(*server_, *context_);
  RegisterInvocations(*server_, *context_);
  RegisterInstances(*server_, *context_);
  RegisterImages(*server_, *context_);
  RegisterLogs(*server_, *context_);
  RegisterSchedules(*server_, *context_);
  RegisterSystem(*server_, *context_);
  RegisterCheckpoints(*server_, *context_);
  RegisterVersions(*server_, *context_);
  RegisterCheckpointTransfer(*server_, *context_);
  RegisterZygotes(*server_, *context_);
  RegisterSandboxes(*server_, *context_);
  RegisterSessionCheckpoints(*server_, *context_);
  RegisterObservability(*server_, *context_);
}

Result<> Daemon::SetUp(const std::map<std::string, ImageManifest>& manifests) {
  SPORE_TRY(SetUpHost());
  SPORE_TRY(SetUpParts(manifests));
  server_ = RpcServer::Create(*loop_, {});
  RegisterServices();
  SPORE_ASSIGN(ListeningSocket socket, ListeningSocket::Open(config_.socket, config_.socket_group));
  socket_.emplace(std::move(socket));
  return server_->Listen(socket_->TakeFd());
}

Result<> Daemon::Serve() {
  signals_->Watch(*loop_, [this](int signal) { BeginStop(signal); });
  images_->StartEager();
  store_->ForEach("", [this](const DeployedFunction& function) {
    if (!ReservesOf(function).empty()) invoker_->FunctionChanged(function);
    return true;
  });
  async_->Start();
  schedules_->Start();
  Log(LogLevel::kInfo,
      "serving on " +
          (socket_->passed_by_systemd() ? std::string("systemd's socket") : config_.socket));
  Tell(v1::HostEvent::DAEMON_STARTED, "spored " SPORE_VERSION);
  (void)sd_notify(0, "READY=1");
  auto result = loop_->Run();
  signals_->Unwatch();
  return result;
}

void Daemon::Tell(v1::HostEvent::Kind kind, const std::string& message) {
  Happening happening;
  happening.kind = kind;
  happening.message = message;
  history_.Add(happening);
}

// Of what was ended for want of memory, so many.
size_t Daemon::TellShort(size_t ended, const std::string& why) {
  if (ended == 0) return 0;
  Happening happening;
  happening.kind = v1::HostEvent::MEMORY_SHORT;
  happening.count = ended;
  happening.message = why;
  history_.Add(happening);
  return ended;
}

void Daemon::BeginStop(int signal) {
  if (stopping_) {  // asked twice: at once
    loop_->Stop();
    return;
  }
  stopping_ = true;
  memory_keeper_.reset();
  schedules_->Stop();
  async_->Stop();
  Log(LogLevel::kInfo, std::string("stopping: ") + sigdescr_np(signal));
  (void)sd_notify(0, "STOPPING=1");
  Tell(v1::HostEvent::DAEMON_STOPPING, sigdescr_np(signal));
  history_readers_->Flush();
  server_->Drain();
  loop_->AddTimer(kStopLimit, [this] {
    Log(LogLevel::kWarning, "sandboxes did not end in time");
    loop_->Stop();
  });
  sessions_->ShutDown([this] {
    invoker_->ShutDown([this] {
      images_->ShutDown([this] { async_store_->WhenIdle([this] { loop_->Stop(); }); });
    });
  });
}

}  // namespace

Result<> RunDaemon(const Config& config, const std::map<std::string, ImageManifest>& images) {
  Daemon daemon(config);
  SPORE_TRY(daemon.SetUp(images));
  return daemon.Serve();
}

}  // namespace spore
