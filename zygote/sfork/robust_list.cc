#include "zygote/sfork/robust_list.h"

#include <linux/futex.h>
#include <pthread.h>

#include <cstdint>

namespace spore {

// glibc's entries point into a pthread_mutex_t: futex_offset leads from there to __data.__lock, its
// first member. The lowest bit marks a mutex with priority inheritance.
void TakeOverRobustMutexes(void* head_address, pid_t from, pid_t to) {
  const auto* head = static_cast<const robust_list_head*>(head_address);
  if (head == nullptr) return;
  const auto* end = &head->list;
  const auto* entry = head->list.next;
  for (int i = 0; i < ROBUST_LIST_LIMIT; ++i) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(entry) & ~uintptr_t{1};
    if (address == 0 || address == reinterpret_cast<uintptr_t>(end)) return;
    auto* mutex = reinterpret_cast<pthread_mutex_t*>(
        static_cast<uintptr_t>(static_cast<intptr_t>(address) + head->futex_offset));
    const auto word = static_cast<uint32_t>(mutex->__data.__lock);
    if ((word & FUTEX_TID_MASK) == static_cast<uint32_t>(from)) {
      mutex->__data.__lock =
          static_cast<int>((word & ~uint32_t{FUTEX_TID_MASK}) | static_cast<uint32_t>(to));
      mutex->__data.__owner = to;
    }
    entry = reinterpret_cast<const robust_list*>(address)->next;
  }
}

}  // namespace spore
