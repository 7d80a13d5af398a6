#include "tools/spore/complete.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>
#include <string_view>

#include "spore/v1/session_checkpoints.pb.h"
#include "tools/spore/observability.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

// What stands at a place where no fixed word does.
enum class Kind { kNothing, kFiles, kFunctions, kImages, kInstances, kCheckpoints, kKept };

// Where on the command line the word is that is being typed.
struct Place {
  const CLI::App* command = nullptr;
  const CLI::Option* value_of = nullptr;  // it is this option's value
  size_t operand = 0;                     // else: so many operands stand before it
  bool only_operands = false;             // "--" stands before it
};

const CLI::App* SubcommandOf(const CLI::App& command, const std::string& name) {
  const auto all = command.get_subcommands([](const CLI::App*) { return true; });
  const auto found = std::find_if(all.begin(), all.end(), [&](const CLI::App* candidate) {
    return candidate->check_name(name);
  });
  return found == all.end() ? nullptr : *found;
}

bool TakesValue(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

const CLI::Option* OptionOf(const CLI::App& command, const std::string& word) {
  const auto options = command.get_options();
  const auto found = std::find_if(options.begin(), options.end(), [&](const CLI::Option* option) {
    return option->nonpositional() && option->check_name(word);
  });
  return found == options.end() ? nullptr : *found;
}

std::vector<const CLI::Option*> OperandsOf(const CLI::App& command) {
  return command.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

Place Locate(const CLI::App& root, const std::vector<std::string>& words) {
  Place place{.command = &root};
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (place.value_of != nullptr) {
      place.value_of = nullptr;
    } else if (!place.only_operands && word == "--") {
      place.only_operands = true;
    } else if (!place.only_operands && word.size() > 1 && word.front() == '-') {
      const CLI::Option* option = OptionOf(*place.command, word);
      if (option != nullptr && TakesValue(*option)) place.value_of = option;
    } else if (const CLI::App* next = SubcommandOf(*place.command, word);
               next != nullptr && place.operand == 0) {
      place.command = next;
    } else {
      ++place.operand;
    }
  }
  return place;
}

// The names under which the manual knows operands and values say what they are.
Kind KindOf(const CLI::App& command, std::string_view name) {
  const std::string parent =
      command.get_parent() != nullptr ? command.get_parent()->get_name() : "";
  if (name == "PATH" || name == "FILE" || name == "SCRIPT" || name == "DIR") return Kind::kFiles;
  if (name == "FUNCTION") return Kind::kFunctions;
  if (name.substr(0, 5) == "IMAGE") return Kind::kImages;
  if (name == "NAME" && (parent == "sandbox" || parent == "checkpoints")) return Kind::kKept;
  if (name == "NAME") return parent == "image" ? Kind::kImages : Kind::kFunctions;
  if (name == "ID" && parent == "checkpoint") return Kind::kCheckpoints;
  // Of a command at the top: that of the instances.
  if (name == "ID" && command.get_parent() != nullptr && parent == "spore") return Kind::kInstances;
  return Kind::kNothing;
}

template <typename Response, typename Request>
std::optional<Response> Ask(const Context& context, const char* service, const Request& request) {
  auto response =
      CallDaemon<Response>(context, std::string("spore.v1.") + service, "List", request);
  if (!response) return std::nullopt;
  return std::move(*response);
}

std::vector<Candidate> NamesOf(Kind kind, const Context& context) {
  std::vector<Candidate> names;
  if (kind == Kind::kFunctions) {
    if (auto list =
            Ask<v1::ListFunctionsResponse>(context, "Functions", v1::ListFunctionsRequest()))
      for (const v1::Function& function : list->functions())
        names.push_back({function.name(), function.settings().runtime()});
  } else if (kind == Kind::kImages) {
    if (auto list = Ask<v1::ListImagesResponse>(context, "Images", v1::ListImagesRequest()))
      for (const v1::Image& image : list->images())
        names.push_back({image.name(), image.runtime()});
  } else if (kind == Kind::kInstances) {
    if (auto list =
            Ask<v1::ListInstancesResponse>(context, "Instances", v1::ListInstancesRequest()))
      for (const v1::Instance& instance : list->instances())
        names.push_back({instance.id(), instance.function()});
  } else if (kind == Kind::kCheckpoints) {
    if (auto list =
            Ask<v1::ListCheckpointsResponse>(context, "Checkpoints", v1::ListCheckpointsRequest()))
      for (const v1::Checkpoint& checkpoint : list->checkpoints())
        names.push_back({checkpoint.id(), checkpoint.image()});
  } else if (kind == Kind::kKept) {
    if (auto list = Ask<v1::ListSessionCheckpointsResponse>(context, "SessionCheckpoints",
                                                            v1::ListSessionCheckpointsRequest()))
      for (const v1::SessionCheckpoint& checkpoint : list->checkpoints())
        names.push_back({checkpoint.name(), checkpoint.image()});
  }
  return names;
}

std::vector<Candidate> OptionsOf(const CLI::App& command) {
  std::vector<Candidate> options;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames())
      options.push_back({"--" + name, option->get_description()});
  }
  return options;
}

std::vector<Candidate> SubcommandsOf(const CLI::App& command) {
  std::vector<Candidate> commands;
  for (const CLI::App* next : command.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back({next->get_name(), next->get_description()});
  return commands;
}

// Values that an option takes and no others.
std::vector<Candidate> ValuesOf(const CLI::Option& option) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kValues = {{
      {"--runtime", "python"},
      {"--runtime", "node"},
      {"--runtime", "java"},
      {"--runtime", "native"},
      {"--runtime", "provided"},
      {"--isolation", "instance"},
      {"--isolation", "invocation"},
      {"--network", "none"},
      {"--network", "egress:"},
  }};
  std::vector<Candidate> values;
  for (const auto& [name, value] : kValues)
    if (option.check_name(std::string(name))) values.push_back({std::string(value), ""});
  if (option.check_name("--kind")) {
    for (const std::string& kind : EventKindNames()) values.push_back({kind, ""});
  }
  // As a type's name says them: "table|json", but not "TEXT|@FILE".
  const std::string type = option.get_type_name();
  const bool says =
      type.find('|') != std::string::npos &&
      std::none_of(type.begin(), type.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (!values.empty() || !says) return values;
  std::istringstream list(type);
  for (std::string value; std::getline(list, value, '|');) values.push_back({value, ""});
  return values;
}

void AddNames(Kind kind, const Context& context, Completion* completion) {
  completion->files = kind == Kind::kFiles;
  completion->candidates = NamesOf(kind, context);
}

}  // namespace

Completion Complete(const CLI::App& root, const Context& context,
                    const std::vector<std::string>& words) {
  const std::string typed = words.empty() ? std::string() : words.back();
  const Place place = Locate(root, words);
  Completion completion;
  if (place.value_of != nullptr) {
    completion.candidates = ValuesOf(*place.value_of);
    if (completion.candidates.empty()) {
      const bool image = place.value_of->check_name("--image");
      AddNames(image ? Kind::kImages : KindOf(*place.command, place.value_of->get_type_name()),
               context, &completion);
    }
  } else if (!place.only_operands && !typed.empty() && typed.front() == '-') {
    completion.candidates = OptionsOf(*place.command);
  } else if (place.operand == 0 && !SubcommandsOf(*place.command).empty()) {
    completion.candidates = SubcommandsOf(*place.command);
  } else if (const auto operands = OperandsOf(*place.command); !operands.empty()) {
    // The last one may be a list.
    const CLI::Option& operand = *operands[std::min(place.operand, operands.size() - 1)];
    AddNames(KindOf(*place.command, operand.get_name(true)), context, &completion);
  }
  std::erase_if(completion.candidates, [&](const Candidate& candidate) {
    return candidate.word.compare(0, typed.size(), typed) != 0;
  });
  return completion;
}

void PrintCompletion(const Completion& completion) {
  for (const Candidate& candidate : completion.candidates) {
    const std::string line = candidate.description.substr(0, candidate.description.find('\n'));
    fmt::print("{}\t{}\n", Visible(candidate.word), Visible(line));
  }
  fmt::print(":{}\n", completion.files ? "files" : "words");
}

}  // namespace spore::cli
