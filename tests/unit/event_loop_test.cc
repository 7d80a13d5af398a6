#include "daemon/loop/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/unit/sockets.h"

namespace spore {
namespace {

using std::chrono::milliseconds;

class EventLoopTest : public testing::Test {
 protected:
  void SetUp() override { Make({}); }
  void Make(EventLoop::Options options) {
    auto loop = EventLoop::Create(options);
    ASSERT_TRUE(loop) << loop.error().Message();
    loop_ = std::move(*loop);
  }
  // Runs until `done` or a generous watchdog.
  void Run() {
    bool stuck = false;
    auto watchdog = loop_->AddTimer(std::chrono::seconds(60), [&] {
      stuck = true;
      loop_->Stop();
    });
    auto result = loop_->Run();
    EXPECT_TRUE(result) << result.error().Message();
    EXPECT_FALSE(stuck) << "the loop waited for something that never came";
    loop_->CancelTimer(watchdog);
  }
  void RunFor(milliseconds time) {
    loop_->AddTimer(time, [this] { loop_->Stop(); });
    Run();
  }
  std::unique_ptr<EventLoop> loop_;
};

std::array<UniqueFd, 2> Pipe(int flags = 0) {
  int fds[2];
  EXPECT_EQ(0, pipe2(fds, O_CLOEXEC | flags));
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::string Text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// A position-dependent pattern, so that lost or swapped pieces show.
std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 13);
  return text;
}

TEST_F(EventLoopTest, PostRunsAfterTheCurrentHandlerAndInOrder) {
  std::string order;
  loop_->Post([&] {
    loop_->Post([&] {
      order += "c";
      loop_->Stop();
    });
    order += "a";
  });
  loop_->Post([&] { order += "b"; });
  Run();
  EXPECT_EQ("abc", order);
}

TEST_F(EventLoopTest, TimersFireInOrderAndCanBeCancelled) {
  std::string order;
  loop_->AddTimer(milliseconds(300), [&] {
    order += "2";
    loop_->Stop();
  });
  auto cancelled = loop_->AddTimer(milliseconds(200), [&] { order += "x"; });
  loop_->AddTimer(milliseconds(100), [&, cancelled] {
    order += "1";
    loop_->CancelTimer(cancelled);
  });
  loop_->AddTimer(milliseconds(0), [&] { order += "0"; });
  Run();
  EXPECT_EQ("012", order);
  loop_->CancelTimer(cancelled);  // harmless
}

TEST_F(EventLoopTest, PostFromThreadWakesTheLoop) {
  std::thread other;
  int calls = 0;
  loop_->Post([&] {
    other = std::thread([&] {
      for (int i = 0; i < 100; ++i) {
        loop_->PostFromThread([&] {
          if (++calls == 100) loop_->Stop();
        });
      }
    });
  });
  Run();
  other.join();
  EXPECT_EQ(100, calls);
}

TEST_F(EventLoopTest, MayRunOnAnotherThreadThanItsMaker) {
  bool ran = false;
  std::thread runner([&] {
    loop_->Post([&] {
      ran = true;
      loop_->Stop();
    });
    EXPECT_TRUE(loop_->Run());
    loop_.reset();
  });
  runner.join();
  EXPECT_TRUE(ran);
}

TEST_F(EventLoopTest, WatchReportsEveryBurstAndStopsWhenDestroyed) {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  int calls = 0;
  std::unique_ptr<EventLoop::Watch> watch = loop_->WatchReadable(event.get(), [&] {
    eventfd_t value = 0;
    while (eventfd_read(event.get(), &value) == 0) {
    }
    if (++calls == 3) {
      watch.reset();
      eventfd_write(event.get(), 1);
      loop_->AddTimer(milliseconds(10), [&] { loop_->Stop(); });
    } else {
      loop_->Post([&] { eventfd_write(event.get(), 1); });
    }
  });
  eventfd_write(event.get(), 1);
  Run();
  EXPECT_EQ(3, calls);
}

TEST_F(EventLoopTest, WatchReportsHangUp) {
  auto pipe = Pipe(O_NONBLOCK);
  bool called = false;
  auto watch = loop_->WatchReadable(pipe[0].get(), [&] {
    called = true;
    loop_->Stop();
  });
  loop_->Post([&] { pipe[1].Reset(); });
  Run();
  EXPECT_TRUE(called);
}

// Far more data than buffers, in both directions at once: buffers run out (ENOBUFS), sends block.
TEST_F(EventLoopTest, StreamsCarryLargeDataBothWaysWithFewBuffers) {
  for (bool with_fds : {false, true}) {
    Make({.ring_entries = 16, .buffer_count = 2, .buffer_bytes = 4096});
    auto pair = StreamPair();
    const std::string sent = Pattern(3u << 20);
    std::string received[2];
    std::unique_ptr<EventLoop::Stream> streams[2];
    for (size_t i = 0; i < 2; ++i) {
      EventLoop::Stream::Handlers handlers;
      handlers.on_data = [&, i](std::span<const std::byte> data, std::vector<UniqueFd> fds) {
        EXPECT_TRUE(fds.empty());
        received[i] += Text(data);
        if (received[0].size() >= sent.size() && received[1].size() >= sent.size()) loop_->Stop();
      };
      streams[i] = loop_->OpenStream(std::move(pair[i]), with_fds, std::move(handlers));
    }
    for (auto& stream : streams) {
      for (size_t at = 0; at < sent.size(); at += 100'000) stream->Write(sent.substr(at, 100'000));
      EXPECT_GT(stream->pending_write_bytes(), 0u);
    }
    Run();
    EXPECT_TRUE(received[0] == sent);
    EXPECT_TRUE(received[1] == sent);
    EXPECT_EQ(0u, streams[0]->pending_write_bytes());
    streams[0].reset();
    streams[1].reset();
  }
}

TEST_F(EventLoopTest, DescriptorsArriveInOrderWithTheirBytesAndCloseOnExec) {
  auto pair = StreamPair();
  std::string received;
  std::vector<UniqueFd> fds;
  size_t bytes_at_first_fd = 0;
  EventLoop::Stream::Handlers handlers;
  handlers.on_data = [&](std::span<const std::byte> data, std::vector<UniqueFd> got) {
    received += Text(data);
    if (fds.empty() && !got.empty()) bytes_at_first_fd = received.size();
    for (auto& fd : got) fds.push_back(std::move(fd));
    if (received.size() == 400'006) loop_->Stop();
  };
  auto reader = loop_->OpenStream(std::move(pair[0]), true, std::move(handlers));
  auto writer = loop_->OpenStream(std::move(pair[1]), false, {});
  auto first = Pipe(), second = Pipe();
  ASSERT_EQ(3, write(first[1].get(), "one", 3));
  ASSERT_EQ(3, write(second[1].get(), "two", 3));
  // The first chunk fills the socket, so descriptors go both ways: direct and through the ring.
  writer->Write(std::string(400'000, '.'));
  std::vector<UniqueFd> batch;
  batch.push_back(std::move(first[0]));
  writer->Write("abc", std::move(batch));
  batch.clear();
  batch.push_back(std::move(second[0]));
  writer->Write("def", std::move(batch));
  Run();
  ASSERT_EQ(2u, fds.size());
  EXPECT_GT(bytes_at_first_fd, 400'000u);
  const char* expected[] = {"one", "two"};
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NE(0, fcntl(fds[i].get(), F_GETFD) & FD_CLOEXEC);
    char text[4] = {};
    EXPECT_EQ(3, read(fds[i].get(), text, 3));
    EXPECT_STREQ(expected[i], text);
  }
}

TEST_F(EventLoopTest, TooManyDescriptorsFailTheStream) {
  auto pair = StreamPair();
  int error = -1;
  EventLoop::Stream::Handlers handlers;
  handlers.on_data = [](std::span<const std::byte>, std::vector<UniqueFd>) { ADD_FAILURE(); };
  handlers.on_close = [&](int value) {
    error = value;
    loop_->Stop();
  };
  auto reader = loop_->OpenStream(std::move(pair[0]), true, std::move(handlers));
  UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(1, SendWithFds(pair[1].get(), "x", std::vector<int>(200, null.get())));
  Run();
  EXPECT_EQ(EMSGSIZE, error);
}

TEST_F(EventLoopTest, PipesAreReadToTheirEnd) {
  for (int flags : {0, O_NONBLOCK}) {
    auto pipe = Pipe(flags);
    std::string received;
    int error = -1;
    EventLoop::Stream::Handlers handlers;
    handlers.on_data = [&](std::span<const std::byte> data, std::vector<UniqueFd>) {
      received += Text(data);
    };
    handlers.on_close = [&](int value) {
      error = value;
      loop_->Stop();
    };
    auto reader = loop_->OpenStream(std::move(pipe[0]), false, std::move(handlers));
    const std::string sent = Pattern(1'000'000);
    std::thread writer([&] {
      std::this_thread::sleep_for(milliseconds(5));
      (void)fcntl(pipe[1].get(), F_SETFL, 0);
      for (size_t at = 0; at < sent.size();) {
        const ssize_t count = write(pipe[1].get(), sent.data() + at, sent.size() - at);
        ASSERT_GT(count, 0);
        at += static_cast<size_t>(count);
      }
      pipe[1].Reset();
    });
    Run();
    writer.join();
    EXPECT_EQ(0, error);
    EXPECT_TRUE(received == sent);
  }
}

TEST_F(EventLoopTest, PausedStreamsKeepEverythingForLater) {
  for (bool with_fds : {false, true}) {
    auto pair = StreamPair();
    std::string received;
    bool closed = false;
    EventLoop::Stream::Handlers handlers;
    std::unique_ptr<EventLoop::Stream> reader;
    handlers.on_data = [&](std::span<const std::byte> data, std::vector<UniqueFd>) {
      received += Text(data);
      reader->PauseReading();
      loop_->AddTimer(milliseconds(1), [&] { reader->ResumeReading(); });
    };
    handlers.on_close = [&](int) {
      closed = true;
      loop_->Stop();
    };
    reader = loop_->OpenStream(std::move(pair[0]), with_fds, std::move(handlers));
    const std::string sent = Pattern(150'000);
    std::thread writer([&] {
      for (size_t at = 0; at < sent.size(); at += 5000) {
        EXPECT_EQ(5000, write(pair[1].get(), sent.data() + at, 5000));
      }
      pair[1].Reset();
    });
    Run();
    writer.join();
    EXPECT_TRUE(closed);
    EXPECT_TRUE(received == sent);
  }
}

TEST_F(EventLoopTest, NothingIsReadWhilePaused) {
  auto pair = StreamPair();
  std::string received;
  EventLoop::Stream::Handlers handlers;
  handlers.on_data = [&](std::span<const std::byte> data, std::vector<UniqueFd>) {
    received += Text(data);
    loop_->Stop();
  };
  auto reader = loop_->OpenStream(std::move(pair[0]), false, std::move(handlers));
  reader->PauseReading();
  ASSERT_EQ(5, write(pair[1].get(), "hello", 5));
  RunFor(milliseconds(10));
  EXPECT_EQ("", received);
  reader->ResumeReading();
  Run();
  EXPECT_EQ("hello", received);
}

TEST_F(EventLoopTest, StreamMayBeDestroyedInItsOwnHandler) {
  auto pair = StreamPair();
  std::unique_ptr<EventLoop::Stream> stream;
  int calls = 0;
  EventLoop::Stream::Handlers handlers;
  auto guard = std::make_shared<int>(7);
  handlers.on_data = [&, guard](std::span<const std::byte>, std::vector<UniqueFd>) {
    ++calls;
    stream.reset();
    EXPECT_EQ(7, *guard);  // the handler outlives its stream
    loop_->AddTimer(milliseconds(10), [this] { loop_->Stop(); });
  };
  handlers.on_close = [&](int) { ADD_FAILURE() << "called after the stream was destroyed"; };
  stream = loop_->OpenStream(std::move(pair[0]), true, std::move(handlers));
  ASSERT_EQ(3, write(pair[1].get(), "abc", 3));
  Run();
  EXPECT_EQ(1, calls);
  char byte = 0;
  EXPECT_EQ(0, read(pair[1].get(), &byte, 1)) << "the descriptor was not closed";
}

TEST_F(EventLoopTest, DestroyedStreamWithOperationsInFlightClosesItsDescriptor) {
  auto pair = StreamPair();
  auto stream = loop_->OpenStream(std::move(pair[0]), true, {});
  stream->Write(std::string(4u << 20, 'x'));  // more than fits: a send waits in the kernel
  RunFor(milliseconds(5));
  EXPECT_GT(stream->pending_write_bytes(), 0u);
  stream.reset();
  RunFor(milliseconds(200));
  std::string received(8u << 20, '\0');
  while (read(pair[1].get(), received.data(), received.size()) > 0) {
  }
  EXPECT_EQ(0, read(pair[1].get(), received.data(), received.size()));
}

TEST_F(EventLoopTest, DataBeforeABrokenWriteIsStillRead) {
  auto pair = StreamPair();
  std::string received;
  int error = -1;
  EventLoop::Stream::Handlers handlers;
  handlers.on_data = [&](std::span<const std::byte> data, std::vector<UniqueFd>) {
    received += Text(data);
  };
  handlers.on_close = [&](int value) {
    error = value;
    loop_->Stop();
  };
  auto stream = loop_->OpenStream(std::move(pair[0]), false, std::move(handlers));
  ASSERT_EQ(4, write(pair[1].get(), "last", 4));
  ASSERT_EQ(0, shutdown(pair[1].get(), SHUT_RD));
  stream->Write("nobody listens");
  Run();
  EXPECT_EQ("last", received);
  EXPECT_EQ(EPIPE, error);
}

TEST_F(EventLoopTest, LoopDestroyedWithEverythingInFlightLeaksNothing) {
  auto pair = StreamPair();
  auto pipe = Pipe();
  {
    auto stream = loop_->OpenStream(std::move(pair[0]), true, {});
    auto reader = loop_->OpenStream(std::move(pipe[0]), false, {});
    loop_->AddTimer(std::chrono::hours(1), [] {});
    RunFor(milliseconds(2));
  }
  loop_.reset();
  char byte = 0;
  EXPECT_EQ(0, read(pair[1].get(), &byte, 1));
  EXPECT_EQ(-1, write(pipe[1].get(), "x", 1));  // SIGPIPE is ignored below
  EXPECT_EQ(EPIPE, errno);
}

class AcceptTest : public EventLoopTest {
 protected:
  void Listen(int flags) {
    listener_ = spore::Listen();
    ASSERT_EQ(0, fcntl(listener_.fd.get(), F_SETFL, flags));
  }
  UniqueFd Connect() {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(0,
              connect(fd.get(), reinterpret_cast<sockaddr*>(&listener_.address), listener_.length));
    return fd;
  }
  Listener listener_;
};

TEST_F(AcceptTest, AcceptsManyOnBlockingAndNonBlockingSockets) {
  for (int flags : {0, O_NONBLOCK}) {
    Listen(flags);
    std::vector<UniqueFd> accepted, clients;
    auto watch = loop_->Accept(listener_.fd.get(), [&](UniqueFd fd) {
      EXPECT_NE(0, fcntl(fd.get(), F_GETFD) & FD_CLOEXEC);
      accepted.push_back(std::move(fd));
      if (accepted.size() == 40) loop_->Stop();
    });
    for (int i = 0; i < 20; ++i) clients.push_back(Connect());
    loop_->AddTimer(milliseconds(5), [&] {
      for (int i = 0; i < 20; ++i) clients.push_back(Connect());
    });
    Run();
    EXPECT_EQ(40u, accepted.size());
  }
}

TEST_F(AcceptTest, RestsWithoutSpinningWhenDescriptorsRunOut) {
  Listen(0);
  int accepted = 0;
  auto watch = loop_->Accept(listener_.fd.get(), [&](UniqueFd) {
    ++accepted;
    loop_->Stop();
  });
  UniqueFd client = Connect();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  UniqueFd next(dup(0));
  rlimit low{static_cast<rlim_t>(next.get()), before.rlim_max};
  next.Reset();
  std::vector<UniqueFd> fill;  // holes below the limit
  ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &low));
  while (true) {
    UniqueFd fd(dup(0));
    if (!fd) break;
    fill.push_back(std::move(fd));
  }
  timespec cpu_before{}, cpu_after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_before);
  RunFor(milliseconds(150));
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_after);
  EXPECT_EQ(0, accepted);
  fill.clear();
  setrlimit(RLIMIT_NOFILE, &before);
  const double used = static_cast<double>(cpu_after.tv_sec - cpu_before.tv_sec) +
                      static_cast<double>(cpu_after.tv_nsec - cpu_before.tv_nsec) / 1e9;
  EXPECT_LT(used, 0.1) << "spinning";
  Run();
  EXPECT_EQ(1, accepted);
}

TEST_F(EventLoopTest, BlockingLaneRunsJobsInOrderAndReportsOnTheLoop) {
  BlockingLane lane(*loop_);
  const auto loop_thread = std::this_thread::get_id();
  std::string order;
  for (char name : {'a', 'b', 'c'}) {
    lane.Submit([&, loop_thread] { EXPECT_NE(loop_thread, std::this_thread::get_id()); },
                [&, name, loop_thread] {
                  EXPECT_EQ(loop_thread, std::this_thread::get_id());
                  order += name;
                  if (name == 'c') loop_->Stop();
                });
  }
  Run();
  EXPECT_EQ("abc", order);
}

TEST_F(EventLoopTest, BlockingLaneCallsNothingAfterItsEnd) {
  {
    BlockingLane lane(*loop_);
    lane.Submit([] {}, [] { ADD_FAILURE() << "done after the lane's end"; });
  }
  RunFor(milliseconds(5));
}

const bool kIgnorePipes = signal(SIGPIPE, SIG_IGN) != SIG_ERR;

}  // namespace
}  // namespace spore
