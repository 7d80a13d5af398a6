#include "zygote/hosts/provided/function.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "sandbox/sys/step_log.h"
#include "zygote/hosts/common/channel.h"
#include "zygote/hosts/common/confine.h"
#include "zygote/hosts/native/environment.h"
#include "zygote/hosts/provided/bootstrap.h"
#include "zygote/hosts/provided/http_server.h"
#include "zygote/hosts/provided/runtime_api.h"

namespace spore {
namespace {

using nlohmann::json;
using wire::FrameType;

// What an error report may have at least.
constexpr uint64_t kLeastBody = 1u << 20;

void Send(const RuntimeApi::Report& report) {
  // spored takes no more than its own limit, which is what the length in the header tells it.
  const size_t bytes = std::min<size_t>(report.body.size(), wire::kMaxFrame);
  if (WriteFrame(kInstanceFd, report.type, report.frame_id, report.body.data(), bytes)) return;
  // The bootstrap cannot have closed it: spored is gone.
  _exit(1);
}

[[noreturn]] void GiveUp(const std::string& type, const std::string& message) {
  Send({FrameType::kFatal, 0, DescribeError(type, message)});
  _exit(1);
}

struct Order {
  uint64_t began_ns = 0;
  uint64_t max_response = 0;
};

// The environment is taken over, too.
Order ReadOrder() {
  const std::optional<HostFrame> frame = ReadFrame(kInstanceFd);
  if (!frame || frame->type != FrameType::kLoad) _exit(1);
  Order order{.began_ns = StepLog::Now()};
  const json load = json::parse(frame->body, nullptr, false);
  if (!load.is_object()) _exit(1);
  order.max_response = load.value("response_bytes", uint64_t{0});
  TakeEnvironment(load);
  setenv("AWS_LAMBDA_RUNTIME_API", kRuntimeApiAddress, 1);
  if (chdir(kTaskRoot) < 0) _exit(1);
  return order;
}

class Instance {
 public:
  explicit Instance(const Order& order) : began_ns_(order.began_ns), api_(order.max_response) {}

  void Start(uint64_t max_response) {
    epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    auto server = HttpServer::Listen(
        epoll_.get(), kRuntimeApiPort, std::max(max_response, kLeastBody),
        {[this](HttpServer::ConnectionId id, HttpRequest& request) { OnRequest(id, request); },
         [this](HttpServer::ConnectionId id, bool reset) { OnClosed(id, reset); }});
    if (!server) GiveUp("Runtime.InvalidEntrypoint", server.error().Message());
    server_ = std::move(*server);
    if (const std::string problem = bootstrap_.Start(); !problem.empty())
      GiveUp("Runtime.InvalidEntrypoint", problem);
    Watch(EPOLL_CTL_ADD, bootstrap_.pidfd(), kBootstrapTag, EPOLLIN);
    Watch(EPOLL_CTL_ADD, kInstanceFd, kChannelTag, EPOLLRDHUP);
  }

  [[noreturn]] void Serve() {
    for (;;) {
      epoll_event events[32];
      const bool doubtful = held_ && !api_.may_take();
      const int count = epoll_wait(epoll_.get(), events, static_cast<int>(std::size(events)),
                                   doubtful ? kDoubtMs : -1);
      if (count < 0 && errno != EINTR) _exit(1);
      if (count == 0) Settle();
      for (int i = 0; i < count; ++i) {
        const uint64_t tag = events[i].data.u64;
        if (tag == kBootstrapTag) {
          if (!IsUnread()) Settle();
          bootstrap_.EndAlike();
        } else if (tag == kChannelTag) {
          OnChannel(events[i].events);
        } else {
          server_->OnEvent(tag, events[i].events);
        }
      }
      GiveEvent();
    }
  }

 private:
  static constexpr uint64_t kChannelTag = 1;
  static constexpr uint64_t kBootstrapTag = 2;
  // A process that is being killed may look alive for a moment.
  static constexpr int kDoubtMs = 50;

  void Watch(int operation, int fd, uint64_t tag, uint32_t wanted) const {
    epoll_event event{};
    event.events = wanted;
    event.data.u64 = tag;
    if (epoll_ctl(epoll_.get(), operation, fd, &event) < 0) _exit(1);
  }

  void OnRequest(HttpServer::ConnectionId id, HttpRequest& request) {
    RuntimeApi::Outcome outcome = api_.Handle(request);
    if (!outcome.reply) {
      waiting_.push_back(id);
      return TellBegun();
    }
    server_->Reply(id, *outcome.reply);
    if (!outcome.report) return;
    Settle();
    if (outcome.report->type != FrameType::kFatal) event_.reset();
    Send(*outcome.report);
    if (outcome.report->type == FrameType::kFatal) _exit(1);
  }

  // It goes out with the first answer where an event is there already.
  void TellBegun() {
    if (std::exchange(told_begun_, true)) return;
    QueueLoaded(began_ns_);
    SendQueuedBeforeWaiting();
  }

  void OnClosed(HttpServer::ConnectionId id, bool reset) {
    std::erase(waiting_, id);
    if (id != delivered_to_) return;
    delivered_to_ = 0;
    // Whoever asked for the event died before it had read it.
    if (reset && event_ && !api_.may_take()) api_.TakeBack();
  }

  // An event stays in the channel until somebody asks for it, and its last byte until it can be
  // told that he lives: should the bootstrap die first, spored sees that it was not read (unix(7):
  // ECONNRESET), and gives it to another instance.
  void OnChannel(uint32_t events) {
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) _exit(0);
    if (event_ || !HasTaker()) return;
    wire::FrameHeader header{};
    if (!ReadExactly(kInstanceFd, &header, sizeof header)) _exit(1);
    if (header.type != FrameType::kInvoke || header.length == 0 || header.length > wire::kMaxFrame)
      _exit(1);
    std::string body(header.length, '\0');
    if (!ReadExactly(kInstanceFd, body.data(), body.size() - 1)) _exit(1);
    if (TEMP_FAILURE_RETRY(recv(kInstanceFd, &body.back(), 1, MSG_PEEK)) != 1) _exit(1);
    held_ = true;
    event_ = ParseEvent(header.id, body);
    if (!event_) _exit(1);
  }

  // The event is the runtime's, whatever becomes of it.
  void Settle() {
    char last;
    if (std::exchange(held_, false) && !ReadExactly(kInstanceFd, &last, 1)) _exit(1);
  }

  bool IsUnread() const { return event_ && (api_.may_take() || server_->IsLost(delivered_to_)); }

  bool HasTaker() {
    if (!api_.may_take() || bootstrap_.HasEnded()) return false;
    std::erase_if(waiting_, [this](HttpServer::ConnectionId id) { return !server_->IsOpen(id); });
    return !waiting_.empty();
  }

  void GiveEvent() {
    while (event_ && HasTaker()) {
      delivered_to_ = waiting_.front();
      waiting_.pop_front();
      server_->Reply(delivered_to_, api_.Deliver(*event_));
    }
    const bool wants = !event_ && HasTaker();
    if (wants != std::exchange(reading_, wants))
      Watch(EPOLL_CTL_MOD, kInstanceFd, kChannelTag, EPOLLRDHUP | (wants ? uint32_t{EPOLLIN} : 0u));
  }

  uint64_t began_ns_;
  RuntimeApi api_;
  UniqueFd epoll_;
  Bootstrap bootstrap_;
  std::unique_ptr<HttpServer> server_;
  std::deque<HttpServer::ConnectionId> waiting_;  // in /next, the first come first
  std::optional<Event> event_;                    // until it is answered
  HttpServer::ConnectionId delivered_to_ = 0;
  bool told_begun_ = false;
  bool reading_ = false;  // the channel's events
  bool held_ = false;     // the event's last byte is in the channel
};

}  // namespace

void ServeProvided() {
  const Order order = ReadOrder();
  Instance instance(order);
  instance.Start(order.max_response);
  instance.Serve();
}

}  // namespace spore
