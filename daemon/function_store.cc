// The loop's side of the function store: what is visible, who holds which version, and the order of
// changes. The lane runs one job at a time, which is what puts concurrent changes in order.
#include "daemon/function_store.h"

#include <optional>
#include <utility>

#include "daemon/function_store_disk.h"

namespace spore {
namespace {

using VersionPtr = std::shared_ptr<const FunctionVersion>;

// One life of a name, from Deploy to Remove: a version of an earlier life must not be retired in
// a later one, whose version numbers start again.
struct Life {
  uint64_t current = 0;   // version in force
  bool removing = false;  // the whole folder goes: nothing is retired by itself
};

struct State : std::enable_shared_from_this<State> {
  struct Entry {
    std::shared_ptr<Life> life;
    VersionPtr version;
  };

  State(EventLoop& event_loop, BlockingLane& blocking_lane, std::shared_ptr<FunctionDisk> store)
      : loop(event_loop), lane(blocking_lane), disk(std::move(store)) {}

  VersionPtr Hold(FunctionVersion version, std::shared_ptr<Life> life);
  VersionPtr Install(FunctionVersion version);

  EventLoop& loop;
  BlockingLane& lane;
  std::shared_ptr<FunctionDisk> disk;
  std::map<std::string, Entry> functions;
};

// The last holder's release retires a version that is no longer in force.
VersionPtr State::Hold(FunctionVersion version, std::shared_ptr<Life> life) {
  auto release = [weak = weak_from_this(), life](const FunctionVersion* held) {
    std::unique_ptr<const FunctionVersion> own(held);
    uint64_t number = own->function.version();
    auto state = weak.lock();
    if (!state || life->removing || life->current == number) return;
    state->lane.Submit(
        [disk = state->disk, name = own->function.name(), number] { disk->Retire(name, number); },
        nullptr);
  };
  return VersionPtr(new FunctionVersion(std::move(version)), release);
}

VersionPtr State::Install(FunctionVersion version) {
  std::string name = version.function.name();
  uint64_t number = version.function.version();
  Entry& entry = functions[name];
  if (!entry.life) entry.life = std::make_shared<Life>();
  entry.life->current = number;
  VersionPtr held = Hold(std::move(version), entry.life);
  entry.version = held;
  return held;
}

class FunctionStoreImpl : public FunctionStore {
 public:
  explicit FunctionStoreImpl(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~FunctionStoreImpl() override { state_->disk->Stop(); }

  void Deploy(v1::Function function, UniqueFd archive, Done done) override {
    if (state_->functions.contains(function.name())) {
      return Fail(done, ErrorKind::kExists, "function " + function.name() + " exists");
    }
    if (!archive) return Fail(done, ErrorKind::kInvalid, "archive: missing");
    Change(&FunctionDisk::Deploy, std::move(function), std::move(archive), std::move(done));
  }

  void Update(v1::Function function, UniqueFd archive, Done done) override {
    Change(&FunctionDisk::Update, std::move(function), std::move(archive), std::move(done));
  }

  void Remove(const std::string& name, std::function<void(Result<>)> done) override {
    std::shared_ptr<Life> life;
    if (auto found = state_->functions.find(name); found != state_->functions.end()) {
      life = found->second.life;
      life->removing = true;
    }
    auto result = std::make_shared<std::optional<Result<>>>();
    state_->lane.Submit([disk = state_->disk, name, result] { *result = disk->Remove(name); },
                        [weak = std::weak_ptr(state_), name, result, life, done] {
                          auto state = weak.lock();
                          if (!state) return;
                          if (**result) {
                            state->functions.erase(name);
                          } else if (life) {
                            life->removing = false;
                          }
                          done(std::move(**result));
                        });
  }

  VersionPtr Find(const std::string& name) const override {
    auto found = state_->functions.find(name);
    return found == state_->functions.end() ? nullptr : found->second.version;
  }

  std::vector<VersionPtr> List() const override {
    std::vector<VersionPtr> all;
    for (const auto& [name, entry] : state_->functions) all.push_back(entry.version);
    return all;
  }

 private:
  using Operation = Result<FunctionVersion> (FunctionDisk::*)(v1::Function, const UniqueFd&);

  void Fail(const Done& done, ErrorKind kind, std::string message) {
    state_->loop.Post(
        [done, kind, message = std::move(message)] { done(MakeError(kind, message)); });
  }

  void Change(Operation operation, v1::Function function, UniqueFd archive, Done done) {
    auto owned = std::make_shared<UniqueFd>(std::move(archive));
    auto result = std::make_shared<std::optional<Result<FunctionVersion>>>();
    state_->lane.Submit(
        [disk = state_->disk, operation, function = std::move(function), owned, result] {
          *result = ((*disk).*operation)(function, *owned);
          owned->Reset();
        },
        [weak = std::weak_ptr(state_), result, done] {
          auto state = weak.lock();
          if (!state) return;
          if (!**result) return done(tl::unexpected(std::move(**result).error()));
          done(state->Install(std::move(***result)));
        });
  }

  std::shared_ptr<State> state_;
};

}  // namespace

Result<std::unique_ptr<FunctionStore>> FunctionStore::Open(EventLoop& loop, BlockingLane& lane,
                                                           const Options& options) {
  SPORE_ASSIGN(std::unique_ptr<FunctionDisk> disk, FunctionDisk::Open(options));
  auto state = std::make_shared<State>(loop, lane, std::move(disk));
  for (const auto& [name, function] : state->disk->current()) {
    state->Install(state->disk->Describe(function));
  }
  return std::make_unique<FunctionStoreImpl>(std::move(state));
}

}  // namespace spore
