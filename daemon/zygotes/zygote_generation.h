// A supervisor, its zygotes and their sandboxes, from the first zygote's start until the last
// sandbox has ended. An image has one that serves, perhaps one more that is to replace it, and
// older ones whose instances are still there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/library_zygotes.h"
#include "daemon/zygotes/sandbox_pool.h"
#include "daemon/zygotes/zygote_link.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct ZygoteGeneration {
  uint64_t serial = 0;  // of all generations of all images; never used again
  uint64_t number = 0;  // of the image, from 1
  v1::Zygote::State state = v1::Zygote::STARTING;
  int64_t started_unix_ms = 0;
  uint64_t ready_ns = 0;
  uint64_t preload_us = 0;
  uint64_t flat_bytes = 0, unmoved_bytes = 0;  // wire::ZygoteReady
  std::string flat_note;
  uint64_t forks = 0;                                     // that were given to a function or run
  v1::StartKind start_kind = v1::START_KIND_UNSPECIFIED;  // COLD or RESTORE, as soon as it is known
  std::string start_reason;    // why it was not restored, if it was tried
  std::string checkpoint;      // that it is restored from
  uint64_t layout_age_ns = 0;  // how long its address-space layout had been on disk
  std::function<void(const Result<>& result)> when_restored;  // who asked for that, if somebody did
  uint64_t started_ns = 0;
  EventLoop::TimerId start_timer = 0;
  std::vector<std::function<void()>> when_gone;
  std::unique_ptr<ZygoteLink> link;
  std::unique_ptr<SandboxPool> pool;         // of the runtime's own zygote
  std::unique_ptr<SandboxPool> egress_pool;  // likewise, with a proxy's socket; null: never wanted
  std::unique_ptr<LibraryZygotes> libraries;

  // Of the runtime's own zygote.
  size_t own_in_use() const { return pool->in_use() + (egress_pool ? egress_pool->in_use() : 0); }
  size_t in_use() const { return own_in_use() + libraries->in_use(); }
};

}  // namespace spore
