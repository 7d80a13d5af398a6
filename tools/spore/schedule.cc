// spore schedule add, ls, show, pause, resume and rm.
#include <fmt/format.h>
#include <time.h>

#include <memory>

#include "spore/v1/schedules.pb.h"
#include "tools/spore/context.h"
#include "tools/spore/events.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Schedules";

struct Arguments {
  std::string function, name, cron, every, at, zone, payload;
  bool paused = false;
};

// "2026-01-31T12:00:00Z", or the same without Z: local time.
std::optional<int64_t> ParseTime(const std::string& text) {
  struct tm parts {};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (end == nullptr) {
    parts = {};
    end = strptime(text.c_str(), "%Y-%m-%dT%H:%M", &parts);
  }
  if (end == nullptr) return std::nullopt;
  parts.tm_isdst = -1;
  const std::string_view rest(end);
  if (rest != "" && rest != "Z") return std::nullopt;
  const time_t seconds = rest == "Z" ? timegm(&parts) : mktime(&parts);
  return int64_t{seconds} * 1000;
}

Outcome Add(const Context& context, const Arguments& arguments) {
  v1::AddScheduleRequest request;
  v1::Schedule& schedule = *request.mutable_schedule();
  schedule.set_name(arguments.name);
  schedule.set_function(arguments.function);
  schedule.set_cron(arguments.cron);
  schedule.set_time_zone(arguments.zone);
  schedule.set_paused(arguments.paused);
  if (!arguments.every.empty()) {
    const auto every = ParseDuration(arguments.every);
    if (!every)
      return Fail(kUsage, "--every: \"" + arguments.every + "\" is no duration such as 5m");
    schedule.set_every_ms(*every);
  }
  if (!arguments.at.empty()) {
    const auto at = ParseTime(arguments.at);
    if (!at) {
      return Fail(kUsage, "--at: \"" + arguments.at +
                              "\" is no time such as 2026-01-31T12:00:00 (local) or "
                              "2026-01-31T12:00:00Z");
    }
    schedule.set_at_unix_ms(*at);
  }
  auto payload = LoadPayload(arguments.payload);
  if (!payload) return tl::unexpected(payload.error());
  schedule.set_payload(std::move(*payload));
  auto added = CallDaemon<v1::Schedule>(context, kService, "Add", request);
  if (!added) return tl::unexpected(added.error());
  PrintOne(context.json, *added, added->name());
  return kDone;
}

std::string When(const v1::Schedule& schedule) {
  if (schedule.every_ms() > 0) return "every " + HumanMicroseconds(schedule.every_ms() * 1000);
  if (schedule.at_unix_ms() > 0) return "at " + HumanTime(schedule.at_unix_ms());
  return schedule.cron() + (schedule.time_zone().empty() ? "" : " " + schedule.time_zone());
}

std::string Next(const v1::Schedule& schedule) {
  if (schedule.paused()) return "paused";
  return schedule.next_unix_ms() == 0 ? "never" : HumanTime(schedule.next_unix_ms());
}

Outcome List(const Context& context, const std::string& function) {
  v1::ListSchedulesRequest request;
  request.set_function(function);
  auto response = CallDaemon<v1::ListSchedulesResponse>(context, kService, "List", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->schedules());
    return kDone;
  }
  Table table(
      {{"NAME"}, {"FUNCTION"}, {"WHEN"}, {"NEXT"}, {"LAST"}, {"FIRED", Align::kRight}, {"ERROR"}});
  for (const v1::Schedule& schedule : response->schedules()) {
    table.Add({schedule.name(), schedule.function(), When(schedule), Next(schedule),
               schedule.last_unix_ms() == 0 ? "-" : HumanTime(schedule.last_unix_ms()),
               fmt::format("{}", schedule.fired()),
               schedule.last_error().empty() ? "-" : schedule.last_error()});
  }
  table.Print();
  return kDone;
}

Outcome Show(const Context& context, const std::string& name) {
  v1::GetScheduleRequest request;
  request.set_name(name);
  auto schedule = CallDaemon<v1::Schedule>(context, kService, "Get", request);
  if (!schedule) return tl::unexpected(schedule.error());
  if (context.json) {
    auto json = ToJson(*schedule);
    json["payload"] = TextJson(schedule->payload());
    PrintJson(json);
    return kDone;
  }
  PrintPairs({{"Name", schedule->name()},
              {"Function", schedule->function()},
              {"Owner", fmt::format("uid {}", schedule->owner_uid())},
              {"When", When(*schedule)},
              {"Next", Next(*schedule)},
              {"Last", schedule->last_unix_ms() == 0 ? "" : HumanTime(schedule->last_unix_ms())},
              {"Last event", schedule->last_event()},
              {"Last error", schedule->last_error()},
              {"Fired", fmt::format("{}", schedule->fired())},
              {"Payload", schedule->payload()}});
  return kDone;
}

Outcome Remove(const Context& context, const std::vector<std::string>& names) {
  return CallForEach(
      context, names, [](client::Connection& connection, const auto& name) -> client::Result<> {
        v1::RemoveScheduleRequest request;
        request.set_name(name);
        auto removed = connection.Call<v1::RemoveScheduleResponse>(kService, "Remove", request);
        if (!removed) return tl::unexpected(removed.error());
        fmt::print("{}\n", name);
        return {};
      });
}

Outcome SetPaused(const Context& context, const std::vector<std::string>& names, bool paused) {
  return CallForEach(
      context, names,
      [paused](client::Connection& connection, const auto& name) -> client::Result<> {
        v1::SetSchedulePausedRequest request;
        request.set_name(name);
        request.set_paused(paused);
        auto changed = connection.Call<v1::Schedule>(kService, "SetPaused", request);
        if (!changed) return tl::unexpected(changed.error());
        fmt::print("{}\n", name);
        return {};
      });
}

void AddAdd(CLI::App& schedule, Context& context) {
  CLI::App* add = AddCommand(schedule, context, "add", "Have a function called at times");
  auto arguments = std::make_shared<Arguments>();
  add->add_option("FUNCTION", arguments->function, "Function")->required();
  CLI::Option* cron =
      add->add_option("--cron", arguments->cron,
                      "\"minute hour day-of-month month day-of-week\", or @daily and its like");
  CLI::Option* every = add->add_option("--every", arguments->every, "5m, 30s, 2h, ..");
  CLI::Option* at =
      add->add_option("--at", arguments->at, "Once: 2026-01-31T12:00:00 (local), or with Z (UTC)");
  every->excludes(cron);
  at->excludes(cron)->excludes(every);
  add->add_option("--time-zone", arguments->zone, "Of --cron: Europe/Berlin (default: UTC)");
  add->add_option("--name", arguments->name, "The schedule's name (default: the function's)");
  add->add_option("-p,--payload", arguments->payload,
                  "The event, JSON: as text, from @FILE, or - for stdin (default: null)")
      ->type_name("TEXT|@FILE|-");
  add->add_flag("--paused", arguments->paused, "Do not fire until it is resumed");
  add->callback([&context, arguments] {
    context.command = [&context, arguments] { return Add(context, *arguments); };
  });
}

}  // namespace

void AddSchedule(CLI::App& app, Context& context) {
  CLI::App* schedule = app.add_subcommand("schedule", "Call functions at times");
  schedule->require_subcommand(1);
  AddAdd(*schedule, context);

  CLI::App* list = AddCommand(*schedule, context, "ls", "List schedules");
  auto function = std::make_shared<std::string>();
  list->add_option("--function", *function, "Of this function only");
  list->callback([&context, function] {
    context.command = [&context, function] { return List(context, *function); };
  });

  CLI::App* show = AddCommand(*schedule, context, "show", "Show a schedule");
  auto name = std::make_shared<std::string>();
  show->add_option("NAME", *name, "Schedule")->required();
  show->callback(
      [&context, name] { context.command = [&context, name] { return Show(context, *name); }; });

  const auto of_names = [&](const char* word, const char* text,
                            Outcome (*run)(const Context&, const std::vector<std::string>&)) {
    CLI::App* command = AddCommand(*schedule, context, word, text);
    auto names = std::make_shared<std::vector<std::string>>();
    command->add_option("NAME", *names, "Schedules")->required();
    command->callback([&context, names, run] {
      context.command = [&context, names, run] { return run(context, *names); };
    });
  };
  of_names("rm", "Remove schedules", Remove);
  of_names("pause", "Let schedules not fire",
           [](const Context& given, const auto& names) { return SetPaused(given, names, true); });
  of_names("resume", "Let schedules fire again",
           [](const Context& given, const auto& names) { return SetPaused(given, names, false); });
}

}  // namespace spore::cli
