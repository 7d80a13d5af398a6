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
  for (const auto& part : {report.concurrent, report.back_to_back}) {
    if (!part) continue;
    const ConcurrentReport& many = *part;
    fmt::print("\n{} CLIENT(S) AT ONCE, without a pause, every request in a fresh sandbox\n",
               many.clients);
    fmt::print("  p50 {}, p99 {}, {:.0f} requests a second; {} answered, {} failed{}\n",
               Us(many.latency.Median()), Us(many.latency.Percentile(99)), many.per_second,
               many.latency.count(), many.failures,
               many.failures > 0 ? " (" + many.first_failure + ")" : "");
  }
  if (report.memory) PrintMemory(*report.memory);
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
    if (Ratio(report, row) > 0) {
      entry["ratio"] = Ratio(report, row);
      entry["ratio_to"] = report.rows[*row.base].name;
    }
    json["rows"].push_back(std::move(entry));
  }
  for (const auto& [key, part] : {std::pair("concurrent", &report.concurrent),
                                  std::pair("back_to_back", &report.back_to_back)}) {
    if (!*part) continue;
    const ConcurrentReport& many = **part;
    json[key] = {{"clients", many.clients},         {"answered", many.latency.count()},
                 {"failed", many.failures},         {"per_second", many.per_second},
                 {"p50_us", many.latency.Median()}, {"p99_us", many.latency.Percentile(99)}};
  }
  if (report.memory) json["memory"] = MemoryJson(*report.memory);
  json["left_out"] = report.left_out;
  fmt::print("{}\n", json.dump(2));
}

}  // namespace spore::bench
