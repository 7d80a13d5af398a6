// Events, policies and schedules on disk: <state>/async/events.db, an SQLite database with a
// write-ahead log that is synced with every commit (sqlite.org, "Write-Ahead Logging").
//
// Belongs to one thread: the lane of AsyncStore, once that is open. Whatever changes something is
// called between Begin and Commit, and is durable when Commit has returned.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "daemon/common/sqlite.h"
#include "sandbox/sys/result.h"
#include "spore/v1/async.pb.h"
#include "spore/v1/schedules.pb.h"

namespace spore {

// An event with all that the daemon knows of it. RUNNING is not on disk: such an event is WAITING.
struct StoredEvent {
  int64_t seq = 0;  // in the order of acceptance; never used twice
  int64_t backoff_ms = 0;
  std::string client_context;
  v1::AsyncEvent event;  // with payload; response as far as it is kept

  uint64_t held_bytes() const { return event.payload_bytes() + client_context.size(); }
};

// Which events: all that fit.
struct EventFilter {
  std::optional<uid_t> owner;
  std::string function;  // empty: of all
  std::vector<v1::AsyncEvent::State> states;
  int64_t before = INT64_MAX;  // seq
  uint32_t limit = 100;
};

// One that is no more.
struct ForgottenEvent {
  int64_t seq = 0;
  uid_t owner = 0;
  v1::AsyncEvent::State state = v1::AsyncEvent::STATE_UNSPECIFIED;
  uint64_t bytes = 0;  // that it held
};

class AsyncDisk {
 public:
  struct Options {
    std::string directory;
    uint32_t keep_results = 1000;                    // of DONE and FAILED, an owner
    std::function<void(const std::string&)> report;  // told at Open what had to be repaired
  };
  // A database that is damaged is renamed, with its log, to events.db.damaged-<time>, which is
  // reported, and an empty one made.
  static Result<std::unique_ptr<AsyncDisk>> Open(const Options& options);

  Result<> Begin();
  Result<> Commit();
  void Rollback();
  // A part of a transaction that can be undone by itself.
  Result<> BeginPart();
  Result<> EndPart(bool keep);
  bool in_transaction() const { return database_.in_transaction(); }

  // Sets the event's seq.
  Result<> Insert(StoredEvent* event);
  // Writes what an attempt changes: state, due, finished, attempts, response, error, condition,
  // note. What is DONE or FAILED keeps no payload. False: there is no such event any more.
  Result<bool> Update(const StoredEvent& event);
  // A dead letter that waits again. False: it is none.
  Result<bool> Revive(const StoredEvent& event);
  Result<std::optional<StoredEvent>> Load(int64_t seq);
  // By a unique prefix of its id. kNotFound, kInvalid when several fit.
  Result<StoredEvent> Find(const std::string& id_prefix, std::optional<uid_t> owner);
  // Without payloads and responses; the newest first.
  Result<std::vector<StoredEvent>> List(const EventFilter& filter);
  // Up to filter.limit; those of `but` stay.
  Result<std::vector<ForgottenEvent>> Forget(const EventFilter& filter,
                                             const std::unordered_set<int64_t>& but);
  // What was forgotten: one, or none if it was not there.
  Result<std::vector<ForgottenEvent>> ForgetOne(int64_t seq);
  // What finished before these times, a bounded number at once.
  Result<std::vector<ForgottenEvent>> Sweep(int64_t kept_since_ms, int64_t dead_since_ms);

  // Those that wait or are dead letters, without payloads.
  Result<std::vector<StoredEvent>> LoadLive();

  Result<std::vector<v1::AsyncPolicy>> LoadPolicies();
  Result<> PutPolicy(const v1::AsyncPolicy& policy);
  Result<> RemovePolicy(const std::string& function);
  Result<std::vector<v1::Schedule>> LoadSchedules();
  Result<> PutSchedule(const v1::Schedule& schedule);
  Result<> RemoveSchedule(const std::string& name);

 private:
  explicit AsyncDisk(const Options& options) : options_(options) {}
  Result<> OpenDatabase();
  Result<> MoveAside();
  // Prepared when first used, by its text, which is a literal.
  Result<Statement*> Use(const char* sql);
  Result<std::vector<StoredEvent>> ReadRows(Statement& statement, bool whole);
  static Result<std::vector<ForgottenEvent>> ReadForgotten(Statement& statement);
  Result<> TrimResults(uid_t owner);
  Result<std::vector<std::string>> ReadBlobs(const char* sql);

  Options options_;
  Database database_;
  std::map<const char*, Statement> statements_;  // after the database: destroyed first
  std::map<uid_t, uint32_t> results_;            // DONE and FAILED, at least so many, by owner
};

}  // namespace spore
