#include "daemon/events/async_store.h"

#include <algorithm>
#include <utility>

#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

// The more in one commit the better, but none shall wait long for those that it came with.
constexpr size_t kMostInBatch = 512;

}  // namespace

Result<std::unique_ptr<AsyncStore>> AsyncStore::Open(EventLoop& loop,
                                                     const AsyncDisk::Options& options) {
  SPORE_ASSIGN(std::unique_ptr<AsyncDisk> disk, AsyncDisk::Open(options));
  return std::unique_ptr<AsyncStore>(new AsyncStore(loop, std::move(disk)));
}

AsyncStore::AsyncStore(EventLoop& loop, std::unique_ptr<AsyncDisk> disk)
    : loop_(loop), disk_(std::move(disk)), lane_(std::make_unique<BlockingLane>(loop)) {}

AsyncStore::~AsyncStore() = default;

void AsyncStore::Submit(Kind kind, Job job, Done done) {
  waiting_.push_back({kind, std::move(job), std::move(done), {}});
  if (running_) return;
  running_ = true;
  // What else this turn of the loop brings comes along.
  loop_.Post([this] { RunNext(); });
}

void AsyncStore::WhenIdle(std::function<void()> idle) {
  if (!running_) return idle();
  when_idle_.push_back(std::move(idle));
}

void AsyncStore::RunNext() {
  if (waiting_.empty()) {
    running_ = false;
    for (const auto& idle : std::exchange(when_idle_, {})) idle();
    return;
  }
  auto batch = std::make_shared<Batch>();
  if (waiting_.size() <= kMostInBatch) {
    *batch = std::exchange(waiting_, {});
  } else {
    const auto end = waiting_.begin() + kMostInBatch;
    batch->assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
  }
  lane_->Submit([disk = disk_.get(), batch] { RunBatch(*disk, *batch); },
                [this, batch] {
                  for (Item& item : *batch) {
                    item.job = nullptr;
                    if (item.done) item.done(std::move(item.result));
                  }
                  RunNext();
                });
}

namespace {

const char* PointBefore(AsyncStore::Kind kind) {
  return kind == AsyncStore::Kind::kAccept ? "async-accept-commit" : "async-record-commit";
}
const char* PointAfter(AsyncStore::Kind kind) {
  return kind == AsyncStore::Kind::kAccept ? "async-accept-committed" : "async-record-committed";
}
bool HasPoint(AsyncStore::Kind kind) {
  return kind == AsyncStore::Kind::kAccept || kind == AsyncStore::Kind::kRecord;
}

// One job: all that it changes, or nothing.
Result<> RunJob(AsyncDisk& disk, const AsyncStore::Job& job, bool writes) {
  if (!writes) return job(disk);
  SPORE_TRY(disk.BeginPart());
  auto result = job(disk);
  // A full disk may have ended the whole transaction.
  if (!result && !disk.in_transaction()) return result;
  if (auto ended = disk.EndPart(result.has_value()); !ended && result) return ended;
  return result;
}

}  // namespace

void AsyncStore::RunBatch(AsyncDisk& disk, Batch& batch) {
  const bool writes = std::any_of(batch.begin(), batch.end(),
                                  [](const Item& item) { return item.kind != Kind::kRead; });
  Result<> whole;  // an error of the transaction itself
  if (writes) whole = disk.Begin();
  for (Item& item : batch) {
    if (!whole) break;
    item.result = RunJob(disk, item.job, writes);
    if (writes && !disk.in_transaction() && !item.result) whole = item.result;
  }
  for (const Item& item : batch) {
    if (whole && item.result && HasPoint(item.kind)) whole = FaultPoint(PointBefore(item.kind));
  }
  if (writes && whole) whole = disk.Commit();
  if (!whole) {
    disk.Rollback();
    for (Item& item : batch) item.result = whole;
    return;
  }
  for (const Item& item : batch) {
    if (item.result && HasPoint(item.kind)) (void)FaultPoint(PointAfter(item.kind));
  }
}

}  // namespace spore
