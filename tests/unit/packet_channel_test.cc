// Messages with descriptors, also when there is no room for the descriptors.
#include "daemon/loop/packet_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "sandbox/sys/fd_message.h"
#include "tests/unit/sockets.h"

namespace spore {
namespace {

class PacketChannelTest : public testing::Test {
 protected:
  struct Seen {
    std::string text;
    size_t fds;
    bool fds_lost;
    pid_t sender;
  };

  void SetUp() override {
    auto made = EventLoop::Create({});
    ASSERT_TRUE(made) << made.error().Message();
    loop_ = std::move(*made);
    auto pair = MakePacketPair();
    ASSERT_TRUE(pair) << pair.error().Message();
    peer_ = std::move(pair->theirs);
    PacketChannel::Handlers handlers;
    handlers.on_packet = [this](Packet& packet) {
      seen_.push_back({{reinterpret_cast<const char*>(packet.data.data()), packet.data.size()},
                       packet.fds.size(),
                       packet.fds_lost,
                       packet.sender});
      loop_->Stop();
    };
    handlers.on_close = [this](int error) {
      closed_with_ = error;
      loop_->Stop();
    };
    channel_ = std::make_unique<PacketChannel>(*loop_, std::move(pair->ours), std::move(handlers));
  }
  void TearDown() override { channel_.reset(); }

  void Run() {
    auto watchdog = loop_->AddTimer(std::chrono::seconds(60), [this] {
      ADD_FAILURE() << "the loop waited for something that never came";
      loop_->Stop();
    });
    auto result = loop_->Run();
    EXPECT_TRUE(result) << result.error().Message();
    loop_->CancelTimer(watchdog);
  }
  // From the peer, with so many descriptors.
  void Send(const std::string& text, size_t count) {
    const std::vector<int> fds(count, STDERR_FILENO);
    ASSERT_EQ(static_cast<ssize_t>(text.size()), SendWithFds(peer_.get(), text, fds));
  }

  std::unique_ptr<EventLoop> loop_;
  UniqueFd peer_;
  std::vector<Seen> seen_;
  int closed_with_ = -1;
  std::unique_ptr<PacketChannel> channel_;
};

// Leaves this process room for `room` more descriptors, while it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(size_t room) {
    getrlimit(RLIMIT_NOFILE, &before_);
    // Descriptors are numbered from the lowest free number on: fill the gaps, then leave room.
    UniqueFd next(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
    const int last = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 500);
    EXPECT_GE(last, 500);
    close(last);
    while (next.get() < 500) {
      filling_.push_back(std::move(next));
      next.Reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
    }
    next.Reset();
    rlimit few = before_;
    few.rlim_cur = 500 + room;
    EXPECT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
  std::vector<UniqueFd> filling_;
};

TEST_F(PacketChannelTest, BringsDescriptorsAndTheSender) {
  Send("two", 2);
  Run();
  ASSERT_EQ(1u, seen_.size());
  EXPECT_EQ("two", seen_[0].text);
  EXPECT_EQ(2u, seen_[0].fds);
  EXPECT_FALSE(seen_[0].fds_lost);
  EXPECT_EQ(getpid(), seen_[0].sender);
}

TEST_F(PacketChannelTest, LosesTheDescriptorsOfOneMessageAndNotTheChannelWhenThereIsNoRoom) {
  for (const size_t room : {0u, 1u, 2u}) {
    seen_.clear();
    {
      const FewDescriptors few(room);
      Send("three", 3);
      Run();
    }
    ASSERT_EQ(1u, seen_.size()) << room;
    EXPECT_EQ("three", seen_[0].text);
    EXPECT_EQ(0u, seen_[0].fds) << "a part of them is of no use to anybody";
    EXPECT_TRUE(seen_[0].fds_lost);
    EXPECT_EQ(getpid(), seen_[0].sender);
    EXPECT_EQ(-1, closed_with_);
  }
  Send("again", 3);
  Run();
  ASSERT_EQ(2u, seen_.size());
  EXPECT_EQ(3u, seen_[1].fds);
  EXPECT_FALSE(seen_[1].fds_lost);
}

TEST_F(PacketChannelTest, KeepsWhatItWasGivenWhileThereIsNoRoom) {
  {
    const FewDescriptors few(0);
    Send("one", 1);
    Send("none", 0);
    Run();
    while (seen_.size() < 2 && !HasFailure()) Run();
  }
  EXPECT_TRUE(seen_.at(0).fds_lost);
  EXPECT_EQ("none", seen_.at(1).text);
  EXPECT_FALSE(seen_.at(1).fds_lost);
}

TEST_F(PacketChannelTest, EndsWithItsPeer) {
  peer_.Reset();
  Run();
  EXPECT_EQ(0, closed_with_);
}

TEST_F(PacketChannelTest, EndsAtAMessageThatIsCut) {
  Send(std::string(8193, 'x'), 0);
  Run();
  EXPECT_EQ(EMSGSIZE, closed_with_);
  EXPECT_TRUE(seen_.empty());
}

}  // namespace
}  // namespace spore
