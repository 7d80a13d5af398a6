#include "zygote/sfork/timer_helper.h"

#include <link.h>

#include <atomic>
#include <cstdlib>
#include <span>
#include <string_view>

#include "zygote/sfork/proc_text.h"

namespace spore {
namespace {

std::atomic<int32_t*> helper_id = nullptr;

struct Object {
  uintptr_t address = 0;  // of something in it
  std::vector<std::span<const int32_t>> writable;
};

int NoteWritable(dl_phdr_info* info, size_t, void* argument) {
  auto& object = *static_cast<Object*>(argument);
  const std::span headers(info->dlpi_phdr, info->dlpi_phnum);
  bool is_it = false;
  for (const ElfW(Phdr) & header : headers) {
    const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD && object.address - begin < header.p_memsz) is_it = true;
  }
  if (!is_it) return 0;
  for (const ElfW(Phdr) & header : headers) {
    if (header.p_type != PT_LOAD || (header.p_flags & PF_W) == 0) continue;
    const uintptr_t begin = (info->dlpi_addr + header.p_vaddr + 3) & ~uintptr_t{3};
    const uintptr_t end = info->dlpi_addr + header.p_vaddr + header.p_memsz;
    object.writable.emplace_back(reinterpret_cast<const int32_t*>(begin), (end - begin) / 4);
  }
  return 1;
}

// Whom the kernel sends glibc's signal for timers (32) to; 0 when there is no such timer.
int32_t HelperOfATimer() {
  ProcText text;
  text.Read("/proc/self/timers");
  const size_t signal = text.view().find("signal: 32/");
  if (signal == std::string_view::npos) return 0;
  constexpr std::string_view kThread = "notify: signal/tid.";
  const size_t thread = text.view().find(kThread, signal);
  if (thread == std::string_view::npos) return 0;
  return static_cast<int32_t>(strtol(text.data() + thread + kThread.size(), nullptr, 10));
}

}  // namespace

int32_t* TimerHelperId() {
  return helper_id.load();
}

TimerHelperSearch::TimerHelperSearch(const void* function) {
  Object object{.address = reinterpret_cast<uintptr_t>(function), .writable = {}};
  dl_iterate_phdr(NoteWritable, &object);
  for (const auto& words : object.writable)
    segments_.push_back({words.data(), std::vector<int32_t>(words.begin(), words.end())});
}

void TimerHelperSearch::Finish() const {
  const int32_t id = HelperOfATimer();
  if (id == 0) return;
  const int32_t* found = nullptr;
  for (const Segment& segment : segments_) {
    for (size_t i = 0; i < segment.before.size(); ++i) {
      if (segment.before[i] != 0 || segment.words[i] != id) continue;
      if (found != nullptr) return;  // two: neither can be trusted
      found = segment.words + i;
    }
  }
  if (found != nullptr) helper_id = const_cast<int32_t*>(found);
}

}  // namespace spore
