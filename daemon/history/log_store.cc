#include "daemon/history/log_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "daemon/common/validate.h"
#include "daemon/history/log_file.h"

namespace spore {
namespace {

constexpr size_t kMaxLine = 16 * 1024;
constexpr uint32_t kMaxWaitMs = 60000;
constexpr auto kFlushDelay = std::chrono::milliseconds(200);
// Of one answer; the rest comes with the next call. Below the frame limit of the protocol.
constexpr size_t kMaxAnswerBytes = 1u << 20;
// With more than this waiting for a slow disk, appends are left out and the file is written anew.
constexpr uint64_t kMaxQueued = 8u << 20;
constexpr uint64_t kLineOverhead = 48;  // what a line costs beside its text

struct KeptLine {
  uint64_t number = 0;
  v1::LogLine line;
};

struct FunctionLog {
  std::deque<KeptLine> lines;
  uint64_t bytes = 0;     // of `lines`
  uint64_t last = 0;      // number of the newest line ever
  std::string unwritten;  // records since the last flush
  uint64_t file_bytes = 0;
  bool rewrite = false;  // the file lacks lines, or has grown too long
};

uint64_t CostOf(const v1::LogLine& line) {
  return line.text().size() + kLineOverhead;
}

class LogStoreImpl : public LogStore {
 public:
  LogStoreImpl(EventLoop& loop, BlockingLane& lane, const Options& options, UniqueFd directory)
      : loop_(loop),
        lane_(lane),
        options_(options),
        directory_(directory.get()),
        writer_(std::make_shared<LogWriter>(std::move(directory))) {}
  ~LogStoreImpl() override;

  Result<> Load();

  void Append(const std::string& function, const std::string& instance_id,
              v1::LogLine::Stream stream, std::string_view text) override;
  uint64_t Read(const v1::ReadLogsRequest& request,
                std::function<void(v1::ReadLogsResponse)> done) override;
  void CancelRead(uint64_t id) override;
  void Forget(const std::string& function) override;

 private:
  struct Reader {
    v1::ReadLogsRequest request;
    std::function<void(v1::ReadLogsResponse)> done;
    EventLoop::TimerId timer = 0;
  };

  void LoadFile(const std::string& function, const std::string& bytes);
  void Keep(FunctionLog& log, KeptLine line);
  v1::ReadLogsResponse Answer(const v1::ReadLogsRequest& request) const;
  void AnswerReaders(const std::string& function);
  void Finish(uint64_t id);
  void Flush();
  void QueueWrites();

  EventLoop& loop_;
  BlockingLane& lane_;
  Options options_;
  int directory_;  // the writer's
  std::shared_ptr<LogWriter> writer_;
  std::map<std::string, FunctionLog> logs_;
  std::map<uint64_t, Reader> readers_;
  uint64_t next_reader_ = 1;
  EventLoop::TimerId flush_timer_ = 0;
  bool flush_pending_ = false;
  std::set<std::string> to_wake_;
  // Tells tasks that are already posted that the store is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

LogStoreImpl::~LogStoreImpl() {
  *alive_ = false;
  if (flush_pending_) loop_.CancelTimer(flush_timer_);
  for (const auto& [id, reader] : readers_) loop_.CancelTimer(reader.timer);
  QueueWrites();
  writer_->Drain();
}

void LogStoreImpl::Keep(FunctionLog& log, KeptLine line) {
  log.last = line.number;
  log.bytes += CostOf(line.line);
  log.lines.push_back(std::move(line));
  while (log.bytes > options_.function_bytes && log.lines.size() > 1) {
    log.bytes -= CostOf(log.lines.front().line);
    log.lines.pop_front();
  }
}

void LogStoreImpl::LoadFile(const std::string& function, const std::string& bytes) {
  FunctionLog& log = logs_[function];
  std::string_view rest = bytes;
  KeptLine line;
  while (DecodeLogRecord(&rest, &line.number, &line.line) && line.number > log.last) {
    Keep(log, std::move(line));
    line = {};
    log.file_bytes = bytes.size() - rest.size();
  }
  writer_->Known(function, log.file_bytes);
}

Result<> LogStoreImpl::Load() {
  UniqueFd own(openat(directory_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::unique_ptr<DIR, void (*)(DIR*)> dir(own ? fdopendir(own.get()) : nullptr,
                                           [](DIR* d) { closedir(d); });
  if (!dir) return SysError("read folder", options_.directory);
  (void)own.Release();
  while (const dirent* entry = readdir(dir.get())) {
    std::string name = entry->d_name;
    if (name.ends_with(".log.new")) {
      (void)unlinkat(directory_, name.c_str(), 0);  // of a replacement that was cut short
      continue;
    }
    std::string function = name.ends_with(".log") ? name.substr(0, name.size() - 4) : "";
    if (!ValidateFunctionName(function)) continue;
    UniqueFd file(openat(directory_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    std::string bytes;
    std::array<char, 65536> buffer;
    // A file that cannot be read is one without lines: logs never keep the daemon from starting.
    for (ssize_t n = 1; file && n > 0 && bytes.size() < 4 * options_.function_bytes;) {
      n = read(file.get(), buffer.data(), buffer.size());
      if (n > 0) bytes.append(buffer.data(), static_cast<size_t>(n));
    }
    LoadFile(function, bytes);
  }
  return {};
}

void LogStoreImpl::Append(const std::string& function, const std::string& instance_id,
                          v1::LogLine::Stream stream, std::string_view text) {
  if (!ValidateFunctionName(function)) return;  // `run` has no function and keeps no log
  FunctionLog& log = logs_[function];
  auto now = std::chrono::system_clock::now().time_since_epoch();
  do {
    KeptLine kept;
    kept.number = log.last + 1;
    kept.line.set_unix_us(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
    kept.line.set_instance_id(instance_id);
    kept.line.set_stream(stream);
    kept.line.set_text(std::string(text.substr(0, kMaxLine)));
    text.remove_prefix(std::min(text.size(), kMaxLine));
    if (!log.rewrite) log.unwritten += EncodeLogRecord(kept.number, kept.line);
    Keep(log, std::move(kept));
  } while (!text.empty());
  if (log.unwritten.size() > 2 * options_.function_bytes) {
    log.rewrite = true;
    log.unwritten.clear();
  }
  if (!flush_pending_) {
    flush_pending_ = true;
    flush_timer_ = loop_.AddTimer(kFlushDelay, [this] { Flush(); });
  }
  // Readers are woken once for all lines that come in the same turn of the loop.
  if (!readers_.empty() && to_wake_.insert(function).second) {
    loop_.Post([this, function, alive = alive_] {
      if (*alive) AnswerReaders(function);
    });
  }
}

v1::ReadLogsResponse LogStoreImpl::Answer(const v1::ReadLogsRequest& request) const {
  v1::ReadLogsResponse answer;
  auto found = logs_.find(request.function());
  if (found == logs_.end()) return answer;
  const FunctionLog& log = found->second;
  // A cursor from an earlier life of the name starts over.
  uint64_t cursor = request.cursor() > log.last ? 0 : request.cursor();
  answer.set_cursor(cursor);
  auto first = std::partition_point(log.lines.begin(), log.lines.end(),
                                    [&](const KeptLine& kept) { return kept.number <= cursor; });
  if (cursor == 0 && request.tail() != 0) {
    auto kept = static_cast<uint64_t>(log.lines.end() - first);
    if (kept > request.tail()) first = log.lines.end() - request.tail();
  } else if (first != log.lines.end() && cursor != 0) {
    answer.set_dropped(first->number - cursor - 1);
  }
  size_t bytes = 0;
  for (auto line = first; line != log.lines.end() && bytes < kMaxAnswerBytes; ++line) {
    bytes += CostOf(line->line);
    *answer.add_lines() = line->line;
    answer.set_cursor(line->number);
  }
  return answer;
}

uint64_t LogStoreImpl::Read(const v1::ReadLogsRequest& request,
                            std::function<void(v1::ReadLogsResponse)> done) {
  uint64_t id = next_reader_++;
  v1::ReadLogsResponse answer = Answer(request);
  if (answer.lines_size() > 0 || request.wait_ms() == 0) {
    done(std::move(answer));
    return id;
  }
  auto wait = std::chrono::milliseconds(std::min(request.wait_ms(), kMaxWaitMs));
  auto timer = loop_.AddTimer(wait, [this, id] { Finish(id); });
  readers_[id] = {request, std::move(done), timer};
  return id;
}

void LogStoreImpl::Finish(uint64_t id) {
  auto node = readers_.extract(id);
  if (node.empty()) return;
  loop_.CancelTimer(node.mapped().timer);
  node.mapped().done(Answer(node.mapped().request));
}

void LogStoreImpl::AnswerReaders(const std::string& function) {
  to_wake_.erase(function);
  std::vector<uint64_t> ready;
  for (const auto& [id, reader] : readers_) {
    if (reader.request.function() == function) ready.push_back(id);
  }
  // An answer may start or cancel other reads, or end the store.
  for (uint64_t id : ready) {
    auto alive = alive_;
    Finish(id);
    if (!*alive) return;
  }
}

void LogStoreImpl::CancelRead(uint64_t id) {
  auto node = readers_.extract(id);
  if (!node.empty()) loop_.CancelTimer(node.mapped().timer);
}

void LogStoreImpl::Forget(const std::string& function) {
  if (logs_.erase(function) > 0) {
    writer_->Remove(function);
    lane_.Submit([writer = writer_] { writer->Drain(); }, nullptr);
  }
  // Also of a function that has written nothing: its readers must not get the lines of the next
  // function of this name, which may be somebody else's.
  AnswerReaders(function);
}

void LogStoreImpl::QueueWrites() {
  for (auto& [function, log] : logs_) {
    if (log.unwritten.empty() && !log.rewrite) continue;
    if (writer_->queued_bytes() > kMaxQueued) {
      log.rewrite = true;
      log.unwritten.clear();
      continue;
    }
    log.rewrite =
        log.rewrite || log.file_bytes + log.unwritten.size() > 2 * options_.function_bytes;
    if (!log.rewrite) {
      log.file_bytes += log.unwritten.size();
      writer_->Append(function, std::move(log.unwritten));
    } else {
      std::string records;
      records.reserve(log.bytes);
      for (const KeptLine& kept : log.lines) records += EncodeLogRecord(kept.number, kept.line);
      log.file_bytes = records.size();
      log.rewrite = false;
      writer_->Replace(function, std::move(records));
    }
    log.unwritten.clear();
  }
}

void LogStoreImpl::Flush() {
  flush_pending_ = false;
  QueueWrites();
  lane_.Submit([writer = writer_] { writer->Drain(); }, nullptr);
}

}  // namespace

Result<std::unique_ptr<LogStore>> LogStore::Open(EventLoop& loop, BlockingLane& lane,
                                                 const Options& options) {
  if (mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return SysError("make folder", options.directory);
  }
  UniqueFd directory(open(options.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return SysError("open folder", options.directory);
  auto store = std::make_unique<LogStoreImpl>(loop, lane, options, std::move(directory));
  SPORE_TRY(store->Load());
  return store;
}

}  // namespace spore
