#include "daemon/zygotes/memory_keeper.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "daemon/common/log.h"
#include "sandbox/cgroup_file.h"

namespace spore {
namespace {

constexpr auto kInterval = std::chrono::seconds(5);
constexpr auto kIntervalWhenShort = std::chrono::seconds(1);
constexpr size_t kAtOnce = 8;  // what ends gives its memory back a moment later
constexpr double kStallPercent = 10;

std::string Mebibytes(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

}  // namespace

std::vector<uint64_t> ByWorth(const std::vector<MemoryHolder>& holders) {
  std::vector<std::pair<double, uint64_t>> ranked;
  for (const MemoryHolder& holder : holders) {
    const double gain = static_cast<double>(holder.bytes) * static_cast<double>(holder.idle_ms + 1);
    ranked.emplace_back(-gain / static_cast<double>(holder.rebuild_us + 1000), holder.id);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<uint64_t> ids;
  for (const auto& [worth, id] : ranked) ids.push_back(id);
  return ids;
}

std::optional<uint64_t> ParseMemAvailable(std::string_view meminfo) {
  constexpr std::string_view kKey = "MemAvailable:";
  const size_t at = meminfo.find(kKey);
  if (at == meminfo.npos) return std::nullopt;
  meminfo.remove_prefix(at + kKey.size());
  meminfo.remove_prefix(std::min(meminfo.find_first_not_of(' '), meminfo.size()));
  uint64_t kib = 0;
  const auto parsed = std::from_chars(meminfo.data(), meminfo.data() + meminfo.size(), kib);
  if (parsed.ec != std::errc()) return std::nullopt;
  return kib << 10;
}

std::optional<double> ParseMemoryStall(std::string_view pressure) {
  constexpr std::string_view kKey = "some avg10=";
  if (!pressure.starts_with(kKey)) return std::nullopt;
  pressure.remove_prefix(kKey.size());
  double percent = 0;
  const auto parsed = std::from_chars(pressure.data(), pressure.data() + pressure.size(), percent);
  if (parsed.ec != std::errc()) return std::nullopt;
  return percent;
}

MemoryKeeper::MemoryKeeper(EventLoop& loop, uint64_t reserve_bytes, Evictor evictor)
    : loop_(loop), reserve_bytes_(reserve_bytes), evictor_(std::move(evictor)) {
  timer_ = loop_.AddTimer(kInterval, [this] { Look(); });
}

MemoryKeeper::~MemoryKeeper() {
  if (timer_ != 0) loop_.CancelTimer(timer_);
}

std::string MemoryKeeper::Shortage() const {
  if (const auto meminfo = ReadFile("/proc/meminfo")) {
    const auto available = ParseMemAvailable(*meminfo);
    if (available && *available < reserve_bytes_) {
      return "the host's memory is short: " + Mebibytes(*available) + " available, " +
             Mebibytes(reserve_bytes_) + " to be kept free (memory-reserve)";
    }
  }
  // Not there without CONFIG_PSI, or with psi=0.
  if (const auto pressure = ReadFile("/proc/pressure/memory")) {
    const auto percent = ParseMemoryStall(*pressure);
    if (percent && *percent > kStallPercent) {
      return "the host's memory is short: programs waited for it in " +
             std::to_string(static_cast<int>(*percent)) + " % of the last 10 s";
    }
  }
  return {};
}

void MemoryKeeper::Look() {
  const std::string shortage = Shortage();
  const std::chrono::seconds pause = shortage.empty() ? kInterval : kIntervalWhenShort;
  timer_ = loop_.AddTimer(pause, [this] { Look(); });
  if (shortage.empty()) {
    told_ = false;
    return;
  }
  size_t ended = evictor_.instances(kAtOnce, shortage);
  if (ended == 0) ended = evictor_.zygotes(1, shortage);
  // Once for each time that it gets short, and only if something could be done.
  if (ended > 0 && !std::exchange(told_, true))
    Log(LogLevel::kWarning, shortage + "; idle instances and zygotes are ended");
}

}  // namespace spore
