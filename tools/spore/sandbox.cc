// spore sandbox: sandboxes that live. What is done in them: sandbox_exec.cc, sandbox_code.cc,
// sandbox_files.cc, sandbox_copy.cc; copies and what is on disk: sandbox_branch.cc,
// sandbox_checkpoint.cc.
#include "tools/spore/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <memory>

#include "tools/spore/output.h"
#include "tools/spore/settings.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr uint32_t kFollowWaitMs = 60000;

std::string StateName(v1::Session::State state) {
  std::string name = v1::Session::State_Name(state);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

// How long until then: "9m 58s".
std::string Left(int64_t unix_ms) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return HumanMicroseconds(static_cast<uint64_t>(std::max<int64_t>(0, unix_ms - now)) * 1000);
}

Outcome Create(const Context& context, const v1::CreateSandboxRequest& request) {
  auto session = CallDaemon<v1::Session>(context, kSandboxes, "Create", request);
  if (!session) return tl::unexpected(session.error());
  PrintOne(context.json, *session, session->id());
  return kDone;
}

void PrintSessions(const v1::ListSandboxesResponse& response) {
  Table table({{"ID"},
               {"LABEL"},
               {"IMAGE"},
               {"STATE"},
               {"AGE", Align::kRight},
               {"LEFT", Align::kRight},
               {"MEMORY", Align::kRight},
               {"PIDS", Align::kRight},
               {"EXECS", Align::kRight},
               {"CODE", Align::kRight},
               {"ENDED"}});
  for (const v1::Session& session : response.sessions()) {
    const bool dead = session.state() == v1::Session::DEAD;
    table.Add({session.id(), session.label().empty() ? "-" : session.label(), session.image(),
               StateName(session.state()), HumanAge(session.created_unix_ms()),
               dead ? "-" : Left(session.expires_unix_ms()),
               dead ? "-" : HumanBytes(session.memory_bytes()),
               dead ? "-" : fmt::format("{}", session.pids()), fmt::format("{}", session.execs()),
               fmt::format("{}", session.code_runs()), dead ? session.death().message() : ""});
  }
  table.Print();
}

Outcome List(const Context& context, const std::string& place, bool all, bool quiet) {
  if (!place.empty()) return ListSandboxFiles(context, place);
  v1::ListSandboxesRequest request;
  request.set_include_dead(all);
  auto response = CallDaemon<v1::ListSandboxesResponse>(context, kSandboxes, "List", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->sessions());
  } else if (quiet) {
    for (const v1::Session& session : response->sessions()) fmt::print("{}\n", session.id());
  } else {
    PrintSessions(*response);
  }
  return kDone;
}

void AddEgress(const v1::Egress& egress, bool dead,
               std::vector<std::pair<std::string, std::string>>* pairs) {
  pairs->emplace_back("Connections",
                      fmt::format("{} so far, {} open; {} refused, {} failed", egress.connections(),
                                  egress.open(), egress.refused(), egress.failed()));
  pairs->emplace_back("Traffic", fmt::format("{} out, {} in", HumanBytes(egress.sent_bytes()),
                                             HumanBytes(egress.received_bytes())));
  if (dead || (egress.serving() && egress.restarts() == 0)) return;
  pairs->emplace_back("Proxy", fmt::format("{}, started again {} times",
                                           egress.serving() ? "there" : "gone", egress.restarts()));
}

void PrintSession(const v1::Session& session) {
  const v1::Limits& limits = session.limits();
  const bool dead = session.state() == v1::Session::DEAD;
  const v1::Usage& usage = session.death().usage();
  std::vector<std::pair<std::string, std::string>> pairs{
      {"ID", session.id()},
      {"Label", session.label()},
      {"Image", session.image()},
      {"Branch of", session.branched_from()},
      {"Restored from", session.restored_from()},
      {"State", StateName(session.state())},
      {"Created", HumanTime(session.created_unix_ms())},
      {"Expires", dead ? ""
                       : fmt::format("{}, in {}", HumanTime(session.expires_unix_ms()),
                                     Left(session.expires_unix_ms()))},
      {"Idle timeout",
       session.idle_timeout_ms() == 0 ? "" : HumanMicroseconds(session.idle_timeout_ms() * 1000)},
      {"Owner", fmt::format("uid {}", session.owner_uid())},
      {"Agent", dead ? "" : fmt::format("{}, uid {}", session.pid(), session.uid())},
      {"Code", session.language().empty()
                   ? "none"
                   : fmt::format("{}, {} pieces so far", session.language(), session.code_runs())},
      {"Programs", fmt::format("{} so far, {} running", session.execs(), session.execs_running())},
      {"Memory", fmt::format("{} of {}", HumanBytes(session.memory_bytes()),
                             HumanBytes(limits.memory_bytes()))},
      {"CPU time", HumanMicroseconds(session.cpu_us())},
      {"CPUs", fmt::format("{:g}", limits.cpu_millis() / 1000.0)},
      {"Processes", fmt::format("{} of {}", session.pids(), limits.pids())},
      {"/tmp", HumanBytes(limits.tmp_bytes())},
      {"Network", session.network()},
  };
  if (session.has_egress()) AddEgress(session.egress(), dead, &pairs);
  if (dead) {
    pairs.emplace_back("Ended", fmt::format("{}: {}", CauseName(session.death().cause()),
                                            session.death().message()));
    pairs.emplace_back(
        "Used",
        fmt::format("cpu {}, peak memory {}, lived {}", HumanMicroseconds(usage.cpu_us()),
                    HumanBytes(usage.memory_peak_bytes()), HumanMicroseconds(usage.wall_us())));
  }
  for (const std::string& path : session.cgroups()) pairs.emplace_back("Cgroup", path);
  PrintPairs(pairs);
}

// A command that asks one thing of each session and prints its id.
template <typename Request>
Outcome ForEach(const Context& context, const std::vector<std::string>& ids, const char* method,
                const Request& request) {
  return CallForEach(context, ids,
                     [&](client::Connection& connection, const auto& id) -> client::Result<> {
                       Request one = request;
                       one.set_id(id);
                       auto session = connection.Call<v1::Session>(kSandboxes, method, one);
                       if (!session) return tl::unexpected(session.error());
                       fmt::print("{}\n", session->id());
                       return {};
                     });
}

template <typename Request>
CLI::App* AddForEach(CLI::App& sandbox, Context& context, const char* name, const char* description,
                     const char* method, const std::shared_ptr<Request>& request) {
  CLI::App* command = AddCommand(sandbox, context, name, description);
  auto ids = std::make_shared<std::vector<std::string>>();
  command->add_option("ID", *ids, "Their ids, or prefixes that no other has")->required();
  command->callback([&context, ids, method, request] {
    context.command = [&context, ids, method, request] {
      return ForEach(context, *ids, method, *request);
    };
  });
  return command;
}

std::string StreamName(v1::LogLine::Stream stream) {
  return stream == v1::LogLine::STDOUT   ? "stdout"
         : stream == v1::LogLine::STDERR ? "stderr"
                                         : "system";
}

Outcome Logs(const Context& context, v1::ReadSandboxLogsRequest& request, bool follow) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  for (;;) {
    auto response = CallSandbox<v1::ReadLogsResponse>(context, *connection, "ReadLogs", request);
    if (!response) return tl::unexpected(response.error());
    for (const v1::LogLine& line : response->lines()) {
      if (context.json) {
        nlohmann::ordered_json object;
        object["unix_us"] = line.unix_us();
        object["stream"] = StreamName(line.stream());
        object["text"] = TextJson(line.text());
        fmt::print("{}\n", JsonText(object, -1));
      } else {
        fmt::print("{} {:6} {}\n", HumanTime(line.unix_us() / 1000), StreamName(line.stream()),
                   ForTerminal(line.text(), 1));
      }
    }
    if (std::fflush(stdout) != 0 || !follow) return kDone;
    const bool ended = response->lines_size() == 0 && request.wait_ms() != 0 &&
                       response->cursor() == request.cursor();
    if (ended) {
      v1::InspectSandboxRequest inspect;
      inspect.set_id(request.id());
      auto session = CallSandbox<v1::Session>(context, *connection, "Inspect", inspect);
      if (!session || session->state() == v1::Session::DEAD) return kDone;
    }
    request.set_cursor(response->cursor());
    request.set_tail(0);
    request.set_wait_ms(kFollowWaitMs);
  }
}

Outcome Processes(const Context& context, const std::string& id) {
  v1::ListProcessesRequest request;
  request.set_id(id);
  auto response =
      CallDaemon<v1::ListProcessesResponse>(context, kSandboxes, "ListProcesses", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->processes());
    return kDone;
  }
  Table table({{"PID", Align::kRight},
               {"PARENT", Align::kRight},
               {"STATE"},
               {"CPU", Align::kRight},
               {"MEMORY", Align::kRight},
               {"EXEC", Align::kRight},
               {"COMMAND"}});
  for (const v1::Process& process : response->processes()) {
    std::string command;
    for (const std::string& word : process.args()) command += (command.empty() ? "" : " ") + word;
    if (process.agent()) command = "(agent)";
    if (process.interpreter()) command = "(interpreter)";
    if (command.empty()) command = "[" + process.name() + "]";
    table.Add({fmt::format("{}", process.pid()), fmt::format("{}", process.parent()),
               process.state(), HumanMicroseconds(process.cpu_us()),
               HumanBytes(process.memory_bytes()),
               process.exec_id() == 0 ? "-" : fmt::format("{}", process.exec_id()), command});
  }
  table.Print();
  return kDone;
}

void AddCreate(CLI::App& sandbox, Context& context) {
  CLI::App* create =
      AddCommand(sandbox, context, "create", "Make a sandbox that lives; print its id");
  auto request = std::make_shared<v1::CreateSandboxRequest>();
  AddSessionOptions(*create, request);
  create->callback([&context, request] {
    context.command = [&context, request] { return Create(context, *request); };
  });
}

void AddLists(CLI::App& sandbox, Context& context) {
  CLI::App* list = AddCommand(sandbox, context, "ls", "List sandboxes, or files in one");
  auto place = std::make_shared<std::string>();
  auto all = std::make_shared<bool>(false);
  auto quiet = std::make_shared<bool>(false);
  list->add_option("PLACE", *place, "A folder in a sandbox, or a file, ID:/PATH")->type_name("");
  list->add_flag("-a,--all", *all, "The recently ended too");
  list->add_flag("-q,--quiet", *quiet, "Print ids only");
  list->callback([&context, place, all, quiet] {
    context.command = [&context, place, all, quiet] { return List(context, *place, *all, *quiet); };
  });

  CLI::App* inspect =
      AddCommand(sandbox, context, "inspect", "Show one sandbox, live or recently ended");
  auto id = std::make_shared<std::string>();
  inspect->add_option("ID", *id, "Its id, or a prefix that no other has")->required();
  inspect->callback([&context, id] {
    context.command = [&context, id]() -> Outcome {
      v1::InspectSandboxRequest request;
      request.set_id(*id);
      auto session = CallDaemon<v1::Session>(context, kSandboxes, "Inspect", request);
      if (!session) return tl::unexpected(session.error());
      context.json ? PrintJson(ToJson(*session)) : PrintSession(*session);
      return kDone;
    };
  });

  CLI::App* processes = AddCommand(sandbox, context, "ps", "List the processes in a sandbox");
  auto of = std::make_shared<std::string>();
  processes->add_option("ID", *of, "Its id, or a prefix that no other has")->required();
  processes->callback(
      [&context, of] { context.command = [&context, of] { return Processes(context, *of); }; });
}

void AddLogsCommand(CLI::App& sandbox, Context& context) {
  CLI::App* logs = AddCommand(sandbox, context, "logs", "Print what a sandbox has to tell");
  auto request = std::make_shared<v1::ReadSandboxLogsRequest>();
  auto follow = std::make_shared<bool>(false);
  auto tail = std::make_shared<uint32_t>(0);
  logs->add_option("ID", *request->mutable_id(), "Its id, or a prefix that no other has")
      ->required();
  logs->add_flag("-f,--follow", *follow, "Go on with what comes from now on");
  logs->add_option("-n,--tail", *tail, "Only the last N lines")->type_name("N");
  logs->callback([&context, request, follow, tail] {
    context.command = [&context, request, follow, tail] {
      request->set_tail(*tail);
      return Logs(context, *request, *follow);
    };
  });
}

}  // namespace

bool IsSandboxPath(const std::string& text) {
  const size_t colon = text.find(':');
  return colon != text.npos && colon > 0 && text.find('/') > colon;
}

Expected<SandboxPath> ParseSandboxPath(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == text.npos || colon == 0 || colon + 1 >= text.size() || text[colon + 1] != '/') {
    return Fail(kUsage, "'" + text + "' is not of the form ID:/PATH");
  }
  return SandboxPath{text.substr(0, colon), text.substr(colon + 1)};
}

void AddSessionOptions(CLI::App& command,
                       const std::shared_ptr<v1::CreateSandboxRequest>& request) {
  command.add_option("--image", *request->mutable_image(), "Image (default: python)")
      ->type_name("NAME");
  command.add_option("--name", *request->mutable_label(), "Label, for people")->type_name("LABEL");
  AddSandboxLimitOptions(command, *request->mutable_limits());
  AddDuration(
      command, "--ttl", [request](uint64_t v) { request->set_ttl_ms(v); },
      "It ends after this (default 10m)");
  AddDuration(
      command, "--idle-timeout", [request](uint64_t v) { request->set_idle_timeout_ms(v); },
      "It ends when nobody has used it for this long (default: never)");
  command
      .add_option("--network", *request->mutable_network(),
                  "Where its connections may go (default: none), as in egress:pypi.org:443")
      ->type_name("none|egress:RULES");
  AddEnvironmentOption(command, *request->mutable_environment());
}

void AddSandbox(CLI::App& app, Context& context) {
  CLI::App* sandbox =
      app.add_subcommand("sandbox", "Sandboxes that live: for agents and notebooks");
  sandbox->require_subcommand(1);
  AddCreate(*sandbox, context);
  AddSandboxBranch(*sandbox, context);
  AddSandboxCheckpoint(*sandbox, context);
  AddSandboxExec(*sandbox, context);
  AddSandboxCode(*sandbox, context);
  AddLists(*sandbox, context);
  AddSandboxCopy(*sandbox, context);
  AddSandboxFiles(*sandbox, context);
  AddLogsCommand(*sandbox, context);
  AddForEach(*sandbox, context, "pause", "Stop all processes of sandboxes where they are", "Pause",
             std::make_shared<v1::PauseSandboxRequest>());
  AddForEach(*sandbox, context, "resume", "Let paused sandboxes go on", "Resume",
             std::make_shared<v1::ResumeSandboxRequest>());
  AddForEach(*sandbox, context, "kill", "End sandboxes at once", "Kill",
             std::make_shared<v1::KillSandboxRequest>());
  auto extend = std::make_shared<v1::ExtendSandboxRequest>();
  CLI::App* command =
      AddForEach(*sandbox, context, "extend", "Give sandboxes more time", "Extend", extend);
  AddDuration(
      *command, "--ttl", [extend](uint64_t v) { extend->set_ttl_ms(v); },
      "They end this long from now, if that is later than before");
  command->get_option("--ttl")->required();
}

}  // namespace spore::cli
