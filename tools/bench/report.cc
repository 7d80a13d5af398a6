#include "tools/bench/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/bench/process.h"

namespace spore::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Machine {
  std::string kernel;
  std::string processor;
  std::string system;
  long cpus = 0;
  std::string date;
};

std::string LineValue(const std::string& path, const std::string& key, char separator) {
  std::istringstream lines(ReadFile(path));
  for (std::string line; std::getline(lines, line);) {
    const auto at = line.find(separator);
    if (!line.starts_with(key) || at == std::string::npos) continue;
    const auto value = line.find_first_not_of(" \t\"", at + 1);
    if (value == std::string::npos) return {};
    return line.substr(value, line.find_last_not_of(" \t\"") - value + 1);
  }
  return {};
}

Machine Describe() {
  Machine machine;
  utsname name{};
  if (::uname(&name) == 0) machine.kernel = name.release;
  machine.processor = LineValue("/proc/cpuinfo", "model name", ':');
  machine.system = LineValue("/etc/os-release", "PRETTY_NAME", '=');
  machine.cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  machine.date = fmt::format("{:%Y-%m-%d %H:%M} UTC", utc);
  return machine;
}

// The multiple that a row is told as; 0 when it is compared with nothing.
double Ratio(const Report& report, const Row& row) {
  if (!row.base) return 0;
  const double base = report.rows[*row.base].samples.Median();
  return base > 0 ? row.samples.Median() / base : 0;
}

std::string Us(double us) {
  if (us < 1000) return fmt::format("{:.1f} us", us);
  if (us < 1e6) return fmt::format("{:.2f} ms", us / 1000);
  return fmt::format("{:.2f} s", us / 1e6);
}

std::string Bytes(double bytes) {
  if (bytes < 1024.0 * 1024) return fmt::format("{:.0f} KiB", bytes / 1024);
  return fmt::format("{:.1f} MiB", bytes / 1024 / 1024);
}

std::string RatioText(const Report& report, const Row& row) {
  const double ratio = Ratio(report, row);
  if (ratio <= 0) return "";
  return fmt::format("{:.2f}x {}", ratio, report.rows[*row.base].label);
}

Json MemoryJson(const MemoryReport& memory) {
  return {{"instances", memory.instances},
          {"pss_bytes", memory.pss_bytes},
          {"private_bytes", memory.private_bytes},
          {"kernel_bytes", memory.kernel_bytes},
          {"host_bytes", memory.host_bytes},
          {"processes", memory.processes},
          {"daemon_pss_bytes", memory.daemon_pss_bytes},
          {"zygote_pss_bytes", memory.zygote_pss_bytes}};
}

void PrintConcurrent(const std::vector<ConcurrentReport>& reports) {
  fmt::print("\n{:<26} {:>7} {:>12} {:>10} {:>10} {:>10} {:>6}\n", "AT ONCE, WITHOUT A PAUSE",
             "clients", "a second", "p50", "p99", "p99.9", "n");
  for (const ConcurrentReport& many : reports) {
    fmt::print("{:<26} {:>7} {:>12.0f} {:>10} {:>10} {:>10} {:>6}{}\n", many.what, many.clients,
               many.per_second, Us(many.latency.Median()), Us(many.latency.Percentile(99)),
               Us(many.latency.Percentile(99.9)), many.latency.count(),
               many.failures > 0
                   ? fmt::format("; {} failed ({})", many.failures, many.first_failure)
                   : "");
  }
}

void PrintBursts(const std::vector<BurstReport>& reports) {
  fmt::print("\n{:<26} {:>7} {:>12} {:>10} {:>10} {:>10} {:>6}\n", "SO MANY AT ONCE, THEN A PAUSE",
             "spare", "at once", "p50", "p99", "max", "n");
  for (const BurstReport& burst : reports) {
    const Samples& latency = burst.all.latency;
    fmt::print("{:<29} {:>7} {:>9} {:>10} {:>10} {:>10} {:>6}{}\n", "Spore: fresh sandbox",
               burst.spare, burst.at_once, Us(latency.Median()), Us(latency.Percentile(99)),
               Us(latency.Percentile(100)), latency.count(),
               burst.all.failures > 0
                   ? fmt::format("; {} failed ({})", burst.all.failures, burst.all.first_failure)
                   : "");
  }
}

void PrintMemory(const MemoryReport& memory) {
  fmt::print("\nMEMORY of one more idle instance, mean of {}\n", memory.instances);
  fmt::print("  user memory (PSS)       {:>10}\n", Bytes(memory.pss_bytes));
  fmt::print("  of it mapped by no other{:>10}\n", Bytes(memory.private_bytes));
  fmt::print("  kernel memory (cgroup)  {:>10}\n",
             memory.kernel_bytes > 0 ? Bytes(memory.kernel_bytes) : "not told");
  fmt::print("  taken from the host     {:>10}\n", Bytes(memory.host_bytes));
  fmt::print("MEMORY of the daemon      {:>10}\n", Bytes(memory.daemon_pss_bytes));
  fmt::print("MEMORY of a zygote        {:>10}\n", Bytes(memory.zygote_pss_bytes));
}

}  // namespace

void PrintTable(const Report& report) {
  const Machine machine = Describe();
  fmt::print("{} | {} | {} | {} CPUs | {}\n\n", machine.date, machine.system, machine.kernel,
             machine.cpus, machine.processor);
  fmt::print("{:<15} {:<42} {:>10} {:>10} {:>6}\n", "RATIO", "WHAT", "p50", "p99", "n");
  for (const Row& row : report.rows) {
    fmt::print("{:<15} {:<42} {:>10} {:>10} {:>6}\n", RatioText(report, row), row.name,
               Us(row.samples.Median()), Us(row.samples.Percentile(99)), row.samples.count());
  }
  if (!report.concurrent.empty()) PrintConcurrent(report.concurrent);
  if (!report.bursts.empty()) PrintBursts(report.bursts);
  for (const std::string& heap : report.heaps) fmt::print("\nheap: {}", heap);
  if (!report.heaps.empty()) fmt::print("\n");
  if (!report.memory.empty()) PrintMemory(report.memory.back());
  for (const std::string& peer : report.left_out) fmt::print("\nleft out: {}", peer);
  if (!report.left_out.empty()) fmt::print("\n");
}

void PrintJson(const Report& report) {
  const Machine machine = Describe();
  Json json;
  json["machine"] = {{"date", machine.date},
                     {"system", machine.system},
                     {"kernel", machine.kernel},
                     {"cpus", machine.cpus},
                     {"processor", machine.processor}};
  json["rows"] = Json::array();
  for (const Row& row : report.rows) {
    Json entry{{"name", row.name},
               {"count", row.samples.count()},
               {"p50_us", row.samples.Median()},
               {"p90_us", row.samples.Percentile(90)},
               {"p99_us", row.samples.Percentile(99)},
               {"max_us", row.samples.Percentile(100)}};
    // For a plot of the distribution: every percent.
    for (int percent = 0; percent <= 100; ++percent)
      entry["percentiles_us"].push_back(row.samples.Percentile(percent));
    if (Ratio(report, row) > 0) {
      entry["ratio"] = Ratio(report, row);
      entry["ratio_to"] = report.rows[*row.base].name;
    }
    json["rows"].push_back(std::move(entry));
  }
  json["concurrent"] = Json::array();
  for (const ConcurrentReport& many : report.concurrent) {
    json["concurrent"].push_back({{"what", many.what},
                                  {"clients", many.clients},
                                  {"answered", many.latency.count()},
                                  {"failed", many.failures},
                                  {"per_second", many.per_second},
                                  {"p50_us", many.latency.Median()},
                                  {"p99_us", many.latency.Percentile(99)},
                                  {"p999_us", many.latency.Percentile(99.9)}});
  }
  json["bursts"] = Json::array();
  for (const BurstReport& burst : report.bursts) {
    json["bursts"].push_back({{"at_once", burst.at_once},
                              {"bursts", burst.bursts},
                              {"spare", burst.spare},
                              {"answered", burst.all.latency.count()},
                              {"failed", burst.all.failures},
                              {"p50_us", burst.all.latency.Median()},
                              {"p99_us", burst.all.latency.Percentile(99)},
                              {"max_us", burst.all.latency.Percentile(100)}});
  }
  json["heap"] = Json::array();
  for (const std::string& heap : report.heaps) json["heap"].push_back(Json::parse(heap));
  json["memory"] = Json::array();
  for (const MemoryReport& memory : report.memory) json["memory"].push_back(MemoryJson(memory));
  json["left_out"] = report.left_out;
  fmt::print("{}\n", json.dump(2));
}

}  // namespace spore::bench
