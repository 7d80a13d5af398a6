// spore top.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>

#include "spore/v1/observability.pb.h"
#include "tools/client/memfd.h"
#include "tools/spore/observability.h"
#include "tools/spore/output.h"
#include "tools/spore/top_frame.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

// To describe an instance spored reads files: where there are thousands it is asked less often.
constexpr uint64_t kRestPerLook = 20;
constexpr uint64_t kShortestMs = 100, kLongestMs = 3600'000;

struct Arguments {
  std::string delay = "2s";
  std::string sort = "calls";
  uint32_t count = 0;
  bool batch = false;
  bool once = false;
};

std::optional<TopOrder> OrderOf(const std::string& name) {
  if (name == "calls") return TopOrder::kCalls;
  if (name == "failed") return TopOrder::kErrors;
  if (name == "p99") return TopOrder::kP99;
  if (name == "memory") return TopOrder::kMemory;
  if (name == "cpus") return TopOrder::kCpu;
  if (name == "name") return TopOrder::kName;
  return std::nullopt;
}

std::optional<TopOrder> OrderOfKey(char key) {
  switch (key) {
    case 'c':
      return TopOrder::kCalls;
    case 'f':
      return TopOrder::kErrors;
    case 'p':
      return TopOrder::kP99;
    case 'm':
      return TopOrder::kMemory;
    case 'u':
      return TopOrder::kCpu;
    case 'n':
      return TopOrder::kName;
    default:
      return std::nullopt;
  }
}

uint64_t MonotonicNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Signals end the command by way of its own loop, so that the terminal is put back.
client::Fd CatchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return client::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

// The terminal's other screen, without a cursor and with keys at once, until the end of its life.
class Screen {
 public:
  Screen() {
    if (::tcgetattr(STDIN_FILENO, &before_) == 0) {
      termios now = before_;
      now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      keys_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &now) == 0;
    }
    Write("\x1b[?1049h\x1b[?25l");
  }
  ~Screen() {
    Write("\x1b[?25h\x1b[?1049l");
    if (keys_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  bool keys() const { return keys_; }
  bool Show(const TopFrame& frame) {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
    // The last line is left empty: the picture does not scroll.
    const size_t lines = known ? std::max<size_t>(size.ws_row, 2) - 1u : 23;
    std::string text = TopText(frame, lines, known ? size.ws_col : 80, true);
    // Each line's rest is cleared as it is written, and what is below: nothing flickers.
    std::string picture = "\x1b[H";
    for (const char c : text) picture += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
    return Write(picture + "\x1b[J");
  }

 private:
  static bool Write(const std::string& text) {
    return client::WriteAll(STDOUT_FILENO, text, "the terminal").has_value();
  }
  termios before_{};
  bool keys_ = false;
};

class Top {
 public:
  Top(const Context& context, client::Connection connection, uint64_t delay_ms, TopOrder order)
      : context_(context),
        connection_(std::move(connection)),
        signals_(CatchSignals()),
        delay_ms_(delay_ms),
        order_(order) {}

  // So many pictures, 0: until it is ended.
  Outcome Run(bool live, uint32_t count);

 private:
  enum class Woken { kTime, kRedraw, kEnd };
  // Waits for the answer, and for a signal: a daemon that hangs does not hang us.
  template <typename Response>
  std::optional<Failure> Ask(const char* service, const char* method,
                             const google::protobuf::MessageLite& request, Response* response);
  Expected<Look> TakeLook();
  Failure Ended() const { return {signal_ == 0 ? kDone : kSignalBase + signal_, ""}; }
  Woken Wait(uint64_t until_ns, bool keys);
  Woken TakeKey();
  Woken TakeSignal();
  bool Print(const TopFrame& frame) const;

  const Context& context_;
  client::Connection connection_;
  client::Fd signals_;
  uint64_t delay_ms_;
  TopOrder order_;
  int signal_ = 0;  // that ended it
  uint64_t look_took_ns_ = 0;
  bool input_ended_ = false;
};

template <typename Response>
std::optional<Failure> Top::Ask(const char* service, const char* method,
                                const google::protobuf::MessageLite& request, Response* response) {
  auto sent = connection_.Send(std::string("spore.v1.") + service, method, request);
  if (!sent) return Explain(sent.error(), context_.socket);
  std::array<pollfd, 2> polled{{{signals_.get(), POLLIN, 0}, {connection_.fd(), POLLIN, 0}}};
  do {
    if (::poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[0].revents != 0 && TakeSignal() == Woken::kEnd) return Ended();
  } while (polled[1].revents == 0);
  auto reply = connection_.Receive();
  if (!reply) return Explain(reply.error(), context_.socket);
  auto parsed = client::Connection::Parse<Response>(*reply);
  if (!parsed) return Explain(parsed.error(), context_.socket);
  *response = std::move(*parsed);
  return std::nullopt;
}

Expected<Look> Top::TakeLook() {
  Look look;
  const uint64_t began_ns = MonotonicNs();
  v1::HistogramsRequest by_function;
  by_function.set_by_function(true);
  auto failed = Ask("System", "Stats", v1::StatsRequest(), &look.stats);
  look.at_ns = MonotonicNs();
  if (!failed) failed = Ask("Observability", "Histograms", by_function, &look.histograms);
  if (!failed) failed = Ask("Instances", "List", v1::ListInstancesRequest(), &look.instances);
  if (!failed) failed = Ask("Zygotes", "List", v1::ListZygotesRequest(), &look.zygotes);
  look_took_ns_ = MonotonicNs() - began_ns;
  if (failed) return tl::unexpected(*failed);
  return look;
}

Top::Woken Top::TakeKey() {
  char key = 0;
  const ssize_t got = ::read(STDIN_FILENO, &key, 1);
  if (got == 0) input_ended_ = true;
  if (got != 1) return Woken::kRedraw;
  if (key == 'q' || key == 'Q') return Woken::kEnd;
  if (const auto order = OrderOfKey(key)) order_ = *order;
  return Woken::kRedraw;
}

Top::Woken Top::TakeSignal() {
  signalfd_siginfo info{};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return Woken::kRedraw;
  if (info.ssi_signo == SIGWINCH) return Woken::kRedraw;
  signal_ = static_cast<int>(info.ssi_signo);
  return Woken::kEnd;
}

Top::Woken Top::Wait(uint64_t until_ns, bool keys) {
  const uint64_t now = MonotonicNs();
  if (now >= until_ns) return Woken::kTime;
  std::array<pollfd, 2> polled{
      {{signals_.get(), POLLIN, 0}, {keys && !input_ended_ ? STDIN_FILENO : -1, POLLIN, 0}}};
  const int timeout = static_cast<int>((until_ns - now + 999'999) / 1'000'000);
  const int ready = ::poll(polled.data(), polled.size(), timeout);
  if (ready == 0) return Woken::kTime;
  if (ready < 0) return Woken::kRedraw;
  return polled[0].revents != 0 ? TakeSignal() : TakeKey();
}

bool Top::Print(const TopFrame& frame) const {
  if (context_.json) {
    fmt::print("{}\n", JsonText(TopJson(frame), -1));
  } else {
    fmt::print("{}\n", TopText(frame, 0, 0, false));
  }
  return std::fflush(stdout) == 0;
}

Outcome Top::Run(bool live, uint32_t count) {
  auto before = TakeLook();
  if (!before) return tl::unexpected(before.error());
  std::optional<Screen> screen;
  if (live) screen.emplace();
  // Until there is something to compare with, what has been since the daemon's start.
  Look start;
  start.histograms.set_epoch(before->histograms.epoch());
  start.at_ns = before->at_ns - std::min(before->at_ns, before->stats.uptime_ms() * 1'000'000);
  if (live && !screen->Show(MakeTopFrame(start, *before, order_))) return kDone;
  for (uint32_t shown = 0; count == 0 || shown < count; ++shown) {
    const uint64_t until_ns =
        MonotonicNs() + std::max(delay_ms_ * 1'000'000, kRestPerLook * look_took_ns_);
    Woken woken = Woken::kRedraw;
    while ((woken = Wait(until_ns, live && screen->keys())) == Woken::kRedraw) {
    }
    if (woken == Woken::kEnd) break;
    auto after = TakeLook();
    if (!after) return tl::unexpected(after.error());
    const TopFrame frame = MakeTopFrame(*before, *after, order_);
    // A reader that has gone (| head) ends it.
    if (!(live ? screen->Show(frame) : Print(frame))) return kDone;
    *before = std::move(*after);
  }
  return Ended().exit_code;
}

Outcome RunTop(const Context& context, const Arguments& arguments) {
  const auto delay_ms = ParseDuration(arguments.delay);
  if (!delay_ms || *delay_ms < kShortestMs || *delay_ms > kLongestMs) {
    return Fail(kUsage, "--delay: \"" + arguments.delay +
                            "\"; expected a duration from 100ms to 1h, such as 2s");
  }
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  const bool live =
      !arguments.batch && !arguments.once && !context.json && ::isatty(STDOUT_FILENO) == 1;
  Top top(context, std::move(*connection), *delay_ms, *OrderOf(arguments.sort));
  return top.Run(live, arguments.once ? 1 : arguments.count);
}

}  // namespace

void AddTop(CLI::App& app, Context& context) {
  CLI::App* top = AddCommand(app, context, "top", "Show what runs and how fast, live");
  auto arguments = std::make_shared<Arguments>();
  top->add_option("-d,--delay", arguments->delay, "How long each picture looks back (2s)")
      ->type_name("TIME");
  top->add_option("-n,--count", arguments->count, "End after N pictures")
      ->check(CLI::Range(uint32_t{1}, UINT32_MAX).description(""))
      ->type_name("N");
  top->add_option("--sort", arguments->sort, "The order of functions")
      ->check(CLI::IsMember({"calls", "failed", "p99", "memory", "cpus", "name"}).description(""))
      ->type_name("calls|failed|p99|memory|cpus|name");
  top->add_flag("-b,--batch", arguments->batch,
                "One picture below the other; by itself where there is no terminal");
  top->add_flag("--once", arguments->once, "One picture, after one delay");
  top->callback([&context, arguments] {
    context.command = [&context, arguments] { return RunTop(context, *arguments); };
  });
}

}  // namespace spore::cli
