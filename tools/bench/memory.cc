#include "tools/bench/memory.h"

#include <chrono>
#include <set>
#include <sstream>
#include <thread>

#include "spore/v1/spore.pb.h"
#include "tools/bench/process.h"

namespace spore::bench {
namespace {

constexpr const char* kHoldMs = "1500";  // long enough for all to be busy at once

// The number behind `key` in a file of "key   number" lines; 0 when there is none.
double Field(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.starts_with(key)) continue;
    std::istringstream words(line.substr(key.size()));
    double value = 0;
    if (words >> value) return value;
  }
  return 0;
}

struct ProcessMemory {
  double pss = 0;
  double own = 0;
};

ProcessMemory MemoryOf(int pid) {
  const std::string text = ReadFile("/proc/" + std::to_string(pid) + "/smaps_rollup");
  return {Field(text, "Pss:") * 1024,
          (Field(text, "Private_Clean:") + Field(text, "Private_Dirty:")) * 1024};
}

double AvailableBytes() {
  return Field(ReadFile("/proc/meminfo"), "MemAvailable:") * 1024;
}

std::set<int> ProcessesOf(const v1::Instance& instance) {
  std::set<int> pids;
  for (const std::string& path : instance.cgroups()) {
    std::istringstream words(ReadFile(path + "/cgroup.procs"));
    for (int pid = 0; words >> pid;) pids.insert(pid);
  }
  return pids;
}

// v1 has a counter of its own; v2 tells it in memory.stat.
double KernelBytesOf(const v1::Instance& instance) {
  for (const std::string& path : instance.cgroups()) {
    const std::string counter = ReadFile(path + "/memory.kmem.usage_in_bytes");
    if (!counter.empty()) return Field(counter, "");
    const double kernel = Field(ReadFile(path + "/memory.stat"), "kernel ");
    if (kernel > 0) return kernel;
  }
  return 0;
}

client::Result<> HoldAtOnce(client::Connection& connection, const std::string& held,
                            unsigned count) {
  v1::InvokeRequest request;
  request.set_name(held);
  request.set_payload(kHoldMs);
  for (unsigned i = 0; i < count; ++i) {
    auto sent = connection.Send("spore.v1.Invocations", "Invoke", request);
    if (!sent) return tl::unexpected(sent.error());
  }
  for (unsigned i = 0; i < count; ++i) {
    auto reply = connection.Receive();
    if (!reply) return tl::unexpected(reply.error());
  }
  return {};
}

client::Result<double> ZygotePss(client::Connection& connection) {
  auto info = connection.Call<v1::InfoResponse>("spore.v1.System", "Info", v1::InfoRequest());
  if (!info) return tl::unexpected(info.error());
  for (const v1::Image& image : info->images()) {
    if (image.name() == "python" && image.zygote_pid() > 0) {
      return MemoryOf(image.zygote_pid()).pss;
    }
  }
  return 0;
}

// The mean of those that idle.
client::Result<MemoryReport> MeasureIdle(client::Connection& connection, const std::string& held) {
  v1::ListInstancesRequest request;
  request.set_function(held);
  auto list = connection.Call<v1::ListInstancesResponse>("spore.v1.Instances", "List", request);
  if (!list) return tl::unexpected(list.error());
  MemoryReport report;
  for (const v1::Instance& instance : list->instances()) {
    if (instance.state() != v1::Instance::IDLE) continue;
    ++report.instances;
    for (const int pid : ProcessesOf(instance)) {
      const ProcessMemory memory = MemoryOf(pid);
      report.pss_bytes += memory.pss;
      report.private_bytes += memory.own;
      report.processes += 1;
    }
    report.kernel_bytes += KernelBytesOf(instance);
  }
  if (report.instances == 0) return client::LocalError("no idle instance to measure");
  for (double* value :
       {&report.pss_bytes, &report.private_bytes, &report.kernel_bytes, &report.processes}) {
    *value /= report.instances;
  }
  return report;
}

// Waits until so many sandboxes are ready as before, or until their number has come to rest; gives
// how many that are.
client::Result<uint32_t> AwaitPool(client::Connection& connection, uint32_t wanted) {
  constexpr int kPatience = 60;
  uint32_t last = 0;
  for (int i = 0;; ++i) {
    std::this_thread::sleep_for(std::chrono::seconds(wanted == 0 ? 2 : 1));
    auto stats = connection.Call<v1::StatsResponse>("spore.v1.System", "Stats", v1::StatsRequest());
    if (!stats) return tl::unexpected(stats.error());
    const uint32_t ready = stats->sandboxes_ready();
    if (wanted != 0 ? ready == wanted : ready == last && ready > 0) return ready;
    if (i == kPatience) return client::LocalError("the pool of sandboxes does not come to rest");
    last = ready;
  }
}

}  // namespace

client::Result<std::vector<MemoryReport>> MeasureMemory(const std::string& socket,
                                                        const std::string& held,
                                                        const std::vector<unsigned>& instances) {
  auto connection = client::Connection::Open(socket);
  if (!connection) return tl::unexpected(connection.error());
  // One that ends at once; the sandbox that it took is made again.
  auto first = HoldAtOnce(*connection, held, 1);
  if (!first) return tl::unexpected(first.error());
  auto pool = AwaitPool(*connection, 0);
  if (!pool) return tl::unexpected(pool.error());
  double first_available = 0;
  std::vector<MemoryReport> reports;
  for (const unsigned count : instances) {
    auto all = HoldAtOnce(*connection, held, count);
    if (!all) return tl::unexpected(all.error());
    // The sandboxes made ahead are being replaced; wait until the host is as it was but for ours.
    auto again = AwaitPool(*connection, *pool);
    if (!again) return tl::unexpected(again.error());
    const double after = AvailableBytes();
    auto report = MeasureIdle(*connection, held);
    if (!report) return tl::unexpected(report.error());
    // Against the first ones: until those are there, starts of other processes go on and end.
    if (reports.empty()) first_available = after;
    const unsigned more = reports.empty() ? 0 : report->instances - reports[0].instances;
    report->host_bytes = more == 0 ? 0 : (first_available - after) / more;
    auto stats =
        connection->Call<v1::StatsResponse>("spore.v1.System", "Stats", v1::StatsRequest());
    if (!stats) return tl::unexpected(stats.error());
    report->daemon_pss_bytes = static_cast<double>(stats->daemon_memory_bytes());
    auto zygote = ZygotePss(*connection);
    if (!zygote) return tl::unexpected(zygote.error());
    report->zygote_pss_bytes = *zygote;
    reports.push_back(*report);
  }
  return reports;
}

}  // namespace spore::bench
