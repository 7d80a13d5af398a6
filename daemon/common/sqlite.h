// SQLite (sqlite.org, "C-language Interface") with errors as Results. A database belongs to
// one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"

namespace spore {

// One prepared statement. Run: bind all, then Step until it says false; Reset before the next.
class Statement {
 public:
  // Numbered from 1. Text and blobs must outlive the next Reset.
  void Bind(int index, int64_t value) { Note(sqlite3_bind_int64(statement_.get(), index, value)); }
  void Bind(int index, std::string_view text);
  void BindBlob(int index, std::string_view bytes);
  void BindNull(int index) { Note(sqlite3_bind_null(statement_.get(), index)); }

  // True: there is a row. False: done.
  Result<bool> Step();
  // For what has no rows.
  Result<> Run();
  void Reset();

  // Of the row, numbered from 0.
  int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::string Text(int column) const;  // of a blob too
  bool IsNull(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  void Note(int code) {
    if (bind_error_ == SQLITE_OK) bind_error_ = code;
  }

  sqlite3* database_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_error_ = SQLITE_OK;
};

class Database {
 public:
  static Result<Database> Open(const std::string& path);

  Result<> Execute(const char* sql);
  Result<Statement> Prepare(const char* sql);
  int64_t changes() const { return sqlite3_changes(handle_.get()); }
  int64_t last_row() const { return sqlite3_last_insert_rowid(handle_.get()); }
  bool in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// What went wrong last: a full disk is kOverloaded, with ENOSPC; a file that is no sound database
// has EUCLEAN.
tl::unexpected<Error> SqliteError(sqlite3* database, std::string_view doing);

}  // namespace spore
