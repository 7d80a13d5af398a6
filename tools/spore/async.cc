// spore async ls, show, retry, purge, policy and stats.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "spore/v1/async.pb.h"
#include "tools/spore/context.h"
#include "tools/spore/events.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Async";
using State = v1::AsyncEvent::State;

const std::map<std::string, State> kStates = {{"waiting", v1::AsyncEvent::WAITING},
                                              {"running", v1::AsyncEvent::RUNNING},
                                              {"done", v1::AsyncEvent::DONE},
                                              {"failed", v1::AsyncEvent::FAILED},
                                              {"dead", v1::AsyncEvent::DEAD}};

std::string NameOf(State state) {
  for (const auto& [name, value] : kStates) {
    if (value == state) return name;
  }
  return "unknown";
}

struct Selection {
  std::string function;
  std::vector<std::string> states;
  uint32_t limit = 100;
};

template <typename Request>
void AddStates(const Selection& selection, Request& request) {
  for (const std::string& state : selection.states) request.add_states(kStates.at(state));
}

// As it was asked for.
std::string QualifiedName(const v1::AsyncEvent& event) {
  return event.qualifier().empty() ? event.function() : event.function() + ":" + event.qualifier();
}

std::string LastError(const v1::AsyncEvent& event) {
  if (event.has_error()) return event.error().type() + ": " + event.error().message();
  return event.note();
}

Outcome List(const Context& context, const Selection& selection) {
  constexpr uint32_t kPage = 500;
  std::vector<v1::AsyncEvent> events;
  v1::ListEventsRequest request;
  request.set_function(selection.function);
  AddStates(selection, request);
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  do {
    request.set_limit(kPage);
    auto page = connection->Call<v1::ListEventsResponse>(kService, "List", request);
    if (!page) return tl::unexpected(Explain(page.error(), context.socket));
    for (v1::AsyncEvent& event : *page->mutable_events()) events.push_back(std::move(event));
    request.set_before(page->next());
  } while (request.before() != 0 && events.size() < selection.limit);
  if (events.size() > selection.limit) events.resize(selection.limit);
  if (context.json) {
    PrintJsonList(events);
    return kDone;
  }
  Table table({{"ID"},
               {"FUNCTION"},
               {"STATE"},
               {"ATTEMPTS", Align::kRight},
               {"AGE", Align::kRight},
               {"PAYLOAD", Align::kRight},
               {"CONDITION"},
               {"LAST ERROR"}});
  for (const v1::AsyncEvent& event : events) {
    std::string error = LastError(event);
    constexpr size_t kShown = 60;
    if (error.size() > kShown) error = error.substr(0, kShown) + "..";
    table.Add({event.id(), QualifiedName(event), NameOf(event.state()),
               fmt::format("{}/{}", event.attempts(), event.max_attempts()),
               HumanAge(event.accepted_unix_ms()), HumanBytes(event.payload_bytes()),
               event.condition().empty() ? "-" : event.condition(), error.empty() ? "-" : error});
  }
  table.Print();
  return kDone;
}

void PrintEvent(const v1::AsyncEvent& event) {
  const auto time = [](int64_t unix_ms) { return unix_ms == 0 ? "" : HumanTime(unix_ms); };
  const bool waits = event.state() == v1::AsyncEvent::WAITING;
  PrintPairs(
      {{"Id", event.id()},
       {"Function", QualifiedName(event)},
       {"Version", event.executed_version()},
       {"Owner", fmt::format("uid {}", event.owner_uid())},
       {"State", NameOf(event.state())},
       {"Condition", event.condition()},
       {"Attempts", fmt::format("{} of {}", event.attempts(), event.max_attempts())},
       {"Accepted", time(event.accepted_unix_ms())},
       {"Due", waits ? time(event.due_unix_ms()) : ""},
       {"Expires", waits ? time(event.expires_unix_ms()) : ""},
       {"Finished", time(event.finished_unix_ms())},
       {"Origin", event.origin()},
       {"Note", event.note()},
       {"Payload", event.payload().empty() ? HumanBytes(event.payload_bytes()) : event.payload()},
       {"Response", event.response().empty() && event.response_bytes() > 0
                        ? HumanBytes(event.response_bytes()) + ", not kept"
                        : event.response()},
       {"Error", event.has_error() ? LastError(event) : ""}});
  for (const std::string& line : event.error().stack_trace())
    fmt::print("{}\n", ForTerminal(line.substr(0, line.find_last_not_of('\n') + 1), 1));
}

nlohmann::ordered_json EventJson(const v1::AsyncEvent& event) {
  auto json = ToJson(event);
  json["payload"] = TextJson(event.payload());
  json["response"] = TextJson(event.response());
  return json;
}

Outcome Show(const Context& context, const std::string& id) {
  v1::GetEventRequest request;
  request.set_id(id);
  auto event = CallDaemon<v1::AsyncEvent>(context, kService, "Get", request);
  if (!event) return tl::unexpected(event.error());
  if (context.json) {
    PrintJson(EventJson(*event));
  } else {
    PrintEvent(*event);
  }
  return kDone;
}

Outcome Retry(const Context& context, const std::vector<std::string>& ids) {
  return CallForEach(context, ids,
                     [](client::Connection& connection, const auto& id) -> client::Result<> {
                       v1::RetryEventRequest request;
                       request.set_id(id);
                       auto event = connection.Call<v1::AsyncEvent>(kService, "Retry", request);
                       if (!event) return tl::unexpected(event.error());
                       fmt::print("{}\n", event->id());
                       return {};
                     });
}

Outcome PurgeThose(const Context& context, const Selection& selection) {
  if (selection.states.empty())
    return Fail(kUsage, "say what to purge: ids, or --state (and --function)");
  v1::PurgeEventsRequest request;
  request.set_function(selection.function);
  AddStates(selection, request);
  auto purged = CallDaemon<v1::PurgeEventsResponse>(context, kService, "Purge", request);
  if (!purged) return tl::unexpected(purged.error());
  PrintOne(context.json, *purged, fmt::format("{}", purged->purged()));
  return kDone;
}

Outcome PurgeIds(const Context& context, const std::vector<std::string>& ids) {
  return CallForEach(
      context, ids, [](client::Connection& connection, const auto& id) -> client::Result<> {
        v1::PurgeEventsRequest request;
        request.set_id(id);
        auto purged = connection.Call<v1::PurgeEventsResponse>(kService, "Purge", request);
        if (!purged) return tl::unexpected(purged.error());
        fmt::print("{}\n", id);
        return {};
      });
}

struct PolicyArguments {
  std::string function;
  std::optional<uint32_t> retries;
  std::string max_age, backoff;
  std::optional<std::string> on_success, on_failure;
  bool any() const {
    return retries || !max_age.empty() || !backoff.empty() || on_success || on_failure;
  }
};

Expected<uint64_t> Duration(const std::string& option, const std::string& text) {
  const auto parsed = ParseDuration(text);
  if (!parsed) return Fail(kUsage, option + ": \"" + text + "\" is no duration such as 90s or 6h");
  return *parsed;
}

Expected<v1::AsyncPolicy> AskPolicy(const Context& context, const PolicyArguments& arguments) {
  if (!arguments.any()) {
    v1::GetAsyncPolicyRequest get;
    get.set_function(arguments.function);
    return CallDaemon<v1::AsyncPolicy>(context, kService, "GetPolicy", get);
  }
  v1::SetAsyncPolicyRequest set;
  set.set_function(arguments.function);
  if (arguments.retries) set.set_retries(*arguments.retries);
  if (!arguments.max_age.empty()) {
    auto age = Duration("--max-age", arguments.max_age);
    if (!age) return tl::unexpected(age.error());
    set.set_max_age_ms(*age);
  }
  if (!arguments.backoff.empty()) {
    auto backoff = Duration("--backoff", arguments.backoff);
    if (!backoff) return tl::unexpected(backoff.error());
    set.set_backoff_ms(*backoff);
  }
  if (arguments.on_success)
    set.set_on_success(*arguments.on_success == "none" ? "" : *arguments.on_success);
  if (arguments.on_failure)
    set.set_on_failure(*arguments.on_failure == "dead-letter" ? "" : *arguments.on_failure);
  return CallDaemon<v1::AsyncPolicy>(context, kService, "SetPolicy", set);
}

Outcome Policy(const Context& context, const PolicyArguments& arguments) {
  auto policy = AskPolicy(context, arguments);
  if (!policy) return tl::unexpected(policy.error());
  if (context.json) {
    PrintJson(ToJson(*policy));
    return kDone;
  }
  PrintPairs({{"Function", policy->function()},
              {"Retries", fmt::format("{}", policy->retries())},
              {"Back-off", HumanMicroseconds(policy->backoff_ms() * 1000)},
              {"Max age", HumanMicroseconds(policy->max_age_ms() * 1000)},
              {"On success", policy->on_success().empty() ? "none" : policy->on_success()},
              {"On failure", policy->on_failure().empty() ? "dead-letter" : policy->on_failure()}});
  return kDone;
}

Outcome Stats(const Context& context) {
  auto stats =
      CallDaemon<v1::AsyncStatsResponse>(context, kService, "Stats", v1::AsyncStatsRequest());
  if (!stats) return tl::unexpected(stats.error());
  if (context.json) {
    PrintJson(ToJson(*stats));
    return kDone;
  }
  const auto number = [](uint64_t value) { return fmt::format("{}", value); };
  PrintPairs(
      {{"Accepted", number(stats->accepted())},
       {"Refused", number(stats->refused())},
       {"Waiting", number(stats->waiting())},
       {"Running", number(stats->running())},
       {"Done", number(stats->done())},
       {"Retried", number(stats->retried())},
       {"Postponed", number(stats->postponed())},
       {"Failed", number(stats->failed())},
       {"Dead letters",
        fmt::format("{}, {} since the start", stats->dead(), stats->dead_lettered())},
       {"Schedules", fmt::format("{} fired, {} misfired", stats->fired(), stats->misfired())},
       {"Payloads", HumanBytes(stats->bytes())}});
  return kDone;
}

CLI::Option* AddStateOption(CLI::App& command, Selection& selection) {
  std::vector<std::string> names;
  for (const auto& [name, state] : kStates) names.push_back(name);
  command.add_option("--function", selection.function, "Of this function only");
  return command.add_option("--state", selection.states, "waiting, running, done, failed or dead")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(names));
}

void AddPolicy(CLI::App& async, Context& context) {
  CLI::App* policy =
      AddCommand(async, context, "policy", "Show or set what becomes of a function's events");
  auto arguments = std::make_shared<PolicyArguments>();
  policy->add_option("FUNCTION", arguments->function, "Function")->required();
  policy->add_option("--retries", arguments->retries, "Attempts after the first (default: 2)");
  policy->add_option("--max-age", arguments->max_age, "Give up when older (default: 6h)")
      ->type_name("DURATION");
  policy
      ->add_option("--backoff", arguments->backoff,
                   "Before the first retry, doubled with each (default: 1m)")
      ->type_name("DURATION");
  policy->add_option("--on-success", arguments->on_success, "Tell this function, or \"none\"")
      ->type_name("FUNCTION");
  policy
      ->add_option("--on-failure", arguments->on_failure,
                   "Tell this function, or \"dead-letter\", or \"none\"")
      ->type_name("FUNCTION");
  policy->callback([&context, arguments] {
    context.command = [&context, arguments] { return Policy(context, *arguments); };
  });
}

}  // namespace

void AddAsync(CLI::App& app, Context& context) {
  CLI::App* async = app.add_subcommand("async", "Events: invocations that are carried out later");
  async->require_subcommand(1);

  CLI::App* list = AddCommand(*async, context, "ls", "List events, the newest first");
  auto listed = std::make_shared<Selection>();
  AddStateOption(*list, *listed);
  list->add_option("--limit", listed->limit, "At most so many (default: 100)")
      ->check(CLI::Range(1, 1000000));
  list->callback([&context, listed] {
    context.command = [&context, listed] { return List(context, *listed); };
  });

  CLI::App* show = AddCommand(*async, context, "show", "Show an event with what came of it");
  auto id = std::make_shared<std::string>();
  show->add_option("ID", *id, "An event's id, or a unique beginning of it")->required();
  show->callback(
      [&context, id] { context.command = [&context, id] { return Show(context, *id); }; });

  CLI::App* retry = AddCommand(*async, context, "retry", "Carry out dead letters again");
  auto retried = std::make_shared<std::vector<std::string>>();
  retry->add_option("ID", *retried, "Events")->required();
  retry->callback([&context, retried] {
    context.command = [&context, retried] { return Retry(context, *retried); };
  });

  CLI::App* purge = AddCommand(*async, context, "purge", "Forget events for good");
  auto purged = std::make_shared<Selection>();
  auto ids = std::make_shared<std::vector<std::string>>();
  CLI::Option* named = purge->add_option("ID", *ids, "Events");
  AddStateOption(*purge, *purged)->excludes(named);
  purge->callback([&context, purged, ids] {
    context.command = [&context, purged, ids] {
      return ids->empty() ? PurgeThose(context, *purged) : PurgeIds(context, *ids);
    };
  });

  AddPolicy(*async, context);
  CLI::App* stats = AddCommand(*async, context, "stats", "Print counters of events");
  stats->callback([&context] { context.command = [&context] { return Stats(context); }; });
}

}  // namespace spore::cli
