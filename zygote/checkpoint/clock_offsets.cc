#include "zygote/checkpoint/clock_offsets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr const char* kFile = "/proc/self/timens_offsets";

uint64_t Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t Behind(uint64_t wanted, clockid_t clock) {
  const uint64_t now = Now(clock);
  return wanted > now ? wanted - now : 0;
}

}  // namespace

Clocks ClocksOf(int pid) {
  Clocks clocks{Now(CLOCK_MONOTONIC), Now(CLOCK_BOOTTIME)};
  std::ifstream file(fmt::format("/proc/{}/timens_offsets", pid));
  int64_t seconds = 0, ns = 0;
  for (std::string name; file >> name >> seconds >> ns;) {
    uint64_t& clock = name == "monotonic" ? clocks.monotonic_ns : clocks.boottime_ns;
    clock += static_cast<uint64_t>(seconds * static_cast<int64_t>(kSecond) + ns);
  }
  return clocks;
}

ClockOffsets OffsetsTo(uint64_t monotonic_ns, uint64_t boottime_ns) {
  return {Behind(monotonic_ns, CLOCK_MONOTONIC), Behind(boottime_ns, CLOCK_BOOTTIME)};
}

std::string TextOf(const ClockOffsets& offsets) {
  std::string text;
  for (const auto& [name, ns] :
       {std::pair("monotonic", offsets.monotonic_ns), {"boottime", offsets.boottime_ns}}) {
    text += fmt::format("{} {} {}\n", name, ns / kSecond, ns % kSecond);
  }
  return text;
}

Result<> EnterTimeNamespace(const ClockOffsets& offsets) {
  if (unshare(CLONE_NEWTIME) < 0)
    return SysError("unshare CLONE_NEWTIME", {}, "the kernel needs CONFIG_TIME_NS");
  const UniqueFd file(open(kFile, O_WRONLY | O_CLOEXEC));
  const std::string text = TextOf(offsets);
  if (!file || write(file.get(), text.data(), text.size()) < 0) return SysError("write", kFile);
  return {};
}

std::string ReadOffsets(int pid) {
  std::ifstream file(fmt::format("/proc/{}/timens_offsets", pid));
  std::string text;
  int64_t seconds = 0, ns = 0;
  for (std::string name; file >> name >> seconds >> ns;)
    text += fmt::format("{} {} {}\n", name, seconds, ns);
  return text;
}

}  // namespace spore
