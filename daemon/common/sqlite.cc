#include "daemon/common/sqlite.h"

#include <cerrno>

namespace spore {

tl::unexpected<Error> SqliteError(sqlite3* database, std::string_view doing) {
  const int code = database == nullptr ? SQLITE_NOMEM : sqlite3_errcode(database);
  const int os_error = database == nullptr ? 0 : sqlite3_system_errno(database);
  Error error;
  error.operation = std::string(doing) + ": " +
                    (database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database));
  if (code == SQLITE_FULL || os_error == ENOSPC || os_error == EDQUOT) {
    error.kind = ErrorKind::kOverloaded;
    error.errno_value = os_error == EDQUOT ? EDQUOT : ENOSPC;
    error.hint = "make room on the disk of the daemon's state-dir";
  } else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
    error.errno_value = EUCLEAN;
    error.hint = "a restart of spored moves a damaged database aside";
  } else {
    error.errno_value = os_error;
  }
  return tl::unexpected(std::move(error));
}

void Statement::Bind(int index, std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.data() == nullptr ? "" : text.data();
  Note(sqlite3_bind_text64(statement_.get(), index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Statement::BindBlob(int index, std::string_view bytes) {
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  Note(sqlite3_bind_blob64(statement_.get(), index, data, bytes.size(), SQLITE_STATIC));
}

Result<bool> Statement::Step() {
  if (bind_error_ != SQLITE_OK) {
    return MakeError(ErrorKind::kInternal,
                     std::string("bind a value: ") + sqlite3_errstr(bind_error_));
  }
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteError(database_, "database");
}

Result<> Statement::Run() {
  Result<bool> row = Step();
  Reset();
  if (!row) return tl::unexpected(std::move(row).error());
  return {};
}

void Statement::Reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  bind_error_ = SQLITE_OK;
}

std::string Statement::Text(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int bytes = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string()
                         : std::string(static_cast<const char*>(data), static_cast<size_t>(bytes));
}

Result<Database> Database::Open(const std::string& path) {
  sqlite3* handle = nullptr;
  // Not shared between threads at once; EXRESCODE is not wanted: the plain codes are compared.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Database database;
  database.handle_.reset(handle);
  if (code != SQLITE_OK) return SqliteError(handle, "open database " + path);
  return database;
}

Result<> Database::Execute(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return SqliteError(handle_.get(), "database");
}

Result<Statement> Database::Prepare(const char* sql) {
  Statement statement;
  statement.database_ = handle_.get();
  sqlite3_stmt* prepared = nullptr;
  if (sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr) !=
      SQLITE_OK) {
    return SqliteError(handle_.get(), "prepare a statement");
  }
  statement.statement_.reset(prepared);
  return statement;
}

}  // namespace spore
