// spore ps, inspect and kill.
#include <fmt/format.h>

#include <memory>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Instances";

std::string FunctionOf(const v1::Instance& instance) {
  return instance.function().empty()
             ? "(run)"
             : fmt::format("{}:{}", instance.function(), instance.qualifier());
}

std::string StateOf(const v1::Instance& instance) {
  if (instance.state() != v1::Instance::DEAD) return StateName(instance.state());
  return "dead: " + DescribeDeath(instance.death(), instance.limits().timeout_ms());
}

struct ListArguments {
  std::string function;
  bool all = false;
  bool quiet = false;
};

Outcome List(const Context& context, const ListArguments& arguments) {
  v1::ListInstancesRequest request;
  request.set_function(arguments.function);
  request.set_include_dead(arguments.all);
  auto response = CallDaemon<v1::ListInstancesResponse>(context, kService, "List", request);
  if (!response) return tl::unexpected(response.error());
  if (arguments.quiet) {
    for (const v1::Instance& instance : response->instances()) fmt::print("{}\n", instance.id());
    return kDone;
  }
  if (context.json) {
    PrintJsonList(response->instances());
    return kDone;
  }
  Table table({{"ID"},
               {"FUNCTION"},
               {"IMAGE"},
               {"START"},
               {"PID", Align::kRight},
               {"AGE", Align::kRight},
               {"CALLS", Align::kRight},
               {"MEMORY", Align::kRight},
               {"CPU", Align::kRight},
               {"STATE"}});
  for (const v1::Instance& instance : response->instances()) {
    table.Add({instance.id(), FunctionOf(instance), instance.image(),
               StartName(instance.start_kind()),
               instance.pid() == 0 ? "-" : fmt::format("{}", instance.pid()),
               HumanAge(instance.started_unix_ms()), fmt::format("{}", instance.invocations()),
               HumanBytes(instance.memory_bytes()), HumanMicroseconds(instance.cpu_us()),
               StateOf(instance)});
  }
  table.Print();
  return kDone;
}

Outcome Inspect(const Context& context, const std::string& id) {
  v1::InspectRequest request;
  request.set_id(id);
  auto instance = CallDaemon<v1::Instance>(context, kService, "Inspect", request);
  if (!instance) return tl::unexpected(instance.error());
  if (context.json) {
    PrintJson(ToJson(*instance));
    return kDone;
  }
  const v1::Limits& limits = instance->limits();
  const bool dead = instance->state() == v1::Instance::DEAD;
  const v1::Usage& usage = instance->death().usage();
  std::vector<std::pair<std::string, std::string>> pairs{
      {"ID", instance->id()},
      {"Function", FunctionOf(*instance)},
      {"Image", instance->image()},
      {"State", StateName(instance->state())},
      {"Start", StartName(instance->start_kind())},
      {"Started", HumanTime(instance->started_unix_ms())},
      {"Owner", fmt::format("uid {}", instance->owner_uid())},
      {"Process", dead ? "" : fmt::format("{}, uid {}", instance->pid(), instance->uid())},
      {"Invocations", fmt::format("{}", instance->invocations())},
      {"Memory", fmt::format("{} of {}", HumanBytes(instance->memory_bytes()),
                             HumanBytes(limits.memory_bytes()))},
      {"CPU time", HumanMicroseconds(instance->cpu_us())},
      {"CPUs", fmt::format("{:g}", limits.cpu_millis() / 1000.0)},
      {"Processes", fmt::format("{} of {}", instance->pids(), limits.pids())},
      {"/tmp", HumanBytes(limits.tmp_bytes())},
      {"Timeout", HumanMicroseconds(limits.timeout_ms() * 1000)},
  };
  if (dead) {
    pairs.emplace_back("Ended", DescribeDeath(instance->death(), limits.timeout_ms()));
    pairs.emplace_back(
        "Used",
        fmt::format("cpu {}, peak memory {}, lived {}", HumanMicroseconds(usage.cpu_us()),
                    HumanBytes(usage.memory_peak_bytes()), HumanMicroseconds(usage.wall_us())));
  }
  for (const std::string& path : instance->cgroups()) pairs.emplace_back("Cgroup", path);
  PrintPairs(pairs);
  return kDone;
}

Outcome Kill(const Context& context, const std::vector<std::string>& ids) {
  return CallForEach(context, ids,
                     [](client::Connection& connection, const auto& id) -> client::Result<> {
                       v1::KillRequest request;
                       request.set_id(id);
                       auto killed = connection.Call<v1::KillResponse>(kService, "Kill", request);
                       if (!killed) return tl::unexpected(killed.error());
                       fmt::print("{}\n", killed->id());
                       return {};
                     });
}

}  // namespace

void AddPs(CLI::App& app, Context& context) {
  CLI::App* list = AddCommand(app, context, "ps", "List instances");
  auto arguments = std::make_shared<ListArguments>();
  list->add_option("FUNCTION", arguments->function, "Only those of this function");
  list->add_flag("-a,--all", arguments->all, "The recently ended too");
  list->add_flag("-q,--quiet", arguments->quiet, "Print ids only");
  list->callback([&context, arguments] {
    context.command = [&context, arguments] { return List(context, *arguments); };
  });

  CLI::App* inspect =
      AddCommand(app, context, "inspect", "Show one instance, live or recently ended");
  auto id = std::make_shared<std::string>();
  inspect->add_option("ID", *id, "Its id, or a prefix that no other has")->required();
  inspect->callback(
      [&context, id] { context.command = [&context, id] { return Inspect(context, *id); }; });

  CLI::App* kill = AddCommand(app, context, "kill", "Kill instances at once");
  auto ids = std::make_shared<std::vector<std::string>>();
  kill->add_option("ID", *ids, "Their ids, or prefixes that no other has")->required();
  kill->callback(
      [&context, ids] { context.command = [&context, ids] { return Kill(context, *ids); }; });
}

}  // namespace spore::cli
