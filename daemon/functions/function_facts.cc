#include "daemon/functions/function_facts.h"

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "daemon/common/validate.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr char kLatest[] = "$LATEST";
constexpr uint64_t kPublished = uint64_t{1} << 63;
constexpr size_t kMaxDescription = 256;
constexpr size_t kMaxAliasName = 128;
constexpr size_t kMaxTagKey = 128, kMaxTagValue = 256;
constexpr int kMaxTags = 50;
// Of one function: all of them are one small file.
constexpr int kMaxPublished = 1000;
constexpr int kMaxAliases = 200;

// Protobuf strings are UTF-8.
size_t Characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

std::string Quoted(std::string_view text) {
  return fmt::format("\"{}\"", Printable(text.substr(0, 140)));
}

bool IsPublished(const v1::FunctionFacts& facts, uint64_t number) {
  return std::any_of(facts.published().begin(), facts.published().end(),
                     [&](const auto& version) { return version.number() == number; });
}

const v1::Alias* FindAlias(const v1::FunctionFacts& facts, const std::string& name) {
  for (const v1::Alias& alias : facts.aliases()) {
    if (alias.name() == name) return &alias;
  }
  return nullptr;
}

tl::unexpected<Error> NoVersion(const std::string& function, std::string_view number) {
  return MakeError(ErrorKind::kNotFound,
                   fmt::format("function \"{}\" has no published version {}", function, number),
                   "`spore function versions " + function + "` lists those there are");
}

tl::unexpected<Error> NoAlias(const std::string& function, const std::string& alias) {
  return MakeError(ErrorKind::kNotFound,
                   fmt::format("function \"{}\" has no alias {}", function, Quoted(alias)),
                   "`spore function alias ls " + function + "` lists those there are");
}

// Of what an alias keeps ready, the part of its second version.
uint32_t SecondShare(const v1::Alias& alias) {
  if (alias.second_version() == 0) return 0;
  return static_cast<uint32_t>(std::lround(alias.min_instances() * alias.second_weight()));
}

}  // namespace

std::string VersionLabel(const v1::Function& function) {
  return function.published_version() == 0 ? kLatest : std::to_string(function.published_version());
}

uint64_t ScheduledAs(const v1::Function& function) {
  return function.published_version() == 0 ? function.version()
                                           : kPublished | function.published_version();
}

Result<uint64_t> RouteQualifier(const v1::Function& function, const v1::FunctionFacts& facts,
                                const std::string& qualifier, double draw) {
  if (qualifier.empty() || qualifier == kLatest) return uint64_t{0};
  if (AllDigits(qualifier)) {
    uint64_t number = 0;
    const char* end = qualifier.data() + qualifier.size();
    const auto parsed = std::from_chars(qualifier.data(), end, number);
    if (parsed.ec == std::errc() && number != 0 && IsPublished(facts, number)) return number;
    return NoVersion(function.name(), qualifier.substr(0, 20));
  }
  SPORE_TRY(ValidateAliasName(qualifier));
  const v1::Alias* alias = FindAlias(facts, qualifier);
  if (alias == nullptr) return NoAlias(function.name(), qualifier);
  const bool second = alias->second_version() != 0 && draw < alias->second_weight();
  return second ? alias->second_version() : alias->version();
}

Result<std::shared_ptr<const FunctionVersion>> VersionOf(const DeployedFunction& function,
                                                         const std::string& qualifier,
                                                         double draw) {
  const v1::Function& latest = function.latest->function;
  SPORE_ASSIGN(const uint64_t number, RouteQualifier(latest, *function.facts, qualifier, draw));
  if (number == 0) return function.latest;
  const auto found = function.published.find(number);
  if (found != function.published.end()) return found->second;
  return MakeError(
      ErrorKind::kPrecondition,
      "function " + latest.name() + ":" + std::to_string(number) + " is damaged on disk",
      "remove it, or move the alias to another version");
}

bool IsDrawn(const v1::FunctionFacts& facts, const std::string& qualifier) {
  const v1::Alias* alias = FindAlias(facts, qualifier);
  return alias != nullptr && alias->second_version() != 0;
}

uint32_t MaxInstances(const DeployedFunction& function) {
  if (function.facts->has_concurrency()) return function.facts->concurrency();
  return function.latest->function.settings().limits().max_instances();
}

uint64_t ProvisionedOf(const v1::FunctionFacts& facts) {
  uint64_t count = 0;
  for (const v1::PublishedVersion& version : facts.published()) count += version.min_instances();
  for (const v1::Alias& alias : facts.aliases()) count += alias.min_instances();
  return count;
}

std::vector<Reserve> ReservesOf(const DeployedFunction& function) {
  std::map<uint64_t, uint32_t> wanted;  // by number
  wanted[0] = function.latest->function.settings().min_instances();
  for (const v1::PublishedVersion& version : function.facts->published())
    wanted[version.number()] += version.min_instances();
  for (const v1::Alias& alias : function.facts->aliases()) {
    const uint32_t second = SecondShare(alias);
    wanted[alias.version()] += alias.min_instances() - second;
    if (second > 0) wanted[alias.second_version()] += second;
  }
  std::vector<Reserve> reserves;
  for (const auto& [number, instances] : wanted) {
    const auto found = function.published.find(number);
    if (instances == 0 || (number != 0 && found == function.published.end())) continue;
    const v1::Function& of = (number == 0 ? function.latest : found->second)->function;
    reserves.push_back({.version = ScheduledAs(of),
                        .instances = instances,
                        .max_instances = MaxInstances(function),
                        .reuse = of.settings().isolation() == v1::ISOLATION_INSTANCE,
                        .client = of.owner_uid()});
  }
  return reserves;
}

Result<> ValidateDescription(const std::string& description) {
  if (Characters(description) <= kMaxDescription) return {};
  return MakeError(ErrorKind::kInvalid,
                   fmt::format("description: {} characters; expected at most {}",
                               Characters(description), kMaxDescription));
}

Result<> ValidateAliasName(const std::string& name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  if (!name.empty() && name.size() <= kMaxAliasName &&
      name.find_first_not_of(kAllowed) == name.npos && !AllDigits(name))
    return {};
  return MakeError(
      ErrorKind::kInvalid,
      fmt::format("alias: {} is not valid; expected 1 to 128 of A-Z a-z 0-9 _ -, not digits alone",
                  Quoted(name)));
}

Result<> ValidateTags(const v1::TagRequest& request) {
  for (const auto& [key, value] : request.set()) {
    if (key.empty() || Characters(key) > kMaxTagKey) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("tags: the key {} has {} characters; expected 1 to {}",
                                   Quoted(key), Characters(key), kMaxTagKey));
    }
    if (Characters(value) > kMaxTagValue) {
      return MakeError(ErrorKind::kInvalid,
                       fmt::format("tags.{}: the value has {} characters; expected at most {}",
                                   Printable(key), Characters(value), kMaxTagValue));
    }
  }
  return {};
}

namespace {

// The code and settings that are frozen; what is kept ready, and the words on it, are no part of
// it.
bool SameFrozen(const v1::Function& a, const v1::Function& b) {
  v1::FunctionSettings left = a.settings(), right = b.settings();
  for (v1::FunctionSettings* settings : {&left, &right}) {
    settings->clear_min_instances();
    settings->clear_description();
  }
  return a.code_digest() == b.code_digest() && a.image_digest() == b.image_digest() &&
         google::protobuf::util::MessageDifferencer::Equals(left, right);
}

Result<> CheckPublish(const v1::PublishVersionRequest& request, const FunctionState& state) {
  if (const std::string& digest = request.code_digest();
      !digest.empty() && digest != state.current.code_digest()) {
    return MakeError(ErrorKind::kPrecondition,
                     fmt::format("code_digest: {}, but the code is {}: it was changed meanwhile",
                                 Quoted(digest), state.current.code_digest()));
  }
  const std::string revision = RevisionId(state.current, state.facts);
  if (!request.revision_id().empty() && request.revision_id() != revision) {
    return MakeError(
        ErrorKind::kPrecondition,
        fmt::format("revision_id: {}, but function {} has {}: it was changed meanwhile",
                    Quoted(request.revision_id()), state.current.name(), revision));
  }
  return {};
}

}  // namespace

FunctionStore::ChangeFacts ChangePublish(const v1::PublishVersionRequest& request, int64_t now_ms,
                                         std::shared_ptr<Published> published) {
  return [request, now_ms, published](const FunctionState& state,
                                      v1::FunctionFacts* facts) -> Result<> {
    SPORE_TRY(CheckPublish(request, state));
    const auto last = state.published.find(facts->last_published());
    if (last != state.published.end() && SameFrozen(last->second, state.current)) {
      *published = {last->first, true};
      return {};
    }
    if (facts->published_size() >= kMaxPublished) {
      return MakeError(ErrorKind::kOverloaded,
                       fmt::format("function {} has {} published versions, the most there may be",
                                   state.current.name(), kMaxPublished),
                       "remove some with `spore function rm NAME:N`");
    }
    facts->set_last_published(facts->last_published() + 1);
    v1::PublishedVersion& version = *facts->add_published();
    version.set_number(facts->last_published());
    version.set_description(request.has_description() ? request.description()
                                                      : state.current.settings().description());
    version.set_published_unix_ms(now_ms);
    version.set_update(state.current.version());
    *published = {version.number(), false};
    return {};
  };
}

FunctionStore::ChangeFacts ChangeRemoveVersion(uint64_t number) {
  return [number](const FunctionState& state, v1::FunctionFacts* facts) -> Result<> {
    const std::string& name = state.current.name();
    if (!IsPublished(*facts, number)) return NoVersion(name, std::to_string(number));
    std::string users;
    for (const v1::Alias& alias : facts->aliases()) {
      if (alias.version() == number || alias.second_version() == number)
        users += (users.empty() ? "" : ", ") + alias.name();
    }
    if (!users.empty()) {
      return MakeError(
          ErrorKind::kPrecondition,
          fmt::format("version {} of function {} is named by the aliases {}", number, name, users),
          "move or remove them first");
    }
    auto& all = *facts->mutable_published();
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const auto& version) { return version.number() == number; }),
              all.end());
    return {};
  };
}

namespace {

Result<> CheckAlias(const std::string& function, const v1::FunctionFacts& facts,
                    const v1::Alias& alias) {
  if (!IsPublished(facts, alias.version()))
    return NoVersion(function, std::to_string(alias.version()));
  if (alias.second_version() == 0) return {};
  if (!IsPublished(facts, alias.second_version()))
    return NoVersion(function, std::to_string(alias.second_version()));
  if (alias.second_version() == alias.version()) {
    return MakeError(
        ErrorKind::kInvalid,
        fmt::format("alias.second_version: {} is the first version too; expected another",
                    alias.version()));
  }
  if (alias.second_weight() >= 0 && alias.second_weight() <= 1) return {};
  return MakeError(ErrorKind::kInvalid,
                   fmt::format("alias.second_weight: {} is out of range; expected 0 to 1",
                               alias.second_weight()));
}

// `asked` over what was there.
v1::Alias MergeAlias(const v1::Alias& old, const v1::SetAliasRequest& request) {
  const v1::Alias& asked = request.alias();
  v1::Alias merged = asked;
  merged.set_min_instances(old.min_instances());
  merged.clear_revision_id();
  if (!request.update()) return merged;
  if (asked.version() == 0) merged.set_version(old.version());
  if (asked.description().empty() && !request.clear_description())
    merged.set_description(old.description());
  if (asked.second_version() == 0 && !request.clear_second()) {
    merged.set_second_version(old.second_version());
    merged.set_second_weight(old.second_weight());
  }
  return merged;
}

Result<> CheckAliasIsThere(const v1::SetAliasRequest& request, const v1::Alias* old) {
  const std::string& name = request.alias().name();
  if (request.create() && old != nullptr) {
    return MakeError(ErrorKind::kExists, fmt::format("function \"{}\" has an alias {} already",
                                                     request.name(), Quoted(name)));
  }
  if (request.update() && old == nullptr) return NoAlias(request.name(), name);
  const std::string& wanted = request.alias().revision_id();
  if (wanted.empty() || (old != nullptr && old->revision_id() == wanted)) return {};
  return MakeError(
      ErrorKind::kPrecondition,
      fmt::format("alias.revision_id: {}, but alias {} has {}: it was changed meanwhile",
                  Quoted(wanted), name, old == nullptr ? "none" : old->revision_id()));
}

}  // namespace

FunctionStore::ChangeFacts ChangeSetAlias(const v1::SetAliasRequest& request) {
  return [request](const FunctionState& state, v1::FunctionFacts* facts) -> Result<> {
    const std::string& name = request.alias().name();
    SPORE_TRY(ValidateAliasName(name));
    const v1::Alias* old = FindAlias(*facts, name);
    SPORE_TRY(CheckAliasIsThere(request, old));
    v1::Alias alias = MergeAlias(old == nullptr ? v1::Alias() : *old, request);
    if (alias.second_version() == 0) alias.clear_second_weight();
    SPORE_TRY(CheckAlias(state.current.name(), *facts, alias));
    if (old == nullptr && facts->aliases_size() >= kMaxAliases) {
      return MakeError(ErrorKind::kOverloaded,
                       fmt::format("function {} has {} aliases, the most there may be",
                                   state.current.name(), kMaxAliases),
                       "remove some with `spore function alias rm`");
    }
    alias.set_revision_id(RevisionId(state.current, *facts));
    auto& all = *facts->mutable_aliases();
    for (v1::Alias& other : all) {
      if (other.name() != name) continue;
      // What is as it was is no change, and has no other revision.
      const std::string was = other.revision_id();
      v1::Alias same = alias;
      same.set_revision_id(was);
      if (!google::protobuf::util::MessageDifferencer::Equals(same, other)) other = alias;
      return {};
    }
    *all.Add() = alias;
    std::sort(all.begin(), all.end(),
              [](const v1::Alias& a, const v1::Alias& b) { return a.name() < b.name(); });
    return {};
  };
}

FunctionStore::ChangeFacts ChangeRemoveAlias(const std::string& alias) {
  return [alias](const FunctionState& state, v1::FunctionFacts* facts) -> Result<> {
    if (FindAlias(*facts, alias) == nullptr) return NoAlias(state.current.name(), alias);
    auto& all = *facts->mutable_aliases();
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const v1::Alias& other) { return other.name() == alias; }),
              all.end());
    return {};
  };
}

FunctionStore::ChangeFacts ChangeTags(const v1::TagRequest& request) {
  return [request](const FunctionState&, v1::FunctionFacts* facts) -> Result<> {
    for (const std::string& key : request.remove()) facts->mutable_tags()->erase(key);
    for (const auto& [key, value] : request.set()) (*facts->mutable_tags())[key] = value;
    if (facts->tags().size() <= kMaxTags) return {};
    return MakeError(ErrorKind::kInvalid,
                     fmt::format("tags: {} would be there; expected at most {}",
                                 facts->tags().size(), kMaxTags));
  };
}

Result<> CheckKeptReady(const v1::Function& current, const v1::FunctionFacts& facts) {
  const uint64_t kept = current.settings().min_instances() + ProvisionedOf(facts);
  // 0 is for a while: what comes after it has to fit.
  const uint32_t most =
      facts.concurrency() > 0 ? facts.concurrency() : current.settings().limits().max_instances();
  if (kept <= most) return {};
  return MakeError(
      ErrorKind::kInvalid,
      fmt::format("{} instances of function {} would be kept ready, of the {} that it "
                  "may have",
                  kept, current.name(), most),
      "keep fewer ready (function provision, --min-instances), or allow more (function "
      "concurrency, --max-instances)");
}

FunctionStore::ChangeFacts ChangeConcurrency(const v1::SetConcurrencyRequest& request) {
  return [request](const FunctionState& state, v1::FunctionFacts* facts) -> Result<> {
    if (request.has_concurrency()) {
      facts->set_concurrency(request.concurrency());
    } else {
      facts->clear_concurrency();
    }
    // An emergency does not ask.
    if (request.has_concurrency() && request.concurrency() == 0) return {};
    return CheckKeptReady(state.current, *facts);
  };
}

FunctionStore::ChangeFacts ChangeProvision(const v1::ProvisionRequest& request) {
  return [request](const FunctionState& state, v1::FunctionFacts* facts) -> Result<> {
    const std::string& qualifier = request.qualifier();
    if (qualifier.empty() || qualifier == kLatest) {
      return MakeError(ErrorKind::kInvalid,
                       "qualifier: the working copy; expected a published version or an alias",
                       "`spore function update NAME --min-instances N` is for the working copy");
    }
    SPORE_ASSIGN(const uint64_t number, RouteQualifier(state.current, *facts, qualifier, 1));
    if (AllDigits(qualifier)) {
      for (v1::PublishedVersion& version : *facts->mutable_published()) {
        if (version.number() == number) version.set_min_instances(request.instances());
      }
    } else {
      for (v1::Alias& alias : *facts->mutable_aliases()) {
        if (alias.name() == qualifier) alias.set_min_instances(request.instances());
      }
    }
    return request.instances() == 0 ? Result<>() : CheckKeptReady(state.current, *facts);
  };
}

}  // namespace spore
