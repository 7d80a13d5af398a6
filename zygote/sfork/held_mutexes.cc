#include "zygote/sfork/held_mutexes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
};

// Memory that can be written, ascending.
std::vector<Range> WritableRanges() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/thread-self/maps");
  for (std::string line; std::getline(maps, line);) {
    Range range;
    char rights[5] = {};
    if (sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s", &range.begin, &range.end, rights) ==
            3 &&
        rights[0] == 'r' && rights[1] == 'w') {
      ranges.push_back(range);
    }
  }
  return ranges;
}

const Range* Containing(const std::vector<Range>& ranges, uintptr_t address) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), address,
                       [](uintptr_t value, const Range& range) { return value < range.begin; });
  if (after == ranges.begin()) return nullptr;
  const Range& range = *(after - 1);
  return address < range.end ? &range : nullptr;
}

// Locked, by `owner`, of one of the two kinds, with none of the flags that mark other ones.
bool BelongsTo(const pthread_mutex_t& mutex, pid_t owner) {
  const auto& data = mutex.__data;
  if (data.__owner != owner || (data.__lock != 1 && data.__lock != 2)) return false;
  if (data.__nusers < 1 || data.__nusers > 100'000) return false;
  if (data.__kind == PTHREAD_MUTEX_RECURSIVE) return data.__count >= 1;
  return data.__kind == PTHREAD_MUTEX_ERRORCHECK && data.__count == 0;
}

}  // namespace

Result<> HeldMutexes::Find(pid_t owner, uintptr_t stack_pointer,
                           std::span<const uintptr_t> registers) {
  const std::vector<Range> ranges = WritableRanges();
  // Read through the kernel: a mapping of a file may end before its last page.
  const UniqueFd memory(open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC));
  if (!memory) return SysError("open", "/proc/thread-self/mem");
  constexpr uintptr_t kDeepest = 1 << 20;
  std::vector<uintptr_t> words(registers.begin(), registers.end());
  if (const Range* stack = Containing(ranges, stack_pointer)) {
    const uintptr_t begin = stack_pointer & ~uintptr_t{sizeof(uintptr_t) - 1};
    const auto* word = reinterpret_cast<const uintptr_t*>(begin);
    words.insert(words.end(), word, word + (std::min(stack->end - begin, kDeepest) / sizeof *word));
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  for (const uintptr_t word : words) {
    if (word % alignof(pthread_mutex_t) != 0 || Containing(ranges, word) == nullptr) continue;
    pthread_mutex_t mutex;
    if (pread(memory.get(), &mutex, sizeof mutex, static_cast<off_t>(word)) !=
            static_cast<ssize_t>(sizeof mutex) ||
        !BelongsTo(mutex, owner)) {
      continue;
    }
    if (count_ == kCapacity) {
      return MakeError(ErrorKind::kPrecondition,
                       "thread " + std::to_string(owner) + " holds more than " +
                           std::to_string(kCapacity) + " recursive or error-checking mutexes");
    }
    mutexes_[count_++] = reinterpret_cast<pthread_mutex_t*>(word);
  }
  return {};
}

void HeldMutexes::TakeOver(pid_t owner) const {
  for (size_t i = 0; i < count_; ++i) mutexes_[i]->__data.__owner = owner;
}

}  // namespace spore
