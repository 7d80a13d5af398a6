// spore info and version.
#include <fmt/format.h>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

Expected<v1::InfoResponse> Ask(const Context& context) {
  return CallDaemon<v1::InfoResponse>(context, "spore.v1.System", "Info", v1::InfoRequest());
}

Outcome Info(const Context& context) {
  auto info = Ask(context);
  if (!info) return tl::unexpected(info.error());
  if (context.json) {
    PrintJson(ToJson(*info));
    return kDone;
  }
  PrintPairs({{"Version", info->version()},
              {"Process", fmt::format("{}", info->pid())},
              {"Started", HumanTime(info->started_unix_ms())},
              {"Socket", context.socket},
              {"State", info->state_dir()},
              {"Cgroups", info->cgroup_layout()}});
  Table table({{"IMAGE"},
               {"RUNTIME"},
               {"STATE"},
               {"ZYGOTE", Align::kRight},
               {"FORKS", Align::kRight},
               {"PRELOADED", Align::kRight}});
  for (const v1::Image& image : info->images()) {
    table.Add({image.name(),
               image.runtime_version().empty() ? image.runtime()
                                               : image.runtime() + " " + image.runtime_version(),
               StateName(image.state()),
               image.zygote_pid() == 0 ? "-" : fmt::format("{}", image.zygote_pid()),
               fmt::format("{}", image.forks()), fmt::format("{}", image.preload_size())});
  }
  fmt::print("\n");
  table.Print();
  for (const v1::Image& image : info->images()) {
    if (image.reason().empty()) continue;
    fmt::print("\n{}: {}\n", image.name(), ForTerminal(image.reason(), 1));
  }
  return kDone;
}

// Says what it can: a daemon that does not answer is no failure here.
Outcome Version(const Context& context) {
  auto info = Ask(context);
  if (context.json) {
    nlohmann::ordered_json json;
    json["client"] = SPORE_VERSION;
    json["daemon"] = info ? nlohmann::ordered_json(info->version()) : nlohmann::ordered_json();
    PrintJson(json);
    return kDone;
  }
  fmt::print("spore {}\n", SPORE_VERSION);
  fmt::print("spored {}\n", info ? info->version() : "not reachable at " + context.socket);
  return kDone;
}

}  // namespace

void AddInfo(CLI::App& app, Context& context) {
  CLI::App* info = AddCommand(app, context, "info", "Describe the daemon and its images");
  info->callback([&context] { context.command = [&context] { return Info(context); }; });
  CLI::App* version = AddCommand(app, context, "version", "Print the versions of spore and spored");
  version->callback([&context] { context.command = [&context] { return Version(context); }; });
}

}  // namespace spore::cli
