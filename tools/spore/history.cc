// spore events.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "spore/v1/observability.pb.h"
#include "tools/spore/observability.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr uint32_t kFollowWaitMs = 60000;
constexpr uint32_t kPage = 1000;  // the most that one answer has
constexpr useconds_t kRetryUs = 300'000;

struct Arguments {
  std::string function;
  std::vector<std::string> kinds;
  uint32_t tail = 0;
  bool follow = false;
};

// "instance-ended", as it is printed and asked for.
std::string KindName(v1::HostEvent::Kind kind) {
  std::string name = v1::HostEvent::Kind_Name(kind);
  if (name.empty()) return fmt::format("kind-{}", static_cast<int>(kind));  // of a later spored
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(c));
  return name;
}

}  // namespace

std::vector<std::string> EventKindNames() {
  std::vector<std::string> names;
  for (int kind = 1; kind < v1::HostEvent::Kind_ARRAYSIZE; ++kind)
    names.push_back(KindName(static_cast<v1::HostEvent::Kind>(kind)));
  return names;
}

namespace {

bool Wanted(const v1::HostEvent& event, const Arguments& arguments) {
  const auto& kinds = arguments.kinds;
  return (kinds.empty() ||
          std::find(kinds.begin(), kinds.end(), KindName(event.kind())) != kinds.end()) &&
         (arguments.function.empty() || event.function() == arguments.function);
}

// What it was done to, in a word or two.
std::string ObjectOf(const v1::HostEvent& event) {
  std::string object = event.function();
  const auto add = [&object](const std::string& more) {
    if (more.empty()) return;
    if (!object.empty()) object += ' ';
    object += more;
  };
  add(event.instance_id());
  if (object.empty()) {
    add(event.image());
    if (!event.set().empty()) add("set " + event.set());
  }
  if (event.kind() == v1::HostEvent::REQUEST_REFUSED && object.empty())
    object = fmt::format("uid {}", event.owner_uid());
  return object;
}

std::string DetailsOf(const v1::HostEvent& event) {
  std::string details;
  const auto add = [&details](const std::string& more) {
    details += (details.empty() ? "" : "; ") + more;
  };
  if (event.start_kind() != v1::START_KIND_UNSPECIFIED)
    add(fmt::format("{} in {}", StartName(event.start_kind()),
                    HumanMicroseconds(event.duration_us())));
  if (!event.cause().empty()) add(event.cause());
  if (event.count() > 1) add(fmt::format("{} times", event.count()));
  if (!event.message().empty()) add(event.message());
  const bool ended =
      event.kind() == v1::HostEvent::INSTANCE_ENDED || event.kind() == v1::HostEvent::SESSION_ENDED;
  if (ended) {
    add(fmt::format("lived {}, cpu {}, peak memory {}", HumanMicroseconds(event.duration_us()),
                    HumanMicroseconds(event.cpu_us()), HumanBytes(event.memory_peak_bytes())));
  }
  return details;
}

// A line an event, whatever it quotes. With --json an object each, so that following works.
void PrintEvent(const v1::HostEvent& event, bool json) {
  if (json) {
    fmt::print("{}\n", JsonText(ToJson(event), -1));
    return;
  }
  std::string line =
      fmt::format("{}.{:03}  {:18}  {}", HumanTime(event.unix_us() / 1000),
                  event.unix_us() / 1000 % 1000, KindName(event.kind()), ObjectOf(event));
  if (const std::string details = DetailsOf(event); !details.empty()) line += "  " + details;
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print("{}\n", ForTerminal(line, STDOUT_FILENO));
}

bool WentAway(const client::Error& error) {
  return error.kind == client::ErrorKind::kLost ||
         (error.kind == client::ErrorKind::kRefused && error.code == client::kUnavailable);
}

// Until it answers: what follows goes on over a restart of the daemon. A socket that the caller may
// not use any more is an error.
Expected<client::Connection> AwaitDaemon(const Context& context) {
  fmt::print(stderr, "spore: the daemon has gone away; waiting until it is back\n");
  for (;;) {
    ::usleep(kRetryUs);
    auto connection = client::Connection::Open(context.socket);
    if (connection) {
      fmt::print(stderr, "spore: the daemon is back\n");
      return std::move(*connection);
    }
    const int why = connection.error().errno_value;
    if (why != ENOENT && why != ECONNREFUSED)
      return tl::unexpected(Explain(connection.error(), context.socket));
  }
}

Outcome Events(const Context& context, const Arguments& arguments) {
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  v1::RecentEventsRequest request;
  request.set_limit(kPage);
  // Of those that are wanted; which they are is known here only.
  const bool filtered = !arguments.kinds.empty() || !arguments.function.empty();
  if (!filtered) request.set_tail(arguments.tail);
  std::vector<v1::HostEvent> last;
  for (bool first = true;;) {
    auto response = connection->Call<v1::RecentEventsResponse>("spore.v1.Observability",
                                                               "RecentEvents", request);
    if (!response && arguments.follow && !first && WentAway(response.error())) {
      // The epoch says whether it is another one, whose events are told from its start on.
      connection = AwaitDaemon(context);
      if (!connection) return tl::unexpected(connection.error());
      continue;
    }
    if (!response) return tl::unexpected(Explain(response.error(), context.socket));
    if (response->dropped() > 0)
      fmt::print(stderr, "spore: {} events were not kept until they could be read\n",
                 response->dropped());
    for (const v1::HostEvent& event : response->events()) {
      if (!Wanted(event, arguments)) continue;
      if (first && filtered && arguments.tail != 0) {
        last.push_back(event);
      } else {
        PrintEvent(event, context.json);
      }
    }
    const bool more = response->events_size() == static_cast<int>(kPage);
    if (first && !more) {
      // All that there was has been read.
      const size_t skipped = last.size() > arguments.tail ? last.size() - arguments.tail : 0;
      for (size_t i = skipped; i < last.size(); ++i) PrintEvent(last[i], context.json);
      first = false;
      if (!arguments.follow) return kDone;
      request.set_wait_ms(kFollowWaitMs);
    }
    // A reader that has gone (| head) ends the following.
    if (std::fflush(stdout) != 0) return kDone;
    request.set_epoch(response->epoch());
    request.set_after_sequence(response->last_sequence());
    request.set_tail(0);
  }
}

}  // namespace

void AddHistory(CLI::App& app, Context& context) {
  CLI::App* events = AddCommand(app, context, "events", "Print what has happened on the host");
  auto arguments = std::make_shared<Arguments>();
  events->add_option("--function", arguments->function, "Only what is of this function")
      ->type_name("FUNCTION");
  events->add_option("--kind", arguments->kinds, "Only these kinds, see spore(1)")
      ->check(CLI::IsMember(EventKindNames()).description(""))
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("KIND");
  events->add_flag("-f,--follow", arguments->follow, "Go on with what happens from now on");
  events->add_option("-n,--tail", arguments->tail, "Only the last N")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""))
      ->type_name("N");
  events->callback([&context, arguments] {
    context.command = [&context, arguments] { return Events(context, *arguments); };
  });
}

}  // namespace spore::cli
