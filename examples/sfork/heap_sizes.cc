// libsfork alone: what a copy costs as the heap grows, flat and not.
//
//   heap_sizes [COPIES [MEGABYTES...]]
//
// For each size a program fills memory, freezes itself, and is copied again and again; first as it
// is, then with its memory moved into a file. A line of JSON for each: the time from the order to
// the copy's first line, and what the copy takes of the kernel's memory for its page tables.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "zygote/sfork/audit.h"
#include "zygote/sfork/flatten.h"
#include "zygote/sfork/sfork.h"

namespace {

long Now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000L + time.tv_nsec;
}

long PageTableKib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPTE:")) return strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

struct Sample {
  long first_line = 0, page_tables_kib = 0;
};

[[noreturn]] void Fail(const spore::Error& error) {
  fprintf(stderr, "%s\n", error.Message().c_str());
  _exit(1);
}

Sample Copy(const spore::FrozenProcess& frozen, const char* heap, size_t size) {
  // Shared with the copies on purpose, and so made after the freeze.
  static auto* const sample = static_cast<Sample*>(
      mmap(nullptr, sizeof(Sample), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const long begun = Now();
  const spore::Result<pid_t> pid = frozen.Clone({}, nullptr);
  if (!pid) Fail(pid.error());
  if (*pid == 0) {
    sample->first_line = Now() - begun;
    sample->page_tables_kib = PageTableKib();
    // Some of it is used, or this would not be a copy of anything.
    bool same = true;
    for (size_t at = 0; at < size; at += size / 16) same = same && heap[at] == 1;
    _exit(same && frozen.Thaw().ok() ? 0 : 1);
  }
  int status = 0;
  if (waitpid(*pid, &status, __WALL) != *pid || status != 0) _exit(1);
  return *sample;
}

void Measure(const spore::FrozenProcess& frozen, const char* heap, size_t size, int copies,
             bool flat) {
  std::vector<long> times(static_cast<size_t>(copies));
  long page_tables = 0;
  for (long& time : times) {
    const Sample sample = Copy(frozen, heap, size);
    time = sample.first_line;
    page_tables = sample.page_tables_kib;
  }
  std::sort(times.begin(), times.end());
  const auto us = [&](size_t percent) {
    return static_cast<double>(times[(times.size() - 1) * percent / 100]) / 1000;
  };
  printf(
      "{\"heap_mib\": %zu, \"flat\": %s, \"copies\": %d, \"p10_us\": %.1f, \"p50_us\": %.1f, "
      "\"p99_us\": %.1f, \"page_tables_kib\": %ld}\n",
      size >> 20, flat ? "true" : "false", copies, us(10), us(50), us(99), page_tables);
  fflush(stdout);
}

// In a process of its own.
void Run(size_t size, int copies) {
  spore::FreezeOptions options{.stop_threads = true, .renew_descriptors = true};
  const std::vector<spore::DescriptorNote> inherited = spore::ListDescriptors().value();
  for (const spore::DescriptorNote& note : inherited)
    options.allowed_descriptors.push_back(note.fd);
  char* const heap = static_cast<char*>(malloc(size));
  memset(heap, 1, size);
  const spore::Result<spore::FrozenProcess> frozen = spore::FrozenProcess::Freeze(options);
  if (!frozen) Fail(frozen.error());
  Measure(*frozen, heap, size, copies, false);
  const spore::Result<spore::FlatReport> flat = spore::FlattenMemory({.worthwhile_bytes = 0});
  if (!flat) Fail(flat.error());
  if (flat->flat_bytes < size) fprintf(stderr, "not all of it is flat: %s\n", flat->note.c_str());
  Measure(*frozen, heap, size, copies, true);
}

}  // namespace

int main(int argc, char** argv) {
  const int copies = argc > 1 ? atoi(argv[1]) : 200;
  std::vector<size_t> sizes;
  for (int i = 2; i < argc; ++i) sizes.push_back(strtoul(argv[i], nullptr, 10));
  if (sizes.empty()) sizes = {10, 100, 1000};
  for (const size_t size : sizes) {
    const pid_t pid = fork();
    if (pid == 0) {
      Run(size << 20, std::max(copies, 1));
      _exit(0);
    }
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0) return 1;
  }
}
