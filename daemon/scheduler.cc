#include "daemon/scheduler.h"

#include <algorithm>

namespace spore {

Scheduler::Function& Scheduler::FunctionOf(const std::string& name) {
  auto& function = functions_[name];
  if (!function) {
    function = std::make_unique<Function>();
    function->name = name;
  }
  return *function;
}

void Scheduler::DropIfUnused(Function* function) {
  if (function->live == 0 && function->queued == 0) functions_.erase(std::string(function->name));
}

Actions Scheduler::Submit(Ticket ticket) {
  Actions actions;
  Function& function = FunctionOf(ticket.function);
  const Blocked blocked = TryPlace(ticket, function, actions);
  if (blocked == Blocked::kNo) return actions;
  if (queue_.size() >= limits_.max_queue && !ticket.again) {
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = ticket.id,
                             .error = QueueFullError(ticket, blocked)});
    DropIfUnused(&function);
    return actions;
  }
  Enqueue(std::move(ticket), function);
  MakeRoom(actions);
  return actions;
}

// Expire relies on the order: what goes to the front has not come later than what stands there.
void Scheduler::Enqueue(Ticket ticket, Function& function) {
  ++function.queued;
  if (!ticket.again) {
    queue_.push_back({std::move(ticket), &function});
    return;
  }
  if (!queue_.empty()) ticket.now_ns = std::min(ticket.now_ns, queue_.front().ticket.now_ns);
  queue_.push_front({std::move(ticket), &function});
}

Scheduler::Blocked Scheduler::TryPlace(const Ticket& ticket, Function& function, Actions& actions) {
  if (ticket.reuse) {
    const auto idle = std::find_if(function.idle.rbegin(), function.idle.rend(), [&](SlotId id) {
      return slots_.at(id).version == ticket.version;
    });
    if (idle != function.idle.rend()) {
      const SlotId id = *idle;
      Slot& slot = slots_.at(id);
      TakeFromIdle(id, slot);
      slot.state = State::kBusy;
      actions.push_back(Action{.kind = Action::Kind::kReuse,
                               .slot = id,
                               .ticket = ticket.id,
                               .reason = "an idle instance of this version was there"});
      return Blocked::kNo;
    }
  }
  // Runs have no function and no limit but the host's.
  if (!ticket.function.empty() && function.live >= ticket.max_instances) return Blocked::kFunction;
  if (slots_.size() >= limits_.max_instances) return Blocked::kHost;
  const SlotId id = next_slot_++;
  slots_[id] = Slot{&function, ticket.version, State::kBusy, 0};
  ++function.live;
  std::string reason = "no idle instance of this version";
  if (!ticket.reuse) reason = "a sandbox of its own for every invocation";
  if (ticket.function.empty()) reason = "a sandbox of its own for every run";
  actions.push_back(Action{
      .kind = Action::Kind::kStart, .slot = id, .ticket = ticket.id, .reason = std::move(reason)});
  return Blocked::kNo;
}

void Scheduler::PlaceQueued(Actions& actions) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    Function& function = *it->function;
    const bool host_full = slots_.size() >= limits_.max_instances;
    if ((host_full && (!it->ticket.reuse || function.idle.empty())) ||
        TryPlace(it->ticket, function, actions) != Blocked::kNo) {
      ++it;
      continue;
    }
    --function.queued;
    it = queue_.erase(it);
  }
  MakeRoom(actions);
}

// Evicts idle instances that stand in the way of those who wait: other versions of a function at
// its own limit, anything that has been idle longest at the host's. One for each that waits, less
// those that are on their way out already.
void Scheduler::MakeRoom(Actions& actions) {
  size_t wait_for_host = 0;
  for (const Waiting& waiting : queue_) {
    Function& function = *waiting.function;
    if (waiting.ticket.function.empty() || function.live < waiting.ticket.max_instances) {
      ++wait_for_host;
      continue;
    }
    if (function.dying >= function.queued || function.idle.empty()) continue;
    Evict(function.idle.front(), actions, "another version of the function is wanted");
  }
  if (slots_.size() < limits_.max_instances) return;
  while (dying_ < wait_for_host && !idle_by_age_.empty()) {
    Evict(idle_by_age_.begin()->second, actions, "the host's limit of instances is reached");
  }
}

void Scheduler::TakeFromIdle(SlotId id, Slot& slot) {
  std::erase(slot.function->idle, id);
  idle_by_age_.erase(slot.idle_order);
}

void Scheduler::Evict(SlotId id, Actions& actions, std::string reason) {
  SlotDying(id);
  actions.push_back(Action{.kind = Action::Kind::kEvict, .slot = id, .reason = std::move(reason)});
}

Actions Scheduler::SlotIdle(SlotId id) {
  Actions actions;
  const auto found = slots_.find(id);
  if (found == slots_.end() || found->second.state != State::kBusy) return actions;
  Slot& slot = found->second;
  slot.state = State::kIdle;
  slot.idle_order = next_idle_order_++;
  slot.function->idle.push_back(id);
  idle_by_age_[slot.idle_order] = id;
  PlaceQueued(actions);
  const auto after = slots_.find(id);
  if (after->second.state == State::kIdle && slot.function->current != 0 &&
      slot.version != slot.function->current) {
    Evict(id, actions, "a newer version of the function is there");
  }
  return actions;
}

void Scheduler::SlotDying(SlotId id) {
  const auto found = slots_.find(id);
  if (found == slots_.end() || found->second.state == State::kDying) return;
  Slot& slot = found->second;
  if (slot.state == State::kIdle) TakeFromIdle(id, slot);
  slot.state = State::kDying;
  ++slot.function->dying;
  ++dying_;
}

Actions Scheduler::SlotGone(SlotId id) {
  Actions actions;
  SlotDying(id);
  const auto found = slots_.find(id);
  if (found == slots_.end()) return actions;
  Function* function = found->second.function;
  --function->live;
  --function->dying;
  --dying_;
  slots_.erase(found);
  if (!queue_.empty()) PlaceQueued(actions);
  DropIfUnused(function);
  return actions;
}

Actions Scheduler::Replace(const std::string& name, uint64_t version) {
  Actions actions;
  const auto found = functions_.find(name);
  if (found == functions_.end()) return actions;
  Function& function = *found->second;
  function.current = version;
  const std::vector<SlotId> idle = function.idle;
  for (const SlotId id : idle) {
    if (slots_.at(id).version == version) continue;
    Evict(id, actions,
          version == 0 ? "the function was removed" : "a newer version of the function is there");
  }
  return actions;
}

bool Scheduler::Cancel(TicketId ticket) {
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Waiting& w) { return w.ticket.id == ticket; });
  if (found == queue_.end()) return false;
  Function* function = found->function;
  --function->queued;
  queue_.erase(found);
  DropIfUnused(function);
  return true;
}

std::optional<uint64_t> Scheduler::next_expiry_ns() const {
  if (queue_.empty()) return std::nullopt;
  return queue_.front().ticket.now_ns + limits_.max_queue_ns;
}

// The queue is in the order of arrival and everyone may wait equally long.
Actions Scheduler::Expire(uint64_t now_ns) {
  Actions actions;
  while (!queue_.empty() && queue_.front().ticket.now_ns + limits_.max_queue_ns <= now_ns) {
    const Waiting& waiting = queue_.front();
    Function* function = waiting.function;
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = waiting.ticket.id,
                             .error = WaitedTooLongError(waiting.ticket, *function)});
    --function->queued;
    queue_.pop_front();
    DropIfUnused(function);
  }
  return actions;
}

uint32_t Scheduler::live_of(const std::string& function) const {
  const auto found = functions_.find(function);
  return found == functions_.end() ? 0 : found->second->live;
}

Error Scheduler::QueueFullError(const Ticket& ticket, Blocked blocked) const {
  std::string text = "overloaded: ";
  text += blocked == Blocked::kFunction
              ? "all " + std::to_string(ticket.max_instances) + " instances of " + ticket.function +
                    " are busy"
              : "all " + std::to_string(limits_.max_instances) + " instances of this host are busy";
  text += " and " + std::to_string(queue_.size()) + " invocations are waiting already (max-queue)";
  return Error{ErrorKind::kOverloaded, 0, std::move(text), {}, "try again later"};
}

Error Scheduler::WaitedTooLongError(const Ticket& ticket, const Function& function) const {
  const bool own = !ticket.function.empty() && function.live >= ticket.max_instances;
  std::string text = "overloaded: waited " + std::to_string(limits_.max_queue_ns / 1'000'000) +
                     " ms (max-queue-ms) for one of the ";
  text += own ? std::to_string(ticket.max_instances) + " instances of " + ticket.function +
                    " (limits.max_instances)"
              : std::to_string(limits_.max_instances) + " instances of this host (max-instances)";
  return Error{ErrorKind::kOverloaded, 0, std::move(text), {}, "try again later"};
}

}  // namespace spore
