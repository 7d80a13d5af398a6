#include "daemon/events/async_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "daemon/common/unix_time.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr char kFile[] = "/events.db";
// What the schema below is; another number in the file is refused.
constexpr int kSchemaVersion = 2;
// Locks are not shared with another process, so no memory is either. The log is written back after
// some megabytes, and does not stay larger than 16. Debian's SQLite would overwrite all that is
// deleted, and so need room on the disk to make some.
constexpr char kSettings[] =
    "PRAGMA locking_mode=EXCLUSIVE;"
    "PRAGMA auto_vacuum=INCREMENTAL;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA wal_autocheckpoint=1000;"
    "PRAGMA journal_size_limit=16777216;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA secure_delete=FAST;"
    "PRAGMA cell_size_check=ON;"
    "PRAGMA cache_size=-8192;";
// The large columns stand last: rows are read without them. The states are those of async.proto.
constexpr char kSchema[] =
    "BEGIN;"
    "CREATE TABLE IF NOT EXISTS events("
    "seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL,"
    "function TEXT NOT NULL, state INTEGER NOT NULL, accepted INTEGER NOT NULL,"
    "due INTEGER NOT NULL, expires INTEGER NOT NULL, finished INTEGER NOT NULL DEFAULT 0,"
    "attempts INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER NOT NULL, backoff INTEGER NOT NULL,"
    "depth INTEGER NOT NULL, bytes INTEGER NOT NULL, response_bytes INTEGER NOT NULL DEFAULT 0,"
    "origin TEXT NOT NULL, condition TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '',"
    "qualifier TEXT NOT NULL DEFAULT '', executed TEXT NOT NULL DEFAULT '',"
    "error BLOB, response BLOB, context BLOB, payload BLOB);"
    "CREATE INDEX IF NOT EXISTS events_owner ON events(owner, seq);"
    "CREATE INDEX IF NOT EXISTS events_live ON events(state) WHERE state IN (1,5);"
    "CREATE INDEX IF NOT EXISTS events_kept ON events(owner, finished) WHERE state IN (3,4);"
    "CREATE INDEX IF NOT EXISTS events_finished ON events(finished) WHERE state>=3;"
    "CREATE TABLE IF NOT EXISTS policies(function TEXT PRIMARY KEY, policy BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS schedules(name TEXT PRIMARY KEY, schedule BLOB NOT NULL);"
    "PRAGMA user_version=2;"
    "COMMIT;";
// Of the first version, which knew of no qualifiers.
constexpr char kUpgrade1[] =
    "BEGIN;"
    "ALTER TABLE events ADD COLUMN qualifier TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE events ADD COLUMN executed TEXT NOT NULL DEFAULT '';"
    "PRAGMA user_version=2;"
    "COMMIT;";
#define EVENT_COLUMNS                                                                     \
  "seq, id, owner, function, state, accepted, due, expires, finished, attempts, "         \
  "max_attempts, backoff, depth, bytes, response_bytes, origin, condition, note, error, " \
  "qualifier, executed"
constexpr int kColumns = 21;
// A small database is read whole before it is trusted; a large one would take too long.
constexpr off_t kMostChecked = 256 << 20;

// Left free by what is accepted, so that what comes of it can be written down, and purged.
constexpr uint64_t kReserve = 8 << 20;

// `unused`: bytes of the database that hold nothing.
Result<> CheckRoom(const std::string& directory, uint64_t unused) {
  struct statvfs status {};
  if (statvfs(directory.c_str(), &status) != 0) return SysError("statvfs", directory);
  const uint64_t free = uint64_t{status.f_bavail} * status.f_frsize + unused;
  if (free >= kReserve) return {};
  return tl::unexpected(
      Error{ErrorKind::kOverloaded, ENOSPC,
            "events leave 8 MiB free, and there are " + std::to_string(free >> 10) + " KiB left in",
            directory, "make room on the disk of the daemon's state-dir"});
}

v1::AsyncEvent::State StateOf(int64_t number) {
  return v1::AsyncEvent::State_IsValid(static_cast<int>(number))
             ? static_cast<v1::AsyncEvent::State>(number)
             : v1::AsyncEvent::STATE_UNSPECIFIED;
}

std::string ErrorBytes(const v1::AsyncEvent& event) {
  return event.has_error() ? event.error().SerializeAsString() : std::string();
}

}  // namespace

Result<std::unique_ptr<AsyncDisk>> AsyncDisk::Open(const Options& options) {
  if (mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST)
    return SysError("make directory", options.directory);
  std::unique_ptr<AsyncDisk> disk(new AsyncDisk(options));
  auto opened = disk->OpenDatabase();
  if (!opened && opened.error().errno_value == EUCLEAN) {
    const std::string why = opened.error().operation;
    disk->statements_.clear();
    disk->database_ = Database();
    SPORE_TRY(disk->MoveAside());
    options.report("the database of events is damaged (" + why + "): it is now " +
                   options.directory + kFile + ".damaged-*; what had been accepted is in there, " +
                   "and spored starts with none");
    opened = disk->OpenDatabase();
  }
  if (!opened) return tl::unexpected(std::move(opened).error());
  return disk;
}

Result<> AsyncDisk::OpenDatabase() {
  const std::string path = options_.directory + kFile;
  SPORE_ASSIGN(database_, Database::Open(path));
  SPORE_TRY(database_.Execute(kSettings));
  SPORE_ASSIGN(Statement * version, Use("PRAGMA user_version"));
  SPORE_ASSIGN(const bool there, version->Step());
  const int64_t found = there ? version->Int(0) : 0;
  version->Reset();
  if (found > kSchemaVersion) {
    return MakeError(ErrorKind::kPrecondition,
                     path + " is of a newer spored (version " + std::to_string(found) + ")",
                     "start that one, or move the file away");
  }
  if (found == 1) SPORE_TRY(database_.Execute(kUpgrade1));
  SPORE_TRY(database_.Execute(kSchema));
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && status.st_size <= kMostChecked) {
    SPORE_ASSIGN(Statement * check, Use("PRAGMA quick_check(1)"));
    SPORE_ASSIGN(const bool row, check->Step());
    const std::string verdict = row ? check->Text(0) : std::string("no verdict");
    check->Reset();
    if (verdict != "ok") return SysErrorOf(EUCLEAN, "check database " + path + ": " + verdict);
  }
  results_.clear();
  SPORE_ASSIGN(Statement * counts,
               Use("SELECT owner, count(*) FROM events WHERE state IN (3,4) GROUP BY owner"));
  while (true) {
    SPORE_ASSIGN(const bool row, counts->Step());
    if (!row) break;
    results_[static_cast<uid_t>(counts->Int(0))] = static_cast<uint32_t>(counts->Int(1));
  }
  counts->Reset();
  return {};
}

Result<> AsyncDisk::MoveAside() {
  const std::string path = options_.directory + kFile;
  const std::string aside = path + ".damaged-" + std::to_string(NowUnixMs());
  for (const char* part : {"", "-wal", "-shm"}) {
    if (rename((path + part).c_str(), (aside + part).c_str()) != 0 && errno != ENOENT)
      return SysError("rename the damaged database", path + part);
  }
  const UniqueFd folder(open(options_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || fsync(folder.get()) != 0) return SysError("sync", options_.directory);
  return {};
}

Result<Statement*> AsyncDisk::Use(const char* sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) {
    found->second.Reset();  // of a use that an error has cut short
    return &found->second;
  }
  SPORE_ASSIGN(Statement made, database_.Prepare(sql));
  return &statements_.emplace(sql, std::move(made)).first->second;
}

Result<> AsyncDisk::Begin() {
  return database_.Execute("BEGIN IMMEDIATE");
}

Result<> AsyncDisk::Commit() {
  return database_.Execute("COMMIT");
}

void AsyncDisk::Rollback() {
  for (auto& [sql, statement] : statements_) statement.Reset();
  if (in_transaction()) (void)database_.Execute("ROLLBACK");
}

Result<> AsyncDisk::BeginPart() {
  return database_.Execute("SAVEPOINT part");
}

Result<> AsyncDisk::EndPart(bool keep) {
  if (!keep) SPORE_TRY(database_.Execute("ROLLBACK TO part"));
  return database_.Execute("RELEASE part");
}

Result<> AsyncDisk::Insert(StoredEvent* stored) {
  SPORE_ASSIGN(Statement * unused,
               Use("SELECT freelist_count * page_size FROM pragma_freelist_count, "
                   "pragma_page_size"));
  SPORE_ASSIGN(const bool known, unused->Step());
  const int64_t unused_bytes = known ? unused->Int(0) : 0;
  unused->Reset();
  SPORE_TRY(CheckRoom(options_.directory, static_cast<uint64_t>(unused_bytes)));
  SPORE_ASSIGN(Statement * insert,
               Use("INSERT INTO events(id, owner, function, state, accepted, due, expires, "
                   "max_attempts, backoff, depth, bytes, origin, context, payload, qualifier) "
                   "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)"));
  const v1::AsyncEvent& event = stored->event;
  insert->Bind(1, std::string_view(event.id()));
  insert->Bind(2, int64_t{event.owner_uid()});
  insert->Bind(3, std::string_view(event.function()));
  insert->Bind(4, int64_t{v1::AsyncEvent::WAITING});
  insert->Bind(5, event.accepted_unix_ms());
  insert->Bind(6, event.due_unix_ms());
  insert->Bind(7, event.expires_unix_ms());
  insert->Bind(8, int64_t{event.max_attempts()});
  insert->Bind(9, stored->backoff_ms);
  insert->Bind(10, int64_t{event.depth()});
  insert->Bind(11, static_cast<int64_t>(stored->held_bytes()));
  insert->Bind(12, std::string_view(event.origin()));
  insert->BindBlob(13, stored->client_context);
  insert->BindBlob(14, event.payload());
  insert->Bind(15, std::string_view(event.qualifier()));
  SPORE_TRY(insert->Run());
  stored->seq = database_.last_row();
  return {};
}

Result<bool> AsyncDisk::Update(const StoredEvent& stored) {
  SPORE_ASSIGN(Statement * update,
               Use("UPDATE events SET state=?2, due=?3, finished=?4, attempts=?5, response=?6, "
                   "response_bytes=?7, error=?8, condition=?9, note=?10, executed=?11, "
                   "payload=iif(?2 IN (3,4), NULL, payload), "
                   "context=iif(?2 IN (3,4), NULL, context) WHERE seq=?1"));
  const v1::AsyncEvent& event = stored.event;
  const std::string error = ErrorBytes(event);
  update->Bind(1, stored.seq);
  update->Bind(2, int64_t{event.state()});
  update->Bind(3, event.due_unix_ms());
  update->Bind(4, event.finished_unix_ms());
  update->Bind(5, int64_t{event.attempts()});
  update->BindBlob(6, event.response());
  update->Bind(7, static_cast<int64_t>(event.response_bytes()));
  update->BindBlob(8, error);
  update->Bind(9, std::string_view(event.condition()));
  update->Bind(10, std::string_view(event.note()));
  update->Bind(11, std::string_view(event.executed_version()));
  SPORE_TRY(update->Run());
  if (database_.changes() == 0) return false;
  if (event.state() == v1::AsyncEvent::DONE || event.state() == v1::AsyncEvent::FAILED)
    SPORE_TRY(TrimResults(event.owner_uid()));
  return true;
}

// A quarter more than are kept are there at most: so many go at once.
Result<> AsyncDisk::TrimResults(uid_t owner) {
  uint32_t& count = results_[owner];
  if (++count <= options_.keep_results + options_.keep_results / 4) return {};
  SPORE_ASSIGN(Statement * trim,
               Use("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE owner=?1 AND "
                   "state IN (3,4) ORDER BY finished DESC LIMIT -1 OFFSET ?2)"));
  trim->Bind(1, int64_t{owner});
  trim->Bind(2, int64_t{options_.keep_results});
  SPORE_TRY(trim->Run());
  count = options_.keep_results;
  return {};
}

Result<bool> AsyncDisk::Revive(const StoredEvent& stored) {
  SPORE_ASSIGN(Statement * update,
               Use("UPDATE events SET state=1, accepted=?2, due=?2, expires=?3, finished=0, "
                   "attempts=0, max_attempts=?4, backoff=?5, condition='', note='' "
                   "WHERE seq=?1 AND state=5"));
  update->Bind(1, stored.seq);
  update->Bind(2, stored.event.accepted_unix_ms());
  update->Bind(3, stored.event.expires_unix_ms());
  update->Bind(4, int64_t{stored.event.max_attempts()});
  update->Bind(5, stored.backoff_ms);
  SPORE_TRY(update->Run());
  return database_.changes() > 0;
}

Result<std::vector<StoredEvent>> AsyncDisk::ReadRows(Statement& statement, bool whole) {
  std::vector<StoredEvent> rows;
  while (true) {
    SPORE_ASSIGN(const bool row, statement.Step());
    if (!row) break;
    StoredEvent& stored = rows.emplace_back();
    v1::AsyncEvent& event = stored.event;
    stored.seq = statement.Int(0);
    event.set_id(statement.Text(1));
    event.set_owner_uid(static_cast<uint32_t>(statement.Int(2)));
    event.set_function(statement.Text(3));
    event.set_state(StateOf(statement.Int(4)));
    event.set_accepted_unix_ms(statement.Int(5));
    event.set_due_unix_ms(statement.Int(6));
    event.set_expires_unix_ms(statement.Int(7));
    event.set_finished_unix_ms(statement.Int(8));
    event.set_attempts(static_cast<uint32_t>(statement.Int(9)));
    event.set_max_attempts(static_cast<uint32_t>(statement.Int(10)));
    stored.backoff_ms = statement.Int(11);
    event.set_depth(static_cast<uint32_t>(statement.Int(12)));
    event.set_payload_bytes(static_cast<uint64_t>(statement.Int(13)));
    event.set_response_bytes(static_cast<uint64_t>(statement.Int(14)));
    event.set_origin(statement.Text(15));
    event.set_condition(statement.Text(16));
    event.set_note(statement.Text(17));
    const std::string error = statement.Text(18);
    if (!error.empty()) (void)event.mutable_error()->ParseFromString(error);
    event.set_qualifier(statement.Text(19));
    event.set_executed_version(statement.Text(20));
    if (!whole) continue;
    event.set_response(statement.Text(kColumns));
    stored.client_context = statement.Text(kColumns + 1);
    event.set_payload(statement.Text(kColumns + 2));
    event.set_payload_bytes(event.payload_bytes() - stored.client_context.size());
  }
  statement.Reset();
  return rows;
}

Result<std::optional<StoredEvent>> AsyncDisk::Load(int64_t seq) {
  SPORE_ASSIGN(Statement * select, Use("SELECT " EVENT_COLUMNS
                                       ", response, context, payload FROM events WHERE seq=?1"));
  select->Bind(1, seq);
  SPORE_ASSIGN(std::vector<StoredEvent> rows, ReadRows(*select, /*whole=*/true));
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

Result<StoredEvent> AsyncDisk::Find(const std::string& prefix, std::optional<uid_t> owner) {
  // "g" is beyond every digit of an id.
  SPORE_ASSIGN(Statement * select,
               Use("SELECT " EVENT_COLUMNS
                   ", response, context, payload FROM events WHERE id>=?1 AND id<?1||'g' AND "
                   "(?2 IS NULL OR owner=?2) LIMIT 2"));
  select->Bind(1, std::string_view(prefix));
  if (owner) {
    select->Bind(2, int64_t{*owner});
  } else {
    select->BindNull(2);
  }
  SPORE_ASSIGN(std::vector<StoredEvent> rows, ReadRows(*select, /*whole=*/true));
  if (rows.empty() || prefix.empty())
    return MakeError(ErrorKind::kNotFound, "no event \"" + prefix.substr(0, 64) + "\"");
  if (rows.size() == 1) return std::move(rows.front());
  return MakeError(ErrorKind::kInvalid, "id: \"" + prefix +
                                            "\" is not unique: " + rows[0].event.id() + ", " +
                                            rows[1].event.id() + ", ..");
}

namespace {

// The states as bits, for SQL to test.
int64_t StateBits(const std::vector<v1::AsyncEvent::State>& states) {
  int64_t bits = 0;
  for (const v1::AsyncEvent::State state : states) bits |= int64_t{1} << state;
  return bits == 0 ? -1 : bits;
}

void BindFilter(Statement& statement, const EventFilter& filter) {
  if (filter.owner) {
    statement.Bind(1, int64_t{*filter.owner});
  } else {
    statement.BindNull(1);
  }
  statement.Bind(2, std::string_view(filter.function));
  statement.Bind(3, StateBits(filter.states));
  statement.Bind(4, filter.before);
  statement.Bind(5, int64_t{filter.limit});
}

}  // namespace

// Two queries: with the owner given the planner is to use its index.
#define EVENT_FILTER \
  "(?2='' OR function=?2) AND (?3 & (1 << state)) != 0 AND seq<?4 ORDER BY seq DESC LIMIT ?5"

Result<std::vector<StoredEvent>> AsyncDisk::List(const EventFilter& filter) {
  const char* sql = filter.owner
                        ? "SELECT " EVENT_COLUMNS " FROM events WHERE owner=?1 AND " EVENT_FILTER
                        : "SELECT " EVENT_COLUMNS " FROM events WHERE ?1 IS NULL AND " EVENT_FILTER;
  SPORE_ASSIGN(Statement * select, Use(sql));
  BindFilter(*select, filter);
  return ReadRows(*select, /*whole=*/false);
}

Result<std::vector<ForgottenEvent>> AsyncDisk::Forget(const EventFilter& filter,
                                                      const std::unordered_set<int64_t>& but) {
  SPORE_ASSIGN(const std::vector<StoredEvent> rows, List(filter));
  std::vector<ForgottenEvent> forgotten;
  for (const StoredEvent& row : rows) {
    if (but.contains(row.seq)) continue;
    SPORE_ASSIGN(const std::vector<ForgottenEvent> one, ForgetOne(row.seq));
    forgotten.insert(forgotten.end(), one.begin(), one.end());
  }
  return forgotten;
}

Result<std::vector<ForgottenEvent>> AsyncDisk::ForgetOne(int64_t seq) {
  SPORE_ASSIGN(Statement * remove,
               Use("DELETE FROM events WHERE seq=?1 RETURNING seq, owner, state, bytes"));
  remove->Bind(1, seq);
  return ReadForgotten(*remove);
}

Result<std::vector<ForgottenEvent>> AsyncDisk::ReadForgotten(Statement& statement) {
  std::vector<ForgottenEvent> forgotten;
  while (true) {
    SPORE_ASSIGN(const bool row, statement.Step());
    if (!row) break;
    forgotten.push_back({statement.Int(0), static_cast<uid_t>(statement.Int(1)),
                         StateOf(statement.Int(2)), static_cast<uint64_t>(statement.Int(3))});
  }
  statement.Reset();
  return forgotten;
}

Result<std::vector<ForgottenEvent>> AsyncDisk::Sweep(int64_t kept_since_ms, int64_t dead_since_ms) {
  SPORE_ASSIGN(Statement * sweep,
               Use("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE state>=3 AND "
                   "finished<max(?1,?2) AND finished<iif(state=5,?2,?1) LIMIT 1000) "
                   "RETURNING seq, owner, state, bytes"));
  sweep->Bind(1, kept_since_ms);
  sweep->Bind(2, dead_since_ms);
  auto swept = ReadForgotten(*sweep);
  // Gives pages back to the file system, not too many at once.
  SPORE_TRY(database_.Execute("PRAGMA incremental_vacuum(1000)"));
  return swept;
}

Result<std::vector<StoredEvent>> AsyncDisk::LoadLive() {
  SPORE_ASSIGN(Statement * select,
               Use("SELECT " EVENT_COLUMNS " FROM events WHERE state IN (1,5) ORDER BY seq"));
  return ReadRows(*select, /*whole=*/false);
}

}  // namespace spore
