// spore advise FUNCTION.
#include <fmt/format.h>

#include <memory>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

// What is quicker to import is of no interest, unless all is asked for.
constexpr uint64_t kLeastUs = 1000;

void PrintModules(const v1::AdviseResponse& advice, bool all) {
  Table table({{"MODULE"},
               {"OWN TIME", Align::kRight},
               {"WITH IMPORTS", Align::kRight},
               {"MEMORY", Align::kRight},
               {"FROM"}});
  int left_out = 0;
  for (const auto& module : advice.modules()) {
    if (!all && module.self_us() < kLeastUs) {
      ++left_out;
      continue;
    }
    table.Add({module.name(), HumanMicroseconds(module.self_us()),
               HumanMicroseconds(module.total_us()),
               module.memory_bytes() == 0 ? "-" : HumanBytes(module.memory_bytes()),
               module.own() ? "function" : "image"});
  }
  if (left_out < advice.modules_size()) table.Print();
  if (left_out > 0)
    fmt::print("{} modules that took less than {} each are left out (--all shows them).\n",
               left_out, HumanMicroseconds(kLeastUs));
}

void PrintSets(const v1::AdviseResponse& advice) {
  const v1::AdviseResponse::Set* serving = nullptr;
  for (const auto& set : advice.sets()) {
    if (set.serves()) serving = &set;
  }
  for (const auto& set : advice.sets()) {
    if (serving == nullptr)
      fmt::print(
          "\nLibrary set {} would save {} of a start: the function's setting --libraries says "
          "otherwise.\n",
          set.name(), HumanMicroseconds(set.saves_us()));
  }
  if (serving != nullptr) {
    fmt::print("\nLibrary set {} serves it: {} of a start are saved while its zygote is there.\n",
               serving->name(), HumanMicroseconds(serving->saves_us()));
  }
  if (!advice.has_proposed()) {
    fmt::print("\n{}\n",
               advice.sets_size() > 0 ? "Nothing else would pay." : "No library set would pay.");
    return;
  }
  const auto& proposed = advice.proposed();
  fmt::print(
      "\nA library set would save {} of each start and hold about {}. In the manifest of image "
      "{}:\n\n{}",
      HumanMicroseconds(proposed.saves_us()), HumanBytes(proposed.memory_bytes()), advice.image(),
      ForTerminal(advice.fragment(), 1));
}

Outcome Advise(const Context& context, const std::string& name, bool all) {
  v1::AdviseRequest request;
  request.set_name(name);
  auto advice = CallDaemon<v1::AdviseResponse>(context, "spore.v1.Functions", "Advise", request);
  if (!advice) return tl::unexpected(advice.error());
  if (context.json) {
    PrintJson(ToJson(*advice));
    return kDone;
  }
  fmt::print("{}, version {}, image {}: loaded in {}\n\n", advice->function(),
             advice->function_version(), advice->image(), HumanMicroseconds(advice->load_us()));
  PrintModules(*advice, all);
  if (advice->preloaded_size() > 0) {
    std::string names;
    for (const std::string& preloaded : advice->preloaded())
      names += (names.empty() ? "" : ", ") + preloaded;
    fmt::print("\nPreloaded already: {}\n", ForTerminal(names, 1));
  }
  PrintSets(*advice);
  return kDone;
}

}  // namespace

void AddAdvise(CLI::App& app, Context& context) {
  CLI::App* advise =
      AddCommand(app, context, "advise", "Say which preloads would make a function start sooner");
  struct Arguments {
    std::string name;
    bool all = false;
  };
  auto arguments = std::make_shared<Arguments>();
  advise->add_option("FUNCTION", arguments->name, "Name of the function")->required();
  advise->add_flag("--all", arguments->all, "Show modules that took next to nothing, too");
  advise->callback([&context, arguments] {
    context.command = [&context, arguments] {
      return Advise(context, arguments->name, arguments->all);
    };
  });
}

}  // namespace spore::cli
