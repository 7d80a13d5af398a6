// Log files: their records, and the writer that the blocking lane drives.
//
// A file is a row of records: u32 length, u32 checksum, u64 number (little endian), then a
// serialized spore.v1.LogLine of that length. What follows the last whole record (a torn write) is
// dropped. Nothing is synced: logs are worth keeping, not worth waiting for.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

std::string EncodeLogRecord(uint64_t number, const v1::LogLine& line);
// Takes one record off the front; false when there is no whole, sound one.
bool DecodeLogRecord(std::string_view* bytes, uint64_t* number, v1::LogLine* line);

// The path-safe name of a function's file.
std::string LogFileName(const std::string& function);

// Queues changes from the loop's thread and writes them on whichever thread calls Drain.
class LogWriter {
 public:
  explicit LogWriter(UniqueFd directory) : directory_(std::move(directory)) {}

  // `size` is what is sound of the file as found at the start.
  void Known(const std::string& function, uint64_t size) { sizes_[function] = size; }
  void Append(const std::string& function, std::string records);
  void Replace(const std::string& function, std::string records);
  void Remove(const std::string& function);
  uint64_t queued_bytes();

  // Writes all that is queued. A failed append is cut off again; a failed replacement leaves the
  // old file.
  void Drain();

 private:
  enum class Kind { kAppend, kReplace, kRemove };
  struct Change {
    Kind kind;
    std::string function;
    std::string records;
  };
  void Queue(Change change);
  void Apply(const Change& change);

  UniqueFd directory_;
  std::mutex queue_mutex_;
  std::deque<Change> queue_;
  uint64_t queued_bytes_ = 0;
  std::mutex write_mutex_;  // taken before queue_mutex_
  std::map<std::string, uint64_t> sizes_;
};

}  // namespace spore
