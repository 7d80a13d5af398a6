// What came of an event's attempt, on its way to the disk. Inner header of the dispatcher.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/events/async_dispatcher.h"

namespace spore {

struct AsyncDispatcher::Ending {
  int64_t seq = 0;
  uid_t owner = 0;
  std::shared_ptr<StoredEvent> event;  // with what is to be written; null: only `change` is known
  std::string response;                // the whole of it
  // What is to be written over what is on disk.
  v1::AsyncEvent change;
  bool attempted = false;  // the number of attempts, error and response are among it

  VersionPtr destination;  // null: none
  uint64_t reserved = 0;   // of its owner's quota
  v1::AsyncPolicy destination_policy;
  std::shared_ptr<StoredEvent> record;  // the event made for it

  bool existed = false;  // while it was recorded
  uint64_t bytes = 0;    // that it held
};

}  // namespace spore
