#include "daemon/functions/advice.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "daemon/common/runtimes.h"
#include "daemon/functions/import_hints.h"

namespace spore {
namespace {

using nlohmann::json;

constexpr size_t kMaxModules = 200;
constexpr size_t kMaxNames = 400;
constexpr size_t kMaxNameBytes = 200;
constexpr size_t kMaxProposed = 14;  // whose names fit into a manifest however long
// What takes no longer to import is not worth a set.
constexpr uint64_t kLeastSavedUs = 1000;
constexpr uint64_t kMostUs = 3'600'000'000;
constexpr uint64_t kMostBytes = 1ull << 40;

std::string TopOf(const std::string& name) {
  return name.substr(0, name.find('.'));
}

uint64_t NumberOf(const json& value, const char* key, uint64_t most) {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_number_unsigned()) return 0;
  return std::min(found->get<uint64_t>(), most);
}

bool IsName(const json& value) {
  return value.is_string() && !value.get_ref<const std::string&>().empty() &&
         value.get_ref<const std::string&>().size() <= kMaxNameBytes;
}

std::vector<std::string> NamesOf(const json& value, const char* key, size_t most) {
  std::vector<std::string> names;
  const auto found = value.find(key);
  if (found == value.end() || !found->is_array()) return names;
  for (const json& name : *found) {
    if (names.size() < most && IsName(name)) names.push_back(name.get<std::string>());
  }
  return names;
}

// A package brings its dependencies along: what a module took with all that it imported.
uint64_t TotalOf(const Measurement& measured, const std::string& name) {
  for (const auto& module : measured.modules) {
    if (module.said.name() == name) return module.said.total_us();
  }
  return 0;
}

void AddSets(const ImageManifest& image, const Measurement& measured, const std::string& serves,
             v1::AdviseResponse& advice) {
  const std::set<std::string> loaded(measured.loaded.begin(), measured.loaded.end());
  for (const LibrarySet& held : image.sets) {
    const bool fits = std::all_of(held.modules.begin(), held.modules.end(),
                                  [&](const auto& module) { return loaded.contains(module); });
    if (!fits && held.name != serves) continue;
    auto* set = advice.add_sets();
    set->set_name(held.name);
    set->set_serves(held.name == serves);
    std::set<std::string> counted;
    for (const LibrarySet* part : image.Chain(held.name)) {
      for (const std::string& module : part->modules) {
        if (part->name == held.name) set->add_modules(module);
        if (counted.insert(module).second)
          set->set_saves_us(
              std::min(set->saves_us() + TotalOf(measured, module), advice.load_us()));
      }
    }
  }
}

std::string Fragment(const v1::AdviseResponse::Set& set) {
  std::string modules;
  for (const std::string& module : set.modules())
    modules += (modules.empty() ? "\"" : ", \"") + module + "\"";
  return "[[set]]\nname = \"" + set.name() + "\"\nmodules = [" + modules + "]\n";
}

// Letters and digits of the packages, three at most, and not the name of another set.
std::string NameFor(const ImageManifest& image, const v1::AdviseResponse::Set& set) {
  std::string name;
  std::set<std::string> tops;
  for (const std::string& module : set.modules()) {
    if (tops.size() < 3 && tops.insert(TopOf(module)).second)
      name += (name.empty() ? "" : "-") + TopOf(module);
  }
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0 && c != '_'; },
      '-');
  if (std::isalnum(static_cast<unsigned char>(name.front())) == 0) name = "set" + name;
  name = name.substr(0, 60);
  std::string unused = name;
  for (int i = 2; image.FindSet(unused) != nullptr; ++i) unused = name + "-" + std::to_string(i);
  return unused;
}

// One set with what the function itself imports, takes its time and is in no set that serves
// already. What these import in turn comes along.
void AddProposal(const ImageManifest& image, const Measurement& measured, const std::string& serves,
                 v1::AdviseResponse& advice) {
  std::set<std::string> covered;
  for (const LibrarySet* part : image.Chain(serves)) {
    covered.insert(part->modules.begin(), part->modules.end());
  }
  const RuntimeFacts* runtime = FindRuntime(image.runtime);
  std::vector<const Measurement::Module*> dearest;
  for (const auto& module : measured.modules) {
    const std::string& name = module.said.name();
    const bool fits =
        module.direct && !module.said.own() && module.said.total_us() >= kLeastSavedUs;
    if (fits && !covered.contains(name) && runtime->is_preload(name)) dearest.push_back(&module);
  }
  if (dearest.empty()) return;
  std::sort(dearest.begin(), dearest.end(),
            [](const auto* a, const auto* b) { return a->said.total_us() > b->said.total_us(); });
  if (dearest.size() > kMaxProposed) dearest.resize(kMaxProposed);
  v1::AdviseResponse::Set& set = *advice.mutable_proposed();
  for (const auto* module : dearest) {
    set.add_modules(module->said.name());
    set.set_saves_us(set.saves_us() + module->said.total_us());
    set.set_memory_bytes(set.memory_bytes() + module->total_bytes);
  }
  set.set_name(NameFor(image, set));
  advice.set_fragment(Fragment(set));
}

}  // namespace

Result<Measurement> ParseMeasurement(std::string_view report) {
  const json value = json::parse(report, nullptr, false);
  if (!value.is_object() || !value.contains("modules") || !value["modules"].is_array())
    return MakeError(ErrorKind::kInvalid, "not a report of a measuring load");
  Measurement measured;
  measured.load_us = NumberOf(value, "load_us", kMostUs);
  for (const json& entry : value["modules"]) {
    if (measured.modules.size() == kMaxModules) break;
    if (!entry.is_object() || !entry.contains("name") || !IsName(entry["name"])) continue;
    Measurement::Module& held = measured.modules.emplace_back();
    held.total_bytes = NumberOf(entry, "total_bytes", kMostBytes);
    held.direct = entry.value("direct", json()) == json(true);
    v1::AdviseResponse::Module& module = held.said;
    module.set_name(entry["name"].get<std::string>());
    module.set_self_us(NumberOf(entry, "self_us", kMostUs));
    module.set_total_us(NumberOf(entry, "total_us", kMostUs));
    module.set_memory_bytes(NumberOf(entry, "memory_bytes", kMostBytes));
    module.set_own(entry.value("own", json()) == json(true));
  }
  measured.preloaded = NamesOf(value, "preloaded", kMaxNames);
  measured.loaded = NamesOf(value, "loaded", kMaxNames);
  return measured;
}

v1::AdviseResponse MakeAdvice(const ImageManifest& image, const Measurement& measured,
                              const std::string& named) {
  v1::AdviseResponse advice;
  advice.set_image(image.name);
  advice.set_load_us(measured.load_us);
  for (const auto& module : measured.modules) *advice.add_modules() = module.said;
  for (const std::string& name : measured.preloaded) advice.add_preloaded(name);
  const std::string fits = BestSet(image, measured.loaded);
  const std::string serves = named.empty() ? fits : image.FindSet(named) != nullptr ? named : "";
  AddSets(image, measured, serves, advice);
  AddProposal(image, measured, fits, advice);
  return advice;
}

}  // namespace spore
