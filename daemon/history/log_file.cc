#include "daemon/history/log_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

namespace spore {
namespace {

constexpr size_t kHeaderBytes = 16;
constexpr size_t kMaxRecord = 64 * 1024;  // a line is at most 16 KiB

void PutLittle(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

uint64_t GetLittle(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// FNV-1a: against torn writes and zeroed blocks, not against anybody.
uint32_t Checksum(std::string_view number, std::string_view body) {
  uint32_t hash = 2166136261u;
  for (std::string_view part : {number, body}) {
    for (char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  }
  return hash;
}

bool WriteAt(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return true;
}

}  // namespace

std::string EncodeLogRecord(uint64_t number, const v1::LogLine& line) {
  std::string body = line.SerializeAsString();
  std::string number_bytes;
  PutLittle(&number_bytes, number, 8);
  std::string record;
  PutLittle(&record, body.size(), 4);
  PutLittle(&record, Checksum(number_bytes, body), 4);
  return record + number_bytes + body;
}

bool DecodeLogRecord(std::string_view* bytes, uint64_t* number, v1::LogLine* line) {
  if (bytes->size() < kHeaderBytes) return false;
  uint64_t length = GetLittle(bytes->substr(0, 4));
  if (length > kMaxRecord || bytes->size() - kHeaderBytes < length) return false;
  std::string_view body = bytes->substr(kHeaderBytes, length);
  if (GetLittle(bytes->substr(4, 4)) != Checksum(bytes->substr(8, 8), body)) return false;
  *number = GetLittle(bytes->substr(8, 8));
  if (*number == 0 || !line->ParseFromArray(body.data(), static_cast<int>(length))) return false;
  bytes->remove_prefix(kHeaderBytes + length);
  return true;
}

std::string LogFileName(const std::string& function) {
  return function + ".log";
}

void LogWriter::Queue(Change change) {
  std::lock_guard lock(queue_mutex_);
  queued_bytes_ += change.records.size();
  queue_.push_back(std::move(change));
}

void LogWriter::Append(const std::string& function, std::string records) {
  Queue({Kind::kAppend, function, std::move(records)});
}
void LogWriter::Replace(const std::string& function, std::string records) {
  Queue({Kind::kReplace, function, std::move(records)});
}
void LogWriter::Remove(const std::string& function) {
  Queue({Kind::kRemove, function, {}});
}

uint64_t LogWriter::queued_bytes() {
  std::lock_guard lock(queue_mutex_);
  return queued_bytes_;
}

void LogWriter::Drain() {
  std::lock_guard write_lock(write_mutex_);
  for (;;) {
    Change change;
    {
      std::lock_guard lock(queue_mutex_);
      if (queue_.empty()) return;
      change = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= change.records.size();
    }
    Apply(change);
  }
}

void LogWriter::Apply(const Change& change) {
  std::string name = LogFileName(change.function);
  if (change.kind == Kind::kRemove) {
    (void)unlinkat(directory_.get(), name.c_str(), 0);
    sizes_.erase(change.function);
    return;
  }
  bool replace = change.kind == Kind::kReplace;
  // No function is called like this: names hold no dot.
  std::string target = replace ? change.function + ".log.new" : name;
  UniqueFd file(
      openat(directory_.get(), target.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return;
  uint64_t size = replace ? 0 : sizes_[change.function];
  // Cuts off what a torn or failed write left behind the last sound record.
  bool good = ftruncate(file.get(), static_cast<off_t>(size)) == 0 &&
              WriteAt(file.get(), change.records, size);
  if (good && replace) {
    good = renameat(directory_.get(), target.c_str(), directory_.get(), name.c_str()) == 0;
  }
  if (good) {
    sizes_[change.function] = size + change.records.size();
  } else if (replace) {
    (void)unlinkat(directory_.get(), target.c_str(), 0);
  } else {
    (void)!ftruncate(file.get(), static_cast<off_t>(size));
  }
}

}  // namespace spore
