// The loop's side of the function store: what is visible, who holds which version, and the order of
// changes. The lane runs one job at a time, which is what puts concurrent changes in order.
#include "daemon/functions/function_store.h"

#include <optional>
#include <set>
#include <utility>

#include "daemon/functions/function_store_disk.h"

namespace spore {
namespace {

using VersionPtr = std::shared_ptr<const FunctionVersion>;

// One life of a name, from Deploy to Remove: a version of an earlier life must not be retired in
// a later one, whose version numbers start again.
struct Life {
  std::set<uint64_t> in_force;         // current, or kept for a published version
  std::map<uint64_t, size_t> holders;  // of what is in each version's folder
  bool removing = false;               // the whole folder goes: nothing is retired by itself
};

struct State : std::enable_shared_from_this<State> {
  struct Entry {
    std::shared_ptr<Life> life;
    DeployedFunction deployed;
  };

  State(EventLoop& event_loop, BlockingLane& blocking_lane, std::shared_ptr<FunctionDisk> store)
      : loop(event_loop), lane(blocking_lane), disk(std::move(store)) {}

  VersionPtr Hold(FunctionVersion version, const std::shared_ptr<Life>& life);
  VersionPtr Install(FunctionVersion version);
  void InstallFacts(const std::string& name, FunctionDisk::Facts facts);
  static void CountInForce(Entry& entry);

  EventLoop& loop;
  BlockingLane& lane;
  std::shared_ptr<FunctionDisk> disk;
  std::map<std::string, Entry> functions;
};

// The last holder's release retires a version that is no longer in force.
VersionPtr State::Hold(FunctionVersion version, const std::shared_ptr<Life>& life) {
  auto release = [weak = weak_from_this(), life](const FunctionVersion* held) {
    std::unique_ptr<const FunctionVersion> own(held);
    const uint64_t number = own->function.version();
    if (--life->holders[number] > 0) return;
    life->holders.erase(number);
    auto state = weak.lock();
    if (!state || life->removing || life->in_force.contains(number)) return;
    state->lane.Submit(
        [disk = state->disk, name = own->function.name(), number] { disk->Retire(name, number); },
        nullptr);
  };
  ++life->holders[version.function.version()];
  return VersionPtr(new FunctionVersion(std::move(version)), release);
}

// Before what is superseded is let go of.
void State::CountInForce(Entry& entry) {
  std::set<uint64_t>& in_force = entry.life->in_force;
  in_force.clear();
  in_force.insert(entry.deployed.latest->function.version());
  for (const v1::PublishedVersion& published : entry.deployed.facts->published())
    in_force.insert(published.update());
}

VersionPtr State::Install(FunctionVersion version) {
  Entry& entry = functions[version.function.name()];
  if (!entry.life) entry.life = std::make_shared<Life>();
  if (!entry.deployed.facts) entry.deployed.facts = std::make_shared<v1::FunctionFacts>();
  VersionPtr held = Hold(std::move(version), entry.life);
  const VersionPtr old = std::exchange(entry.deployed.latest, held);
  CountInForce(entry);
  return held;
}

void State::InstallFacts(const std::string& name, FunctionDisk::Facts facts) {
  Entry& entry = functions.at(name);
  auto& published = entry.deployed.published;
  entry.deployed.facts = std::make_shared<v1::FunctionFacts>(std::move(facts.facts));
  const auto old = std::exchange(published, {});
  CountInForce(entry);
  for (FunctionVersion& version : facts.published) {
    const uint64_t number = version.function.published_version();
    const auto found = old.find(number);
    published[number] = found != old.end() ? found->second : Hold(std::move(version), entry.life);
  }
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
    ChangeCode(&FunctionDisk::Deploy, std::move(function), std::move(archive), std::move(done));
  }

  void Update(v1::Function function, UniqueFd archive, Done done) override {
    ChangeCode(&FunctionDisk::Update, std::move(function), std::move(archive), std::move(done));
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

  void Change(const std::string& name, ChangeFacts change,
              std::function<void(Result<>)> done) override {
    auto result = std::make_shared<std::optional<Result<FunctionDisk::Facts>>>();
    state_->lane.Submit([disk = state_->disk, name, change = std::move(change),
                         result] { *result = disk->ChangeFacts(name, change); },
                        [weak = std::weak_ptr(state_), name, result, done] {
                          auto state = weak.lock();
                          if (!state) return;
                          if (!**result) return done(tl::unexpected(std::move(**result).error()));
                          state->InstallFacts(name, std::move(***result));
                          done({});
                        });
  }

  VersionPtr Find(const std::string& name) const override {
    const DeployedFunction* found = FindDeployed(name);
    return found == nullptr ? nullptr : found->latest;
  }

  const DeployedFunction* FindDeployed(const std::string& name) const override {
    auto found = state_->functions.find(name);
    return found == state_->functions.end() ? nullptr : &found->second.deployed;
  }

  std::vector<VersionPtr> List() const override {
    std::vector<VersionPtr> all;
    for (const auto& [name, entry] : state_->functions) all.push_back(entry.deployed.latest);
    return all;
  }

  void ForEach(const std::string& after,
               const std::function<bool(const DeployedFunction&)>& each) const override {
    for (auto it = state_->functions.upper_bound(after); it != state_->functions.end(); ++it) {
      if (!each(it->second.deployed)) return;
    }
  }

 private:
  using Operation = Result<FunctionVersion> (FunctionDisk::*)(v1::Function, const UniqueFd&);

  void Fail(const Done& done, ErrorKind kind, std::string message) {
    state_->loop.Post(
        [done, kind, message = std::move(message)] { done(MakeError(kind, message)); });
  }

  void ChangeCode(Operation operation, v1::Function function, UniqueFd archive, Done done) {
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
    state->InstallFacts(name, state->disk->DescribeFacts(name));
  }
  return std::make_unique<FunctionStoreImpl>(std::move(state));
}

}  // namespace spore
