// spore.v1.System: the daemon about itself.
#include <unistd.h>

#include "daemon/common/process_memory.h"
#include "daemon/common/unix_time.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.System";
using CallPtr = std::shared_ptr<Call>;

std::string LayoutName(CgroupLayout layout) {
  switch (layout) {
    case CgroupLayout::kV2:
      return "v2";
    case CgroupLayout::kHybrid:
      return "hybrid";
    case CgroupLayout::kV1:
      return "v1";
  }
  return "unknown";
}

void Info(ServiceContext& context, const CallPtr& call) {
  v1::InfoResponse response;
  response.set_version(SPORE_VERSION);
  response.set_pid(getpid());
  response.set_state_dir(context.config.state_dir);
  response.set_cgroup_layout(LayoutName(context.cgroup_layout));
  for (v1::Image& image : context.images.Describe()) *response.add_images() = std::move(image);
  response.set_started_unix_ms(context.started_unix_ms);
  call->Reply(response);
}

void Stats(ServiceContext& context, const CallPtr& call) {
  const InvokerStats& stats = context.invoker.stats();
  const Scheduler& scheduler = context.invoker.scheduler();
  v1::StatsResponse response;
  response.set_invocations(stats.invocations);
  response.set_invocation_errors(stats.invocation_errors);
  response.set_runs(stats.runs);
  response.set_overloaded(stats.overloaded);
  response.set_loaded_ahead(stats.loaded_ahead);
  for (const auto& [kind, count] : stats.starts) (*response.mutable_starts())[kind] = count;
  for (const auto& [cause, count] : stats.deaths) (*response.mutable_deaths())[cause] = count;
  response.set_instances_live(static_cast<uint32_t>(scheduler.live()));
  response.set_instances_idle(static_cast<uint32_t>(scheduler.idle()));
  response.set_queued(static_cast<uint32_t>(scheduler.queued()));
  size_t ready = 0, spare = 0;
  for (const auto& [name, image] : context.images.all()) {
    ready += image->ready_sandboxes();
    spare += image->spare_sandboxes();
  }
  response.set_sandboxes_ready(static_cast<uint32_t>(ready));
  response.set_sandboxes_spare(static_cast<uint32_t>(spare));
  response.set_daemon_memory_bytes(ReadProcessMemory(OpenProcessMemory(0)));
  response.set_latency_p50_us(stats.latency.Percentile(0.5));
  response.set_latency_p99_us(stats.latency.Percentile(0.99));
  response.set_uptime_ms(static_cast<uint64_t>(NowUnixMs() - context.started_unix_ms));
  response.set_functions(static_cast<uint32_t>(context.store.List().size()));
  call->Reply(response);
}

}  // namespace

void RegisterSystem(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::InfoRequest>(
      server, kService, "Info",
      [&context](CallPtr call, v1::InfoRequest&) { Info(context, call); });
  RegisterMethod<v1::StatsRequest>(
      server, kService, "Stats",
      [&context](CallPtr call, v1::StatsRequest&) { Stats(context, call); });
}

}  // namespace spore
