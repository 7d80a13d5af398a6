#include "daemon/instances/scheduler.h"

#include <algorithm>
#include <utility>

namespace spore {

Scheduler::Function& Scheduler::FunctionOf(const std::string& name) {
  auto& function = functions_[name];
  if (!function) {
    function = std::make_unique<Function>();
    function->name = name;
  }
  return *function;
}

Scheduler::Client& Scheduler::ClientOf(uid_t uid) {
  auto& client = clients_[uid];
  if (!client) {
    client = std::make_unique<Client>();
    client->uid = uid;
  }
  return *client;
}

void Scheduler::DropIfUnused(Function* function, Client* client) {
  if (function->live == 0 && function->queued == 0 && function->reserved.empty())
    functions_.erase(std::string(function->name));
  if (client->live == 0 && client->queued == 0) clients_.erase(uid_t{client->uid});
}

bool Scheduler::AtItsLimit(const Client& client) const {
  return client.uid != 0 && client.live >= limits_.client_instances;
}

Actions Scheduler::Submit(Ticket ticket) {
  Actions actions;
  // The limit may have changed while it was placed.
  if (const auto found = functions_.find(ticket.function);
      ticket.again && !ticket.function.empty() && found != functions_.end())
    ticket.max_instances = found->second->max_instances;
  if (!ticket.function.empty() && ticket.max_instances == 0) {
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = ticket.id,
                             .error = NoInstancesError(ticket.function)});
    return actions;
  }
  Function& function = FunctionOf(ticket.function);
  function.max_instances = ticket.max_instances;
  Client& client = ClientOf(ticket.client);
  const Blocked blocked = TryPlace(ticket, function, client, actions);
  if (blocked == Blocked::kNo) return actions;
  if (!MayWait(ticket, client)) {
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = ticket.id,
                             .error = QueueFullError(ticket, client, blocked)});
    DropIfUnused(&function, &client);
    return actions;
  }
  Enqueue(std::move(ticket), function, client);
  MakeRoom(actions);
  return actions;
}

bool Scheduler::HasRoom(const Ticket& ticket) const {
  const auto function = functions_.find(ticket.function);
  if (function != functions_.end()) {
    if (function->second->queued > 0) return false;
    if (FindIdle(ticket, *function->second)) return true;
    if (function->second->live >= ticket.max_instances) return !function->second->idle.empty();
  }
  const auto client = clients_.find(ticket.client);
  if (client != clients_.end() && AtItsLimit(*client->second))
    return client->second->queued == 0 && OldestToEvict(client->second->idle_by_age).has_value();
  if (slots_.size() < limits_.max_instances) return true;
  return queue_.empty() && OldestToEvict(idle_by_age_).has_value();
}

// Expire relies on the order: what goes to the front has not come later than what stands there.
void Scheduler::Enqueue(Ticket ticket, Function& function, Client& client) {
  ++function.queued;
  ++client.queued;
  if (!ticket.again) {
    queue_.push_back({std::move(ticket), &function, &client});
    return;
  }
  if (!queue_.empty()) ticket.now_ns = std::min(ticket.now_ns, queue_.front().ticket.now_ns);
  queue_.push_front({std::move(ticket), &function, &client});
}

std::list<Scheduler::Waiting>::iterator Scheduler::Dequeue(std::list<Waiting>::iterator waiting) {
  --waiting->function->queued;
  --waiting->client->queued;
  return queue_.erase(waiting);
}

bool Scheduler::MayWait(const Ticket& ticket, const Client& client) const {
  if (ticket.again) return true;
  if (client.uid != 0 && client.queued >= limits_.client_queue) return false;
  return queue_.size() < limits_.max_queue;
}

Scheduler::Blocked Scheduler::TryPlace(const Ticket& ticket, Function& function, Client& client,
                                       Actions& actions) {
  if (const auto idle = FindIdle(ticket, function)) {
    Slot& slot = slots_.at(*idle);
    TakeFromIdle(*idle, slot);
    slot.state = State::kBusy;
    const bool fresh = !std::exchange(slot.used, true);
    actions.push_back(Action{.kind = Action::Kind::kReuse,
                             .slot = *idle,
                             .ticket = ticket.id,
                             .reason = fresh ? "an instance that had loaded this version ahead"
                                             : "an idle instance of this version was there"});
    return Blocked::kNo;
  }
  // Runs have no function and no limit but their client's and the host's.
  if (!ticket.function.empty() && function.live >= ticket.max_instances) return Blocked::kFunction;
  if (AtItsLimit(client)) return Blocked::kClient;
  if (slots_.size() >= limits_.max_instances) return Blocked::kHost;
  const SlotId id = AddSlot(function, client, ticket.version, /*used=*/true);
  std::string reason = "no idle instance of this version";
  if (!ticket.reuse) reason = "a sandbox of its own for every invocation";
  if (ticket.function.empty()) reason = "a sandbox of its own for every run";
  actions.push_back(Action{
      .kind = Action::Kind::kStart, .slot = id, .ticket = ticket.id, .reason = std::move(reason)});
  return Blocked::kNo;
}

SlotId Scheduler::AddSlot(Function& function, Client& client, uint64_t version, bool used) {
  const SlotId id = next_slot_++;
  slots_[id] = Slot{&function, &client, version, State::kBusy, 0, used};
  ++function.live;
  ++client.live;
  if (Reserved* reserved = ReservedOf(slots_.at(id))) ++reserved->live;
  return id;
}

// The one that was used last. Where each invocation has its own, only what nobody has used.
std::optional<SlotId> Scheduler::FindIdle(const Ticket& ticket, const Function& function) const {
  if (ticket.fresh) return std::nullopt;
  for (auto idle = function.idle.rbegin(); idle != function.idle.rend(); ++idle) {
    const Slot& slot = slots_.at(*idle);
    if (slot.version == ticket.version && (ticket.reuse || !slot.used)) return *idle;
  }
  return std::nullopt;
}

void Scheduler::PlaceQueued(Actions& actions) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    Function& function = *it->function;
    const bool host_full = slots_.size() >= limits_.max_instances;
    if ((host_full && function.idle.empty()) ||
        TryPlace(it->ticket, function, *it->client, actions) != Blocked::kNo) {
      ++it;
      continue;
    }
    it = Dequeue(it);
  }
  MakeRoom(actions);
}

// The one of its own function that has been idle longest. What is reserved of other versions that
// are in force stays: they have been promised it.
std::optional<SlotId> Scheduler::IdleInTheWay(const Waiting& waiting) const {
  const Function& function = *waiting.function;
  const auto in_force = [&](uint64_t version) {
    return std::find(function.versions.begin(), function.versions.end(), version) !=
           function.versions.end();
  };
  for (const SlotId id : function.idle) {
    const Slot& slot = slots_.at(id);
    const bool promised = IsReserved(slot) && slot.version != waiting.ticket.version &&
                          in_force(waiting.ticket.version);
    if (!promised) return id;
  }
  return std::nullopt;
}

// Evicts idle instances that stand in the way of those who wait: other versions of a function at
// its own limit, anything of a client at its limit, anything that has been idle longest at the
// host's. One for each that waits, less those that are on their way out already.
void Scheduler::MakeRoom(Actions& actions) {
  size_t wait_for_host = 0;
  for (const Waiting& waiting : queue_) {
    Function& function = *waiting.function;
    Client& client = *waiting.client;
    if (waiting.ticket.function.empty() || function.live < waiting.ticket.max_instances) {
      if (!AtItsLimit(client)) {
        ++wait_for_host;
      } else if (client.dying < client.queued) {
        if (const auto oldest = OldestToEvict(client.idle_by_age))
          Evict(*oldest, actions, "the limit of instances of its client is reached");
      }
      continue;
    }
    if (function.dying >= function.queued) continue;
    if (const auto idle = IdleInTheWay(waiting))
      Evict(*idle, actions, "another version of the function is wanted");
  }
  if (slots_.size() < limits_.max_instances) return;
  while (dying_ < wait_for_host) {
    const auto oldest = OldestToEvict(idle_by_age_);
    if (!oldest) return;
    Evict(*oldest, actions, "the host's limit of instances is reached");
  }
}

void Scheduler::TakeFromIdle(SlotId id, Slot& slot) {
  std::erase(slot.function->idle, id);
  slot.client->idle_by_age.erase(slot.idle_order);
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
  if (Reserved* reserved = ReservedOf(slot); reserved != nullptr && !slot.used) {
    --reserved->preparing;
    reserved->failures = 0;
  }
  slot.idle_order = next_idle_order_++;
  slot.function->idle.push_back(id);
  slot.client->idle_by_age[slot.idle_order] = id;
  idle_by_age_[slot.idle_order] = id;
  EvictBeyondLimit(*slot.function, actions);
  PlaceQueued(actions);
  const std::vector<uint64_t>& versions = slot.function->versions;
  if (slot.state == State::kIdle && !versions.empty() &&
      std::find(versions.begin(), versions.end(), slot.version) == versions.end()) {
    Evict(id, actions, "a newer version of the function is there");
  }
  return actions;
}

void Scheduler::SlotDying(SlotId id) {
  const auto found = slots_.find(id);
  if (found == slots_.end() || found->second.state == State::kDying) return;
  Slot& slot = found->second;
  if (slot.state == State::kIdle) TakeFromIdle(id, slot);
  if (Reserved* reserved = ReservedOf(slot)) {
    --reserved->live;
    if (slot.state == State::kBusy && !slot.used) --reserved->preparing;
  }
  slot.state = State::kDying;
  ++slot.function->dying;
  ++slot.client->dying;
  ++dying_;
}

Actions Scheduler::SlotGone(SlotId id) {
  Actions actions;
  SlotDying(id);
  const auto found = slots_.find(id);
  if (found == slots_.end()) return actions;
  Function* function = found->second.function;
  Client* client = found->second.client;
  --function->live;
  --function->dying;
  --client->live;
  --client->dying;
  --dying_;
  slots_.erase(found);
  if (!queue_.empty()) PlaceQueued(actions);
  DropIfUnused(function, client);
  return actions;
}

Actions Scheduler::Replace(const std::string& name, std::vector<uint64_t> versions) {
  Actions actions;
  const auto found = functions_.find(name);
  if (found == functions_.end()) return actions;
  Function& function = *found->second;
  const bool removed = versions.empty();
  const std::vector<SlotId> idle = function.idle;
  for (const SlotId id : idle) {
    const uint64_t version = slots_.at(id).version;
    if (std::find(versions.begin(), versions.end(), version) != versions.end()) continue;
    Evict(id, actions,
          removed ? "the function was removed" : "a newer version of the function is there");
  }
  function.versions = std::move(versions);
  return actions;
}

Actions Scheduler::SetLimit(const std::string& name, uint32_t max_instances) {
  Actions actions;
  const auto found = functions_.find(name);
  if (found == functions_.end()) return actions;
  Function& function = *found->second;
  function.max_instances = max_instances;
  for (auto& [version, reserved] : function.reserved)
    reserved.reserve.max_instances = max_instances;
  for (Waiting& waiting : queue_) {
    if (waiting.function == &function) waiting.ticket.max_instances = max_instances;
  }
  EvictBeyondLimit(function, actions);
  if (max_instances == 0) RefuseWaiting(function, actions);
  if (function.live == 0 && function.queued == 0 && function.reserved.empty())
    functions_.erase(found);
  if (!queue_.empty()) PlaceQueued(actions);
  return actions;
}

// What nobody has reserved first.
void Scheduler::EvictBeyondLimit(Function& function, Actions& actions) {
  if (function.name.empty() || function.live - function.dying <= function.max_instances) return;
  std::vector<SlotId> idle = function.idle;
  std::stable_partition(idle.begin(), idle.end(),
                        [this](SlotId id) { return !IsReserved(slots_.at(id)); });
  for (const SlotId id : idle) {
    if (function.live - function.dying <= function.max_instances) return;
    Evict(id, actions, "the function may have fewer instances now");
  }
}

void Scheduler::RefuseWaiting(Function& function, Actions& actions) {
  for (auto it = queue_.begin(); it != queue_.end();) {
    if (it->function != &function) {
      ++it;
      continue;
    }
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = it->ticket.id,
                             .error = NoInstancesError(function.name)});
    Client* client = it->client;
    it = Dequeue(it);
    if (client->live == 0 && client->queued == 0) clients_.erase(uid_t{client->uid});
  }
}

bool Scheduler::Cancel(TicketId ticket) {
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Waiting& w) { return w.ticket.id == ticket; });
  if (found == queue_.end()) return false;
  Function* function = found->function;
  Client* client = found->client;
  Dequeue(found);
  DropIfUnused(function, client);
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
    Client* client = waiting.client;
    actions.push_back(Action{.kind = Action::Kind::kRefuse,
                             .ticket = waiting.ticket.id,
                             .error = WaitedTooLongError(waiting)});
    Dequeue(queue_.begin());
    DropIfUnused(function, client);
  }
  return actions;
}

uint32_t Scheduler::live_of(const std::string& function) const {
  const auto found = functions_.find(function);
  return found == functions_.end() ? 0 : found->second->live;
}

// The first word of each tells a program which kind it is (spore.proto).
Error Scheduler::NoInstancesError(const std::string& function) const {
  return Error{ErrorKind::kOverloaded,
               0,
               "throttled: function " + function + " may have no instances: its concurrency is 0",
               {},
               "`spore function concurrency " + function + " N` lets it run again"};
}

Error Scheduler::QueueFullError(const Ticket& ticket, const Client& client, Blocked blocked) const {
  std::string text = blocked == Blocked::kFunction ? "throttled: all " : "overloaded: all ";
  const std::string uid = "uid " + std::to_string(client.uid);
  if (blocked == Blocked::kFunction) {
    text += std::to_string(ticket.max_instances) + " instances of " + ticket.function;
  } else if (blocked == Blocked::kClient) {
    text += std::to_string(client.live) + " instances that " + uid +
            " may have (limits-per-client.max-instances)";
  } else {
    text += std::to_string(limits_.max_instances) + " instances of this host";
  }
  text += " are busy and ";
  if (client.uid != 0 && client.queued >= limits_.client_queue) {
    text += std::to_string(client.queued) + " invocations of " + uid +
            " are waiting already (limits-per-client.max-queue)";
  } else {
    text += std::to_string(queue_.size()) + " invocations are waiting already (max-queue)";
  }
  return Error{ErrorKind::kOverloaded, 0, std::move(text), {}, "try again later"};
}

Error Scheduler::WaitedTooLongError(const Waiting& waiting) const {
  const Ticket& ticket = waiting.ticket;
  const bool throttled = !ticket.function.empty() && waiting.function->live >= ticket.max_instances;
  std::string text = throttled ? "throttled: waited " : "overloaded: waited ";
  text += std::to_string(limits_.max_queue_ns / 1'000'000) + " ms (max-queue-ms) for one of the ";
  if (throttled) {
    text += std::to_string(ticket.max_instances) + " instances of " + ticket.function +
            " (limits.max_instances)";
  } else if (AtItsLimit(*waiting.client)) {
    text += std::to_string(limits_.client_instances) + " instances of uid " +
            std::to_string(ticket.client) + " (limits-per-client.max-instances)";
  } else {
    text += std::to_string(limits_.max_instances) + " instances of this host (max-instances)";
  }
  return Error{ErrorKind::kOverloaded, 0, std::move(text), {}, "try again later"};
}

}  // namespace spore
