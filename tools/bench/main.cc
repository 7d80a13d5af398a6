// spore-bench: measures Spore beside its peers in one run, their samples interleaved, so that the
// ratios hold on a noisy machine.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include "tools/bench/bursts.h"
#include "tools/bench/concurrent.h"
#include "tools/bench/floors.h"
#include "tools/bench/languages.h"
#include "tools/bench/memory.h"
#include "tools/bench/peers.h"
#include "tools/bench/process.h"
#include "tools/bench/report.h"
#include "tools/bench/target.h"

namespace spore::bench {
namespace {

constexpr std::chrono::milliseconds kPause{30};
constexpr std::size_t kForkSizes[] = {0, 10, 50};  // MiB

struct Options {
  std::string socket;  // empty: start a daemon
  std::string spored;
  std::string images;  // empty: where spored looks
  unsigned rounds = 60;
  std::vector<unsigned> clients = {1, 8, 64};
  unsigned requests_each = 20;
  std::vector<unsigned> bursts = {16, 64};
  unsigned bursts_each = 20;
  std::string heap_sizes;  // a program; empty: left out
  unsigned idle_instances = 32;
  bool quick = false;
  bool json = false;
  bool peers = true;
  bool languages = true;
};

// One row and how to get one sample of it.
struct Source {
  std::size_t row = 0;
  unsigned each_round = 1;
  unsigned warm_up = 1;
  std::function<client::Result<double>()> sample;
};

class Progress {
 public:
  explicit Progress(bool shown) : shown_(shown) {}
  ~Progress() { Clear(); }
  void Say(const std::string& text) {
    if (shown_) fmt::print(stderr, "\r\033[K{}", text);
  }
  void Clear() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

 private:
  bool shown_;
};

class Benchmark {
 public:
  explicit Benchmark(Options options)
      : options_(std::move(options)), progress_(::isatty(STDERR_FILENO) != 0) {}
  client::Result<Report> Run();

 private:
  // The new row's index.
  std::size_t AddSource(Row row, unsigned each_round, unsigned warm_up,
                        std::function<client::Result<double>()> sample);
  client::Result<> AddFloors();
  client::Result<> AddSpore();
  client::Result<> AddPeers();
  client::Result<> AddLanguages();
  client::Result<> TakeRound();
  client::Result<> Measure();
  client::Result<> MeasureMany();
  client::Result<> MeasureHeaps();
  client::Result<> MeasureIdle();

  Options options_;
  Progress progress_;
  Report report_;
  std::size_t relay_row_ = 0;
  std::size_t fresh_row_ = 0;
  std::vector<Source> sources_;
  std::optional<TemporaryFolder> folder_;
  std::optional<RelayFloor> relay_;
  std::vector<ForkFloor> forks_;
  std::optional<PrivateDaemon> daemon_;
  std::optional<client::Connection> connection_;
  std::optional<Functions> functions_;
  client::Fd null_;
  std::vector<Peer> many_peers_;
};

std::size_t Benchmark::AddSource(Row row, unsigned each_round, unsigned warm_up,
                                 std::function<client::Result<double>()> sample) {
  report_.rows.push_back(std::move(row));
  sources_.push_back({report_.rows.size() - 1, each_round, warm_up, std::move(sample)});
  return report_.rows.size() - 1;
}

client::Result<> Benchmark::AddFloors() {
  auto relay = RelayFloor::Make();
  if (!relay) return tl::unexpected(relay.error());
  relay_.emplace(std::move(*relay));
  relay_row_ = AddSource({.name = "relay floor, 64 bytes there and back", .label = "relay"}, 20,
                         100, [this] { return relay_->Time(); });
  fresh_row_ = relay_row_ + 1 + std::size(kForkSizes);
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  for (const std::size_t size : kForkSizes) {
    auto fork = ForkFloor::Make(size * kMiB);
    if (!fork) return tl::unexpected(fork.error());
    forks_.push_back(std::move(*fork));
    const std::size_t index = forks_.size() - 1;
    AddSource({.name = fmt::format("fork alone, {} MiB touched", size),
               .base = fresh_row_,
               .starts_processes = true},
              2, 3, [this, index] { return forks_[index].Time(); });
  }
  return {};
}

client::Result<> Benchmark::AddSpore() {
  if (options_.socket.empty()) {
    auto daemon = PrivateDaemon::Start(options_.spored, options_.images);
    if (!daemon) return tl::unexpected(daemon.error());
    daemon_.emplace(std::move(*daemon));
    options_.socket = daemon_->socket();
  }
  auto functions = Functions::Deploy(options_.socket);
  if (!functions) return tl::unexpected(functions.error());
  functions_.emplace(std::move(*functions));
  auto connection = client::Connection::Open(options_.socket);
  if (!connection) return tl::unexpected(connection.error());
  connection_.emplace(std::move(*connection));
  null_.Reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // The first one may wait for the zygote.
  auto first = TimeInvoke(*connection_, functions_->fresh(), "1", v1::START_KIND_UNSPECIFIED);
  if (!first) return tl::unexpected(first.error());

  AddSource({.name = "Spore: fresh sandbox, request to answer",
             .label = "fresh",
             .base = fresh_row_,
             .starts_processes = true},
            4, 20, [this] {
              return TimeInvoke(*connection_, functions_->fresh(), "1", v1::START_KIND_FORK);
            });
  AddSource({.name = "Spore: fresh sandbox, function loaded ahead",
             .base = relay_row_,
             .starts_processes = true},
            4, 20, [this] { return TimeLoadedAhead(*connection_, functions_->ahead(), "1"); });
  AddSource({.name = "Spore: run of 'pass', request to its end",
             .base = fresh_row_,
             .starts_processes = true},
            2, 10, [this] { return TimeRun(*connection_, null_.get()); });
  // A JSON string of 64 bytes, as long as the relay's messages.
  const std::string payload = "\"" + std::string(62, 'x') + "\"";
  const auto reuse = [this, payload] {
    return TimeInvoke(*connection_, functions_->reused(), payload, v1::START_KIND_UNSPECIFIED);
  };
  AddSource({.name = "Spore: reused instance, request to answer", .base = relay_row_}, 20, 100,
            reuse);
  // With caches as cold as those of starts are: what these are to be compared with.
  const auto after_pause = [](std::function<client::Result<double>()> sample) {
    return [sample = std::move(sample)] {
      std::this_thread::sleep_for(kPause);
      return sample();
    };
  };
  const std::size_t cold = AddSource({.name = "relay floor, after a pause", .label = "cold relay"},
                                     4, 1, after_pause([this] { return relay_->Time(); }));
  AddSource({.name = "Spore: reused instance, after a pause", .base = cold}, 4, 1,
            after_pause(reuse));
  return {};
}

client::Result<> Benchmark::AddPeers() {
  for (const Peer& peer : FindPeers(folder_->path(), report_.left_out)) {
    AddSource({.name = peer.name, .base = fresh_row_, .starts_processes = true}, 1, 1,
              [peer] { return TimePeer(peer); });
    if (peer.many) many_peers_.push_back(peer);
  }
  return {};
}

// For each other language a fresh sandbox, and its interpreter alone as a multiple of that.
client::Result<> Benchmark::AddLanguages() {
  for (const Language& language : FindLanguages(folder_->path(), report_.left_out)) {
    auto function = functions_->Add(language.runtime, language.handler, language.folder);
    if (!function) {
      report_.left_out.push_back(language.runtime + ": " + function.error().message);
      continue;
    }
    const auto sample = [this, name = *function] {
      return TimeInvoke(*connection_, name, "1", v1::START_KIND_FORK);
    };
    // The first one may wait for the zygote itself.
    if (auto tried = TimeInvoke(*connection_, *function, "1", v1::START_KIND_UNSPECIFIED); !tried) {
      report_.left_out.push_back(language.runtime + ": " + tried.error().message);
      continue;
    }
    const std::size_t row = AddSource({.name = "Spore: fresh " + language.runtime + " sandbox",
                                       .label = language.runtime,
                                       .base = fresh_row_,
                                       .starts_processes = true},
                                      2, 5, sample);
    auto ahead = functions_->Add(language.runtime, language.handler, language.folder, kLoadedAhead);
    if (!ahead) return tl::unexpected(ahead.error());
    AddSource({.name = "Spore: fresh " + language.runtime + " sandbox, loaded ahead",
               .base = relay_row_,
               .starts_processes = true},
              2, 5, [this, name = *ahead] { return TimeLoadedAhead(*connection_, name, "1"); });
    if (options_.peers) {
      AddSource({.name = language.alone.name, .base = row, .starts_processes = true}, 1, 1,
                [peer = language.alone] { return TimePeer(peer); });
    }
  }
  return {};
}

// One sample of each, then another of those that want more: what was used up by one (sandboxes made
// ahead) is made again while the others run. Starts back to back are measured apart.
client::Result<> Benchmark::TakeRound() {
  bool more = true;
  for (unsigned turn = 0; more; ++turn) {
    more = false;
    for (Source& source : sources_) {
      if (turn >= source.each_round) continue;
      more = true;
      auto us = source.sample();
      if (!us) {
        return client::LocalError(report_.rows[source.row].name + ": " + us.error().message);
      }
      report_.rows[source.row].samples.Add(*us);
      // Whatever a start leaves to the kernel and to the daemon (the end of namespaces, another
      // sandbox made ahead) is over before the next sample.
      if (report_.rows[source.row].starts_processes) std::this_thread::sleep_for(kPause);
    }
  }
  return {};
}

client::Result<> Benchmark::Measure() {
  for (Source& source : sources_) {
    for (unsigned i = 0; i < source.warm_up; ++i) {
      auto us = source.sample();
      if (!us) return tl::unexpected(us.error());
    }
  }
  for (unsigned round = 0; round < options_.rounds; ++round) {
    progress_.Say(fmt::format("round {} of {}", round + 1, options_.rounds));
    auto taken = TakeRound();
    if (!taken) return tl::unexpected(taken.error());
  }
  return {};
}

// Each number of clients, Spore's and then those of a peer that isolates as well.
client::Result<> Benchmark::MeasureMany() {
  for (const unsigned clients : options_.clients) {
    if (clients == 0) continue;
    progress_.Say(fmt::format("{} clients at once", clients));
    // As many requests of few clients, or their p99.9 would be of a handful.
    const unsigned each = std::max(options_.requests_each, options_.requests_each * 16 / clients);
    auto fresh = MeasureFresh(options_.socket, functions_->fresh(), clients, each);
    if (!fresh) return tl::unexpected(fresh.error());
    report_.concurrent.push_back(std::move(*fresh));
    for (const Peer& peer : many_peers_) {
      const std::vector<Request> requests(clients, [&peer] { return TimePeer(peer); });
      const unsigned few = std::max(2u, 4 * options_.requests_each / clients);
      report_.concurrent.push_back(MeasureConcurrent(peer.name, requests, few));
    }
  }
  return {};
}

// The zygote's part alone: what copies of a process with so large a heap cost.
client::Result<> Benchmark::MeasureHeaps() {
  if (options_.heap_sizes.empty()) return {};
  progress_.Say("heaps");
  const std::string output = folder_->path() + "/heaps";
  auto pid = Start({options_.heap_sizes, std::to_string(options_.rounds)}, output);
  if (!pid) return tl::unexpected(pid.error());
  if (Wait(*pid) != 0) return client::LocalError(options_.heap_sizes + ": " + ReadFile(output));
  std::istringstream lines(ReadFile(output));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("{")) report_.heaps.push_back(line);
  return {};
}

// A daemon whose pool neither grows nor shrinks meanwhile, where there is a choice: then before all
// else, for what ended daemons leave comes back to the host for a while.
client::Result<> Benchmark::MeasureIdle() {
  const unsigned most = options_.idle_instances;
  if (most == 0) return {};
  progress_.Say("memory");
  std::vector<unsigned> counts{most};
  for (unsigned count = most / 2; count > 0 && counts.size() < 4; count /= 2)
    counts.insert(counts.begin(), count);
  std::string socket = options_.socket, held;
  std::optional<PrivateDaemon> daemon;
  std::optional<Functions> functions;
  if (functions_) {
    held = functions_->held();
  } else {
    auto started = PrivateDaemon::Start(options_.spored, options_.images,
                                        "ready-sandboxes = 8\nmax-ready-sandboxes = 8\n");
    if (!started) return tl::unexpected(started.error());
    daemon.emplace(std::move(*started));
    socket = daemon->socket();
    auto deployed = Functions::Deploy(socket);
    if (!deployed) return tl::unexpected(deployed.error());
    functions.emplace(std::move(*deployed));
    held = functions->held();
  }
  auto memory = MeasureMemory(socket, held, counts);
  if (!memory) return tl::unexpected(memory.error());
  report_.memory = std::move(*memory);
  return {};
}

client::Result<Report> Benchmark::Run() {
  auto folder = TemporaryFolder::Make();
  if (!folder) return tl::unexpected(folder.error());
  folder_.emplace(std::move(*folder));
  progress_.Say("starting");
  // The floors fork this process: before it has threads or much memory.
  std::vector<client::Result<> (Benchmark::*)()> steps{&Benchmark::AddFloors};
  if (options_.socket.empty()) steps.push_back(&Benchmark::MeasureIdle);
  steps.push_back(&Benchmark::AddSpore);
  if (!options_.socket.empty()) steps.push_back(&Benchmark::MeasureIdle);
  if (options_.peers) steps.push_back(&Benchmark::AddPeers);
  if (options_.languages) steps.push_back(&Benchmark::AddLanguages);
  for (const auto& step : steps) {
    auto done = (this->*step)();
    if (!done) return tl::unexpected(done.error());
  }
  auto measured = Measure();
  if (!measured) return tl::unexpected(measured.error());
  auto many = MeasureMany();
  if (!many) return tl::unexpected(many.error());
  if (daemon_ && options_.bursts.front() != 0) {
    progress_.Say("bursts");
    auto bursts =
        MeasureBursts(options_.spored, options_.images, options_.bursts, options_.bursts_each);
    if (!bursts) return tl::unexpected(bursts.error());
    report_.bursts = std::move(*bursts);
  }
  auto heaps = MeasureHeaps();
  if (!heaps) return tl::unexpected(heaps.error());
  progress_.Clear();
  return std::move(report_);
}

void AddOptions(CLI::App& app, Options& options) {
  app.add_option("--socket", options.socket,
                 "Measure the daemon that listens here (default: start one for the run)")
      ->type_name("PATH");
  app.add_option("--spored", options.spored, "The daemon to start (default SPORED, or installed)")
      ->type_name("PATH");
  app.add_option("--images", options.images, "Image manifests for that daemon, if not installed")
      ->type_name("DIR");
  app.add_option("--rounds", options.rounds, "Rounds; each takes samples of every row")
      ->check(CLI::Range(1u, 100000u));
  app.add_option("--clients", options.clients,
                 "Clients at once, one run for each number; 0 leaves this part out")
      ->delimiter(',')
      ->check(CLI::Range(0u, 1000u));
  app.add_option("--requests", options.requests_each, "Requests of each client where they are many")
      ->check(CLI::Range(1u, 100000u));
  app.add_option("--bursts", options.bursts,
                 "Requests at once, then a pause, one run for each number, without spare "
                 "sandboxes and with; of daemons started for it, so not with --socket; 0 leaves "
                 "this part out")
      ->delimiter(',')
      ->check(CLI::Range(0u, 1000u));
  app.add_option("--heap-sizes", options.heap_sizes,
                 "The program of examples/sfork/heap_sizes.cc, for copies of growing heaps")
      ->type_name("PATH");
  app.add_option("--idle", options.idle_instances, "Idle instances to weigh; 0 leaves this out")
      ->check(CLI::Range(0u, 100u));
  app.add_flag("--no-peers{false}", options.peers, "Leave out python3, bwrap, runc and the like");
  app.add_flag("--no-languages{false}", options.languages, "Leave out all runtimes but Python");
  app.add_flag("--quick", options.quick, "A few samples of everything: shows that it works");
  app.add_flag("--json", options.json, "Print JSON");
}

int Main(int argc, char** argv) {
  Options options;
  const char* spored = std::getenv("SPORED");
  options.spored = spored != nullptr && *spored != '\0' ? spored : SPORED_PATH;
  CLI::App app("Measures Spore beside its peers, in one run, on this host.", "spore-bench");
  AddOptions(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (options.quick) {
    options.rounds = 3;
    options.clients = {1, 8};
    options.requests_each = 5;
    options.bursts = {12};
    options.bursts_each = 2;
    options.idle_instances = 4;
  }
  const bool json = options.json;
  Benchmark benchmark(std::move(options));
  auto report = benchmark.Run();
  if (!report) {
    fmt::print(stderr, "spore-bench: {}\n", report.error().message);
    return 1;
  }
  if (json) {
    PrintJson(*report);
  } else {
    PrintTable(*report);
  }
  return 0;
}

}  // namespace
}  // namespace spore::bench

int main(int argc, char** argv) {
  try {
    return spore::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "spore-bench: {}\n", error.what());
    return 1;
  }
}
