// spore sandbox checkpoint, restore and checkpoints: sandboxes on disk.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "spore/v1/session_checkpoints.pb.h"
#include "tools/spore/output.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.SessionCheckpoints";

// By which the caller can name it: root sees those of others, too.
std::string NameOf(const v1::SessionCheckpoint& checkpoint) {
  if (checkpoint.owner_uid() == ::geteuid()) return checkpoint.name();
  return fmt::format("{}/{}", checkpoint.owner_uid(), checkpoint.name());
}

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : text;
}

Outcome Create(const Context& context, const v1::CreateSessionCheckpointRequest& request) {
  auto response =
      CallDaemon<v1::CreateSessionCheckpointResponse>(context, kService, "Create", request);
  if (!response) return tl::unexpected(response.error());
  PrintOne(context.json, *response, NameOf(response->checkpoint()));
  return kDone;
}

Outcome Restore(const Context& context, const v1::RestoreSessionRequest& request) {
  auto session = CallDaemon<v1::Session>(context, kService, "Restore", request);
  if (!session) return tl::unexpected(session.error());
  PrintOne(context.json, *session, session->id());
  return kDone;
}

Outcome List(const Context& context, bool quiet) {
  v1::ListSessionCheckpointsRequest request;
  v1::ListSessionCheckpointsResponse all;
  do {
    auto response =
        CallDaemon<v1::ListSessionCheckpointsResponse>(context, kService, "List", request);
    if (!response) return tl::unexpected(response.error());
    request.set_marker(response->next_marker());
    all.mutable_checkpoints()->MergeFrom(response->checkpoints());
  } while (!request.marker().empty());
  if (context.json) {
    PrintJsonList(all.checkpoints());
    return kDone;
  }
  if (quiet) {
    for (const v1::SessionCheckpoint& checkpoint : all.checkpoints())
      fmt::print("{}\n", NameOf(checkpoint));
    return kDone;
  }
  Table table({{"NAME"},
               {"SANDBOX"},
               {"LABEL"},
               {"IMAGE"},
               {"AGE", Align::kRight},
               {"PIDS", Align::kRight},
               {"SIZE", Align::kRight},
               {"UNPACKED", Align::kRight},
               {"USABLE"}});
  for (const v1::SessionCheckpoint& checkpoint : all.checkpoints()) {
    const bool known = checkpoint.created_unix_ms() != 0;
    table.Add({NameOf(checkpoint), OrDash(checkpoint.session()), OrDash(checkpoint.label()),
               OrDash(checkpoint.image()), known ? HumanAge(checkpoint.created_unix_ms()) : "-",
               known ? fmt::format("{}", checkpoint.processes()) : "-",
               known ? HumanBytes(checkpoint.bytes()) : "-",
               known ? HumanBytes(checkpoint.unpacked_bytes()) : "-",
               checkpoint.unusable().empty() ? "yes" : "no"});
  }
  table.Print();
  for (const v1::SessionCheckpoint& checkpoint : all.checkpoints()) {
    if (checkpoint.unusable().empty()) continue;
    fmt::print("\n{}: {}\n", NameOf(checkpoint), ForTerminal(checkpoint.unusable(), 1));
  }
  return kDone;
}

std::string Command(const v1::Execution& exec) {
  std::string command;
  for (const std::string& word : exec.args()) command += (command.empty() ? "" : " ") + word;
  return fmt::format("{}: {}", exec.exec_id(), command);
}

void Print(const v1::SessionCheckpoint& checkpoint) {
  const v1::Limits& limits = checkpoint.limits();
  std::string code = "none";
  if (!checkpoint.language().empty()) {
    code = checkpoint.interpreter() ? fmt::format("{}, {} pieces so far", checkpoint.language(),
                                                  checkpoint.interpreter_runs())
                                    : fmt::format("{}, no interpreter yet", checkpoint.language());
  }
  std::vector<std::pair<std::string, std::string>> pairs{
      {"Name", NameOf(checkpoint)},
      {"ID", checkpoint.id()},
      {"Owner", fmt::format("uid {}", checkpoint.owner_uid())},
      {"Unusable", checkpoint.unusable()},
  };
  if (checkpoint.created_unix_ms() == 0) return PrintPairs(pairs);  // nothing else is known
  const std::vector<std::pair<std::string, std::string>> more{
      {"Sandbox", checkpoint.session()},
      {"Label", checkpoint.label()},
      {"Image", checkpoint.image()},
      {"Created", HumanTime(checkpoint.created_unix_ms())},
      {"On disk", HumanBytes(checkpoint.bytes())},
      {"Unpacked", HumanBytes(checkpoint.unpacked_bytes())},
      {"Time left", HumanMicroseconds(checkpoint.ttl_ms() * 1000)},
      {"Idle timeout", checkpoint.idle_timeout_ms() == 0
                           ? ""
                           : HumanMicroseconds(checkpoint.idle_timeout_ms() * 1000)},
      {"Code", code},
      {"Processes", fmt::format("{} of {}", checkpoint.processes(), limits.pids())},
      {"Memory", HumanBytes(limits.memory_bytes())},
      {"CPUs", fmt::format("{:g}", limits.cpu_millis() / 1000.0)},
      {"/tmp", HumanBytes(limits.tmp_bytes())},
      {"Network", checkpoint.network()},
  };
  pairs.insert(pairs.end(), more.begin(), more.end());
  for (const v1::Execution& exec : checkpoint.execs())
    if (exec.state() == v1::Execution::RUNNING) pairs.emplace_back("Program", Command(exec));
  PrintPairs(pairs);
}

Outcome Inspect(const Context& context, const std::string& name) {
  v1::InspectSessionCheckpointRequest request;
  request.set_name(name);
  auto checkpoint = CallDaemon<v1::SessionCheckpoint>(context, kService, "Inspect", request);
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  context.json ? PrintJson(ToJson(*checkpoint)) : Print(*checkpoint);
  return kDone;
}

Outcome Remove(const Context& context, const std::vector<std::string>& names) {
  return CallForEach(
      context, names, [](client::Connection& connection, const auto& name) -> client::Result<> {
        v1::RemoveSessionCheckpointRequest request;
        request.set_name(name);
        auto removed =
            connection.Call<v1::RemoveSessionCheckpointResponse>(kService, "Remove", request);
        if (!removed) return tl::unexpected(removed.error());
        fmt::print("{}\n", name);
        return {};
      });
}

void AddCheckpoints(CLI::App& sandbox, Context& context) {
  CLI::App* all = AddCommand(sandbox, context, "checkpoints", "Sandboxes on disk: list them");
  all->require_subcommand(0, 1);
  auto quiet = std::make_shared<bool>(false);
  const auto list = [&context, quiet] {
    context.command = [&context, quiet] { return List(context, *quiet); };
  };
  all->callback([all, list] {
    if (all->get_subcommands().empty()) list();
  });
  CLI::App* ls = AddCommand(*all, context, "ls", "List sandboxes on disk");
  ls->add_flag("-q,--quiet", *quiet, "Print names only");
  ls->callback(list);

  CLI::App* inspect = AddCommand(*all, context, "inspect", "Show one");
  auto name = std::make_shared<std::string>();
  inspect->add_option("NAME", *name, "Its name")->required();
  inspect->callback(
      [&context, name] { context.command = [&context, name] { return Inspect(context, *name); }; });

  CLI::App* remove = AddCommand(*all, context, "rm", "Remove some from the disk");
  auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("NAME", *names, "Their names")->required();
  remove->callback([&context, names] {
    context.command = [&context, names] { return Remove(context, *names); };
  });
}

}  // namespace

void AddSandboxCheckpoint(CLI::App& sandbox, Context& context) {
  CLI::App* create = AddCommand(sandbox, context, "checkpoint",
                                "Put a running sandbox on disk; print the checkpoint's name");
  auto request = std::make_shared<v1::CreateSessionCheckpointRequest>();
  auto leave = std::make_shared<bool>(false);
  create->add_option("ID", *request->mutable_id(), "Its id, or a prefix that no other has")
      ->required();
  create
      ->add_option("--name", *request->mutable_name(),
                   "What the checkpoint is called (default: the sandbox's id)")
      ->type_name("TEXT");
  create->add_flag("--leave-running", *leave, "The sandbox goes on, rather than end");
  create->callback([&context, request, leave] {
    context.command = [&context, request, leave] {
      request->set_leave_running(*leave);
      return Create(context, *request);
    };
  });

  CLI::App* restore = AddCommand(sandbox, context, "restore",
                                 "Make a sandbox of one that is on disk; print its id");
  auto order = std::make_shared<v1::RestoreSessionRequest>();
  restore->add_option("NAME", *order->mutable_name(), "The checkpoint")->required();
  restore
      ->add_option("--label", *order->mutable_label(),
                   "Label, for people (default: that of the one on disk)")
      ->type_name("LABEL");
  AddDuration(
      *restore, "--ttl", [order](uint64_t v) { order->set_ttl_ms(v); },
      "It ends after this (default: the time that was left)");
  restore->callback([&context, order] {
    context.command = [&context, order] { return Restore(context, *order); };
  });

  AddCheckpoints(sandbox, context);
}

}  // namespace spore::cli
