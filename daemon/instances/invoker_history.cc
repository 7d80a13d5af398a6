// What the history is told of instances.
#include "daemon/common/unix_time.h"
#include "daemon/instances/invoker.h"

namespace spore {

void Invoker::TellStarted(const Held& held, const ZygoteImage::Lease& lease, const Work* work) {
  const Instance& instance = *held.instance;
  Happening started;
  started.kind = v1::HostEvent::INSTANCE_STARTED;
  started.owner = instance.owner_uid();
  started.start_kind =
      work != nullptr && work->runs_program ? v1::START_KIND_COLD : lease.start_kind;
  started.function = instance.function();
  started.instance_id = instance.id();
  started.image = held.image->manifest().name;
  started.set = lease.set;
  started.message = work != nullptr ? work->start_reason : "its function is loaded ahead";
  started.duration_us = (MonotonicNs() - held.pending_since_ns) / 1000;
  history_.Add(started);
}

void Invoker::TellEnded(const v1::Instance& instance) {
  const v1::Death& death = instance.death();
  Happening ended;
  ended.kind = v1::HostEvent::INSTANCE_ENDED;
  ended.owner = instance.owner_uid();
  ended.cause = CauseOf(death.cause());
  ended.function = instance.function();
  ended.instance_id = instance.id();
  ended.image = instance.image();
  ended.message = death.message();
  const int64_t lived_ms = NowUnixMs() - instance.started_unix_ms();
  ended.duration_us = lived_ms > 0 ? static_cast<uint64_t>(lived_ms) * 1000 : 0;
  ended.memory_peak_bytes = death.usage().memory_peak_bytes();
  ended.cpu_us = death.usage().cpu_us();
  history_.Add(ended);
}

}  // namespace spore
