// Sizes, durations and ages, as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace spore::cli {

// "128M", "1.5G", "64KiB", "4096": bytes, in powers of 1024. Nothing for anything else.
std::optional<uint64_t> ParseSize(const std::string& text);
// "30s", "250ms", "1.5m", "2h", "1d", "30" (seconds): milliseconds.
std::optional<uint64_t> ParseDuration(const std::string& text);
// "0.5": thousandths of a CPU.
std::optional<uint32_t> ParseCpus(const std::string& text);

std::string HumanBytes(uint64_t bytes);      // "128 MiB", "1.5 KiB"
std::string HumanMicroseconds(uint64_t us);  // "310 us", "1.25 ms", "3.1 s", "2m 5s"
std::string HumanAge(int64_t unix_ms);       // "5s", "3m", "2h", "4d" ago
std::string HumanTime(int64_t unix_ms);      // "2026-01-31 12:00:00" local time

}  // namespace spore::cli
