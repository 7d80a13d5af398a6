// spore info and version.
#include <fmt/format.h>

#include <map>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

Expected<v1::InfoResponse> Ask(const Context& context) {
  return CallDaemon<v1::InfoResponse>(context, "spore.v1.System", "Info", v1::InfoRequest());
}

// "11: 9 not started, 2 ready".
std::string CountsOf(const google::protobuf::RepeatedPtrField<v1::Image>& images) {
  std::map<v1::Image::State, int> counts;
  for (const v1::Image& image : images) ++counts[image.state()];
  std::string text = fmt::format("{}", images.size());
  for (const auto& [state, count] : counts) {
    text +=
        fmt::format("{} {} {}", text.find(':') == text.npos ? ":" : ",", count, StateName(state));
  }
  return text;
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
              {"Cgroups", info->cgroup_layout()},
              {"Images", CountsOf(info->images())}});
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
