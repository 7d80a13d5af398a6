// What is kept ready of functions although nobody has asked for it.
#include <algorithm>

#include "daemon/instances/scheduler.h"

namespace spore {
namespace {

constexpr uint64_t kFirstRetryNs = 1'000'000'000;
constexpr uint64_t kLongestRetryNs = 300'000'000'000;

}  // namespace

void Scheduler::SetReserves(const std::string& name, const std::vector<Reserve>& reserves) {
  const auto found = functions_.find(name);
  if (found == functions_.end() && reserves.empty()) return;
  Function& function = FunctionOf(name);
  function.reserved.clear();
  for (const Reserve& reserve : reserves) {
    if (reserve.instances == 0) continue;
    Reserved& reserved = function.reserved[reserve.version];
    reserved.reserve = reserve;
    CountReserved(function, reserved);
    function.max_instances = reserve.max_instances;
  }
  if (!function.reserved.empty()) {
    reserved_.insert(&function);
    return;
  }
  reserved_.erase(&function);
  if (function.live == 0 && function.queued == 0) functions_.erase(std::string(function.name));
}

Scheduler::Reserved* Scheduler::ReservedOf(const Slot& slot) {
  const auto found = slot.function->reserved.find(slot.version);
  return found == slot.function->reserved.end() ? nullptr : &found->second;
}

void Scheduler::CountReserved(Function& function, Reserved& reserved) {
  for (const auto& [id, slot] : slots_) {
    if (slot.function != &function || slot.version != reserved.reserve.version) continue;
    if (slot.state == State::kDying) continue;
    ++reserved.live;
    if (slot.state == State::kBusy && !slot.used) ++reserved.preparing;
  }
}

uint32_t Scheduler::Lacking(const Function& function, const Reserved& reserved) const {
  const Reserve& reserve = reserved.reserve;
  uint32_t have = reserved.live;
  // Of the others what serves somebody will serve nobody else.
  if (!reserve.reuse) {
    have = reserved.preparing;
    for (const SlotId id : function.idle) {
      if (slots_.at(id).version == reserve.version) ++have;
    }
  }
  return reserve.instances > have ? reserve.instances - have : 0;
}

bool Scheduler::IsReserved(const Slot& slot) const {
  const Reserved* reserved = ReservedOf(slot);
  if (reserved == nullptr) return false;
  return !reserved->reserve.reuse || reserved->live <= reserved->reserve.instances;
}

bool Scheduler::MayEnd(SlotId slot) const {
  const auto found = slots_.find(slot);
  return found == slots_.end() || !IsReserved(found->second);
}

std::optional<SlotId> Scheduler::OldestToEvict(
    const std::map<uint64_t, SlotId>& idle_by_age) const {
  for (const auto& [age, id] : idle_by_age) {
    if (!IsReserved(slots_.at(id))) return id;
  }
  return std::nullopt;
}

std::vector<SlotId> Scheduler::Evictable() const {
  std::vector<SlotId> slots;
  for (const auto& [age, id] : idle_by_age_) {
    if (!IsReserved(slots_.at(id))) slots.push_back(id);
  }
  return slots;
}

Actions Scheduler::EvictOf(const std::vector<SlotId>& slots, size_t most,
                           const std::string& reason) {
  Actions actions;
  for (const SlotId id : slots) {
    if (actions.size() >= most) break;
    const auto found = slots_.find(id);
    // Each that goes may leave the next one needed.
    if (found == slots_.end() || found->second.state != State::kIdle || IsReserved(found->second))
      continue;
    Evict(id, actions, reason);
  }
  return actions;
}

// Within all limits, now.
uint32_t Scheduler::MayPrepare(const Function& function, const Reserved& reserved) const {
  const Reserve& reserve = reserved.reserve;
  const auto room = [](size_t limit, size_t used) {
    return static_cast<uint32_t>(limit > used ? limit - used : 0);
  };
  uint32_t count = std::min(
      {Lacking(function, reserved), room(limits_.prepared_at_once, reserved.preparing),
       room(reserve.max_instances, function.live), room(limits_.max_instances, slots_.size())});
  if (reserve.client != 0) {
    const auto client = clients_.find(reserve.client);
    const uint32_t live = client == clients_.end() ? 0 : client->second->live;
    count = std::min(count, room(limits_.client_instances, live));
  }
  return count;
}

Actions Scheduler::Replenish(uint64_t now_ns) {
  Actions actions;
  if (!queue_.empty()) return actions;
  for (Function* function : reserved_) {
    for (auto& [version, reserved] : function->reserved) {
      if (reserved.after_ns > now_ns) continue;
      for (uint32_t count = MayPrepare(*function, reserved); count > 0; --count) {
        const SlotId id =
            AddSlot(*function, ClientOf(reserved.reserve.client), version, /*used=*/false);
        ++reserved.preparing;
        actions.push_back(Action{.kind = Action::Kind::kPrepare,
                                 .slot = id,
                                 .function = function->name,
                                 .version = version});
      }
    }
  }
  return actions;
}

void Scheduler::PrepareFailed(SlotId id, uint64_t now_ns) {
  const auto found = slots_.find(id);
  if (found == slots_.end()) return;
  Reserved* reserved = ReservedOf(found->second);
  if (reserved == nullptr) return;
  const uint32_t doublings = std::min<uint32_t>(reserved->failures++, 20);
  reserved->after_ns = now_ns + std::min(kFirstRetryNs << doublings, kLongestRetryNs);
}

std::optional<uint64_t> Scheduler::next_replenish_ns() const {
  std::optional<uint64_t> next;
  if (!queue_.empty()) return next;
  for (const Function* function : reserved_) {
    for (const auto& [version, reserved] : function->reserved) {
      if (MayPrepare(*function, reserved) == 0) continue;
      next = std::min(next.value_or(UINT64_MAX), reserved.after_ns);
    }
  }
  return next;
}

}  // namespace spore
