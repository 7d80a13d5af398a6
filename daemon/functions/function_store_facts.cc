// What of a function is kept beside its code: its published versions, aliases, tags, concurrency.
// One small file, replaced as a whole by one rename.
#include <fcntl.h>
#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "daemon/functions/function_store_disk.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

constexpr char kFacts[] = "facts.pb";
constexpr size_t kMaxFacts = 4u << 20;

// As the working copy `function` once was.
v1::Function Freeze(v1::Function function, const v1::PublishedVersion& published) {
  function.set_published_version(published.number());
  function.mutable_settings()->set_description(published.description());
  // What is kept ready of it is asked for by its number.
  function.mutable_settings()->clear_min_instances();
  return function;
}

Result<> RenameFacts(const StagedFolder& staged, int folder) {
  if (renameat(staged.folder(), kFacts, folder, kFacts) != 0)
    return SysError("rename into place", kFacts);
  return {};
}

}  // namespace

std::string RevisionId(const v1::Function& working_copy, const v1::FunctionFacts& facts) {
  return fmt::format("{:x}-{}-{}", working_copy.created_unix_ms(), working_copy.version(),
                     facts.changes());
}

std::string FunctionDisk::RevisionOf(const std::string& name) const {
  const auto beside = beside_.find(name);
  return RevisionId(current_.at(name),
                    beside == beside_.end() ? v1::FunctionFacts() : beside->second.facts);
}

bool FunctionDisk::IsKept(const std::string& name, uint64_t version) const {
  const auto beside = beside_.find(name);
  if (beside == beside_.end()) return false;
  const auto& published = beside->second.facts.published();
  return std::any_of(published.begin(), published.end(),
                     [&](const v1::PublishedVersion& kept) { return kept.update() == version; });
}

// One that a published version keeps is not made again, even where `current` was lost.
uint64_t FunctionDisk::NextVersion(const v1::Function& old) const {
  uint64_t newest = old.version();
  if (const auto beside = beside_.find(old.name()); beside != beside_.end()) {
    for (const v1::PublishedVersion& kept : beside->second.facts.published())
      newest = std::max(newest, kept.update());
  }
  return newest + 1;
}

FunctionDisk::Facts FunctionDisk::DescribeFacts(const std::string& name) const {
  const auto beside = beside_.find(name);
  if (beside == beside_.end()) return {};
  Facts all{beside->second.facts, {}};
  for (const auto& [number, function] : beside->second.published)
    all.published.push_back(Describe(function));
  return all;
}

Result<> FunctionDisk::PlaceFacts(int folder, const StagedFolder& staged,
                                  const v1::FunctionFacts& facts, const v1::FunctionFacts& old) {
  SPORE_TRY(WriteRecord(staged.folder(), kFacts, facts.SerializeAsString()));
  SPORE_TRY(FaultPoint("facts-staged"));
  SPORE_TRY(RenameFacts(staged, folder));
  auto durable = FaultPoint("facts-renamed");
  if (durable) durable = SyncDirectory(folder, kFacts);
  if (durable) return {};
  auto back = WriteRecord(staged.folder(), kFacts, old.SerializeAsString());
  if (back) back = RenameFacts(staged, folder);
  if (back) back = SyncDirectory(folder, kFacts);
  if (!back) return tl::unexpected(std::move(back).error().Wrap("take back the change"));
  return durable;
}

Result<FunctionDisk::Facts> FunctionDisk::ChangeFacts(const std::string& name,
                                                      const FunctionStore::ChangeFacts& change) {
  const auto current = current_.find(name);
  if (current == current_.end()) return MakeError(ErrorKind::kNotFound, "no function " + name);
  Beside& beside = beside_[name];
  v1::FunctionFacts facts = beside.facts;
  SPORE_TRY(change({current->second, beside.published, beside.facts}, &facts));
  if (google::protobuf::util::MessageDifferencer::Equals(facts, beside.facts))
    return DescribeFacts(name);
  facts.set_changes(facts.changes() + 1);
  SPORE_ASSIGN(UniqueFd folder, OpenDirectory(functions_.get(), name));
  SPORE_ASSIGN(StagedFolder staged, Stage());
  SPORE_TRY(PlaceFacts(folder.get(), staged, facts, beside.facts));
  std::map<uint64_t, v1::Function> published;
  for (const v1::PublishedVersion& version : facts.published()) {
    const auto known = beside.published.find(version.number());
    if (known != beside.published.end()) {
      published.insert(*known);
    } else if (version.update() == current->second.version()) {
      published[version.number()] = Freeze(current->second, version);
    }
  }
  beside = {std::move(facts), std::move(published)};
  return DescribeFacts(name);
}

Result<> FunctionDisk::RecoverFacts(int folder, const std::string& name) {
  auto bytes = ReadSmallFile(folder, kFacts, kMaxFacts);
  if (!bytes && bytes.error().errno_value == ENOENT) return {};
  if (!bytes) return tl::unexpected(std::move(bytes).error());
  Beside beside;
  if (!beside.facts.ParseFromString(*bytes))
    return MakeError(ErrorKind::kInternal, "facts.pb does not parse");
  for (const v1::PublishedVersion& version : beside.facts.published()) {
    auto function = Load(folder, name, fmt::format("v{}", version.update()));
    if (function) {
      beside.published[version.number()] = Freeze(std::move(*function), version);
    } else {
      Report(fmt::format("function {}:{} is damaged and skipped: {}", name, version.number(),
                         function.error().Message()));
    }
  }
  beside_[name] = std::move(beside);
  return {};
}

}  // namespace spore
