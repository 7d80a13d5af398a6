// What comes of attempts, and of events that get none any more.
#include <algorithm>
#include <chrono>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/unix_time.h"
#include "daemon/events/async_ending.h"
#include "daemon/events/async_record.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr size_t kMostKept = 64u << 10;  // of a response, of an error
constexpr size_t kMostMessage = 4096;
constexpr uint32_t kMostDepth = 8;
constexpr uint64_t kRecordBytes = 4096;  // of a destination's record, beside payload and response
constexpr auto kRecordAgain = std::chrono::seconds(1);

v1::FunctionError Bounded(v1::FunctionError error) {
  if (error.ByteSizeLong() <= kMostKept) return error;
  error.clear_stack_trace();
  if (error.message().size() > kMostMessage) {
    // What is cut off must leave text that protobuf takes.
    size_t length = kMostMessage;
    while (length > 0 && (static_cast<unsigned char>(error.message()[length]) & 0xc0) == 0x80)
      --length;
    error.mutable_message()->resize(length);
  }
  return error;
}

}  // namespace

AttemptFacts::Kind AsyncDispatcher::KindOf(const AsyncTicket& ticket,
                                           const WorkResult& result) const {
  using Kind = AttemptFacts::Kind;
  if (!result.refused && !result.error) return Kind::kSucceeded;
  const bool daemon = result.error && result.error->death().cause() == v1::Death::DAEMON;
  if (stopping_ && (daemon || (result.refused && result.refused->kind == ErrorKind::kUnavailable)))
    return Kind::kInterrupted;
  if (const auto version = VersionFor(ticket);
      !version && version.error().kind == ErrorKind::kNotFound) {
    return Kind::kRemoved;
  }
  if (daemon) return Kind::kPostponed;  // its zygote died
  if (result.error) return Kind::kFailed;
  return result.refused->kind == ErrorKind::kInvalid ? Kind::kRefused : Kind::kPostponed;
}

void AsyncDispatcher::Answered(int64_t seq, const WorkResult& result) {
  (void)FaultPoint("async-answered");
  Conclude(seq, KindOf(flights_.at(seq).ticket, result), result);
}

void AsyncDispatcher::Conclude(int64_t seq, AttemptFacts::Kind kind, const WorkResult& result) {
  const Flight& flight = flights_.at(seq);
  AttemptFacts facts;
  facts.kind = kind;
  facts.postponed = flight.ticket.postponed;
  facts.now_ms = static_cast<int64_t>(MonotonicNs() / 1'000'000);
  facts.expires_ms = flight.ticket.expires_ms;
  if (flight.event) {
    facts.attempts = flight.event->event.attempts();
    facts.max_attempts = flight.event->event.max_attempts();
    facts.backoff_ms = flight.event->backoff_ms;
  }
  const AttemptVerdict verdict = Judge(facts);
  if (verdict.kind == AttemptVerdict::Kind::kLeave) return Land(seq);
  const bool again = verdict.kind == AttemptVerdict::Kind::kAgain;
  if (again && kind == AttemptFacts::Kind::kPostponed) return Postpone(seq, verdict);

  auto ending = std::make_shared<Ending>();
  ending->seq = seq;
  ending->owner = flight.ticket.owner;
  ending->event = flight.event;
  ending->attempted = kind == AttemptFacts::Kind::kSucceeded || kind == AttemptFacts::Kind::kFailed;
  v1::AsyncEvent& change = ending->change;
  const int64_t now = NowUnixMs();
  change.set_function(flight.ticket.function);
  change.set_attempts(verdict.attempts);
  change.set_executed_version(flight.executed_version);
  change.set_condition(verdict.condition);
  if (result.error) *change.mutable_error() = Bounded(*result.error);
  if (result.refused) change.set_note(result.refused->Message());
  ending->response = result.payload;
  if (again) {
    change.set_state(v1::AsyncEvent::WAITING);
    change.set_due_unix_ms(now + verdict.due_ms - facts.now_ms);
  } else {
    change.set_state(verdict.kind == AttemptVerdict::Kind::kDone ? v1::AsyncEvent::DONE
                                                                 : v1::AsyncEvent::FAILED);
    change.set_finished_unix_ms(now);
    ChooseDestination(*ending);
  }
  Record(ending);
}

// Not written down: a daemon that starts again tries at once.
void AsyncDispatcher::Postpone(int64_t seq, const AttemptVerdict& verdict) {
  ++stats_.postponed;
  const Flight& flight = flights_.at(seq);
  AsyncTicket ticket = flight.ticket;
  ticket.due_ms = verdict.due_ms;
  ++ticket.postponed;
  // Its payload may be with the work that was refused.
  if (flight.event && flight.event->event.payload().size() == flight.event->event.payload_bytes())
    Cache(flight.event);
  queue_.Add(std::move(ticket));
  Land(seq);
}

void AsyncDispatcher::ChooseDestination(Ending& ending) {
  v1::AsyncEvent& change = ending.change;
  const v1::AsyncPolicy policy = PolicyOf(change.function());
  const bool failed = change.state() == v1::AsyncEvent::FAILED;
  const std::string& name = failed ? policy.on_failure() : policy.on_success();
  if (failed && name == "none") return;
  if (name.empty()) {
    if (failed) change.set_state(v1::AsyncEvent::DEAD);
    return;
  }
  std::string refusal;
  const VersionPtr destination = parts_.functions.Find(name);
  const AsyncTicket& ticket = flights_.at(ending.seq).ticket;
  const uint32_t depth = ticket.depth;
  const uint64_t bytes =
      ticket.bytes + ending.response.size() + change.error().ByteSizeLong() * 2 + kRecordBytes;
  if (!destination || destination->function.owner_uid() != ending.owner) {
    refusal = "there is no function \"" + name + "\"";
  } else if (depth >= kMostDepth) {
    refusal = std::to_string(depth) + " events have led to this one already";
  } else if (auto room = quota_.Take(ending.owner, bytes); !room) {
    refusal = room.error().Message();
  }
  if (refusal.empty()) {
    ending.destination = destination;
    ending.destination_policy = PolicyOf(name);
    ending.reserved = bytes;
    return;
  }
  if (failed) change.set_state(v1::AsyncEvent::DEAD);
  change.set_note(change.note() + (change.note().empty() ? "" : "; ") + "its destination " + name +
                  " was not told: " + refusal);
}

void AsyncDispatcher::Record(const std::shared_ptr<Ending>& ending) {
  const auto record = [ending, now = NowUnixMs()](AsyncDisk& disk) -> Result<> {
    // The payload is only there.
    SPORE_ASSIGN(std::optional<StoredEvent> stored, disk.Load(ending->seq));
    ending->existed = stored.has_value();
    if (!stored) return {};
    ending->bytes = stored->held_bytes();
    v1::AsyncEvent& event = stored->event;
    const v1::AsyncEvent& change = ending->change;
    event.set_state(change.state());
    event.set_finished_unix_ms(change.finished_unix_ms());
    event.set_condition(change.condition());
    event.set_note(change.note());
    if (change.due_unix_ms() != 0) event.set_due_unix_ms(change.due_unix_ms());
    if (ending->attempted) {
      event.set_attempts(change.attempts());
      event.set_executed_version(change.executed_version());
      event.set_response_bytes(ending->response.size());
      event.clear_error();
      if (change.has_error()) *event.mutable_error() = change.error();
    }
    if (ending->destination) {
      const v1::Function& function = ending->destination->function;
      ending->record = std::make_shared<StoredEvent>(MakeEvent(
          function, ending->destination_policy,
          InvocationRecord(
              event, ending->response, now,
              std::min<uint64_t>(function.settings().limits().payload_bytes(), ending->reserved)),
          now));
      ending->record->event.set_depth(event.depth() + 1);
      ending->record->event.set_origin("event " + event.id());
      SPORE_TRY(disk.Insert(ending->record.get()));
    }
    if (ending->attempted)
      event.set_response(ending->response.size() <= kMostKept ? ending->response : std::string());
    SPORE_TRY(disk.Update(*stored));
    stored->event.clear_payload();
    ending->event = std::make_shared<StoredEvent>(std::move(*stored));
    return {};
  };
  parts_.store.Submit(AsyncStore::Kind::kRecord, record, [this, ending](const Result<>& recorded) {
    if (recorded) {
      record_failed_ = false;
      return Recorded(*ending);
    }
    // It stays in flight until it can be recorded: it must not be carried out again for that.
    if (!std::exchange(record_failed_, true)) {
      Log(LogLevel::kError,
          "what came of an event cannot be recorded, and is tried again until it can: " +
              recorded.error().Message());
    }
    parts_.loop.AddTimer(kRecordAgain, [this, ending] { Record(ending); });
  });
}

void AsyncDispatcher::Recorded(Ending& ending) {
  const v1::AsyncEvent& event = ending.change;
  if (ending.reserved > 0) {
    quota_.Return(ending.owner, ending.reserved);
    if (ending.existed) {
      quota_.TakeAnyway(ending.owner, ending.record->held_bytes());
      ++stats_.accepted;
      Enqueue(*ending.record);
      Cache(ending.record);
    }
  }
  if (!ending.existed) return Land(ending.seq);  // it was purged meanwhile
  const StoredEvent& stored = *ending.event;
  switch (event.state()) {
    case v1::AsyncEvent::DONE:
      ++stats_.done;
      quota_.Return(ending.owner, ending.bytes);
      break;
    case v1::AsyncEvent::DEAD:
      ++dead_;
      ++stats_.dead_lettered;
      ++stats_.failed;
      Tell(stored, "given up (" + event.condition() + ") after " +
                       std::to_string(stored.event.attempts()) +
                       " attempts, now a dead letter: spore async show " + stored.event.id());
      break;
    case v1::AsyncEvent::FAILED:
      ++stats_.failed;
      quota_.Return(ending.owner, ending.bytes);
      Tell(stored, "given up (" + event.condition() + ") after " +
                       std::to_string(stored.event.attempts()) + " attempts");
      break;
    default:
      ++stats_.retried;
      Enqueue(stored);
  }
  Land(ending.seq);
}

// In the function's log, for its owner.
void AsyncDispatcher::Tell(const StoredEvent& stored, const std::string& text) {
  if (!parts_.functions.Find(stored.event.function())) return;
  parts_.logs.Append(stored.event.function(), "", v1::LogLine::SYSTEM,
                     "ASYNC RequestId: " + stored.event.id() + " " + text);
}

}  // namespace spore
