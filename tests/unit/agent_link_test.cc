// The channel to a session's agent, which says what it likes; and the codec of both ends.
#include "daemon/sessions/agent_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <thread>

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

std::string FrameOf(wire::FrameType type, uint64_t id, const std::string& body) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(body.size()), id};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}

class AgentLinkTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = EventLoop::Create({});
    ASSERT_TRUE(made) << made.error().Message();
    loop_ = std::move(*made);
    int ends[2];
    ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    agent_.Reset(ends[1]);
    link_ = std::make_unique<AgentLink>(
        *loop_, UniqueFd(ends[0]),
        AgentLink::Handlers{.on_confined = [this](const Frame&) { ++confined_; },
                            .on_event =
                                [this](Reader& event) {
                                  ++events_;
                                  return event.op() == Op::kExecEnded;
                                },
                            .on_rubbish =
                                [this](const std::string& what) {
                                  rubbish_ = what;
                                  loop_->Stop();
                                },
                            .on_close =
                                [this](int) {
                                  closed_ = true;
                                  loop_->Stop();
                                }});
  }
  void TearDown() override { link_.reset(); }

  void Say(const std::string& bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
      const ssize_t sent =
          send(agent_.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        at += static_cast<size_t>(sent);
      } else if (errno == EAGAIN) {
        Turn();
      } else {
        return;
      }
    }
  }
  void SayConfined() {
    Say(FrameOf(wire::FrameType::kConfined, 0, std::string(sizeof(wire::Confined), '\0')));
  }
  // What has been said is taken.
  void Turn() {
    const auto timer = loop_->AddTimer(std::chrono::milliseconds(100), [this] { loop_->Stop(); });
    ASSERT_TRUE(loop_->Run());
    loop_->CancelTimer(timer);
  }
  void Finish() {
    const auto timer = loop_->AddTimer(std::chrono::seconds(60), [this] { loop_->Stop(); });
    ASSERT_TRUE(loop_->Run());
    loop_->CancelTimer(timer);
  }

  std::unique_ptr<EventLoop> loop_;
  UniqueFd agent_;
  std::unique_ptr<AgentLink> link_;
  int confined_ = 0, events_ = 0;
  std::string rubbish_;
  bool closed_ = false;
};

TEST_F(AgentLinkTest, AnswersFindTheirAsks) {
  SayConfined();
  std::string first, second;
  link_->Ask(Writer(Op::kStatFile).Take(), {}, [&](Result<std::string> r) { first = *r; });
  link_->Ask(Writer(Op::kStatFile).Take(), {},
             [&](Result<std::string> r) { second = r.error().Message(); });
  Say(FrameOf(wire::FrameType::kTell, 2,
              Writer(Op::kFailed)
                  .PutNumber(Tag::kErrno, ENOENT)
                  .Put(Tag::kText,
                       "op\x1b"
                       "en")
                  .Take()));
  Say(FrameOf(wire::FrameType::kTell, 1, Writer(Op::kDone).Put(Tag::kText, "yes").Take()));
  Turn();
  EXPECT_EQ("yes", Reader(first).Get(Tag::kText));
  EXPECT_EQ("op?en: No such file or directory", second);
  EXPECT_EQ("", rubbish_);
}

TEST_F(AgentLinkTest, WhatIsNoProtocolIsRubbish) {
  const std::string done = Writer(Op::kDone).Take();
  for (const std::string& said :
       {FrameOf(wire::FrameType::kTell, 1, done),  // nobody has asked
        FrameOf(wire::FrameType::kTell, 0, done), FrameOf(wire::FrameType::kTell, 1, ""),
        FrameOf(wire::FrameType::kEvent, 0, "x"),
        FrameOf(wire::FrameType::kEvent, 0, done + "\1"),  // a cut field
        FrameOf(wire::FrameType::kResponse, 1, "{}"), FrameOf(wire::FrameType::kAsk, 1, done),
        FrameOf(wire::FrameType::kConfined, 0, std::string(sizeof(wire::Confined), '\0')),
        std::string(64, '\xff')}) {
    TearDown();
    rubbish_.clear();
    SetUp();
    SayConfined();
    Say(said);
    Finish();
    EXPECT_NE("", rubbish_);
  }
}

TEST_F(AgentLinkTest, NothingComesBeforeItsConfinement) {
  Say(FrameOf(wire::FrameType::kEvent, 0, Writer(Op::kBackground).Take()));
  Finish();
  EXPECT_NE("", rubbish_);
  EXPECT_EQ(0, events_);
}

TEST_F(AgentLinkTest, AFloodOfWhatNobodyWantsEnds) {
  SayConfined();
  const std::string event =
      FrameOf(wire::FrameType::kEvent, 0,
              Writer(Op::kBackground).Put(Tag::kData, std::string(1 << 20, 'x')).Take());
  // As fast as it is taken: it is how much within a second that counts.
  std::thread flood([&] {
    while (send(agent_.get(), event.data(), event.size(), MSG_NOSIGNAL) > 0) {
    }
  });
  Finish();
  shutdown(agent_.get(), SHUT_RDWR);
  flood.join();
  EXPECT_NE("", rubbish_);
}

TEST_F(AgentLinkTest, WhatIsNotAnsweredFails) {
  SayConfined();
  std::string error;
  link_->Ask(Writer(Op::kStatFile).Take(), std::chrono::milliseconds(10),
             [&](Result<std::string> r) {
               error = r.error().Message();
               loop_->Stop();
             });
  Finish();
  EXPECT_NE(std::string::npos, error.find("does not answer"));
  // What comes then is nobody's, and no rubbish.
  Say(FrameOf(wire::FrameType::kTell, 1, Writer(Op::kDone).Take()));
  Turn();
  EXPECT_EQ("", rubbish_);
}

TEST_F(AgentLinkTest, WhoGoesIsNotCalled) {
  SayConfined();
  bool called = false;
  const uint64_t id = link_->Ask(Writer(Op::kStatFile).Take(), {},
                                 [&](const Result<std::string>&) { called = true; });
  link_->Forget(id);
  Say(FrameOf(wire::FrameType::kTell, id, Writer(Op::kDone).Take()));
  Turn();
  EXPECT_FALSE(called);
}

TEST_F(AgentLinkTest, AllFailAtTheEnd) {
  SayConfined();
  int failed = 0;
  const auto count = [&](const Result<std::string>& r) { failed += r ? 0 : 1; };
  link_->Ask(Writer(Op::kStatFile).Take(), {}, count);
  agent_.Reset();
  Finish();
  EXPECT_TRUE(closed_);
  link_->FailAll({ErrorKind::kPrecondition, 0, "ended", {}, {}});
  link_->Ask(Writer(Op::kStatFile).Take(), {}, count);
  EXPECT_EQ(2, failed);
}

TEST(SessionProtocol, FieldsComeBack) {
  std::string body = Writer(Op::kExec)
                         .Put(Tag::kArgument, "a")
                         .Put(Tag::kArgument, std::string("\0b", 2))
                         .PutNumber(Tag::kFlags, session::kCreate | session::kAppend)
                         .Put(Tag::kText, "")
                         .Take();
  Reader reader(body);
  ASSERT_TRUE(reader.valid());
  EXPECT_EQ(Op::kExec, reader.op());
  EXPECT_EQ((std::vector<std::string>{"a", std::string("\0b", 2)}), reader.All(Tag::kArgument));
  EXPECT_TRUE(reader.Has(session::kAppend));
  EXPECT_FALSE(reader.Has(session::kTruncate));
  EXPECT_TRUE(reader.Find(Tag::kText).has_value());
  EXPECT_FALSE(reader.Find(Tag::kPath).has_value());
  EXPECT_FALSE(reader.FindNumber(Tag::kArgument).has_value());
}

TEST(SessionProtocol, WhatIsCutHoldsNothing) {
  const std::string body = Writer(Op::kExec).Put(Tag::kArgument, "abcdef").Take();
  for (size_t length = 0; length < body.size(); ++length) {
    Reader reader(std::string_view(body).substr(0, length));
    EXPECT_EQ(length == sizeof(Op), reader.valid()) << length;
    EXPECT_TRUE(reader.All(Tag::kArgument).empty());
  }
}

TEST_F(AgentLinkTest, DetachTellsWhenNobodyHasTheChannel) {
  SayConfined();
  int gone = 0;
  const uint64_t id = link_->Ask(Writer(Op::kPark).Take(), {}, [&](const auto&) {
    link_->Detach([&] {
      ++gone;
      loop_->Stop();
    });
  });
  // As in a program that has not been executed yet.
  UniqueFd other(fcntl(agent_.get(), F_DUPFD_CLOEXEC, 0));
  Say(FrameOf(wire::FrameType::kTell, id, Writer(Op::kDone).Take()));
  Say("what is said now is nothing to anybody");
  Turn();
  agent_.Reset();
  Turn();
  EXPECT_EQ(0, gone);
  other.Reset();
  Finish();
  EXPECT_EQ(1, gone);
  EXPECT_FALSE(closed_);
  EXPECT_EQ("", rubbish_);
  link_->FailAll({ErrorKind::kPrecondition, 0, "it has ended", {}, {}});
  EXPECT_EQ(1, gone);
}

TEST_F(AgentLinkTest, WhoWaitsForTheEndOfAChannelIsToldOfTheSessions) {
  SayConfined();
  Turn();
  int gone = 0;
  link_->Detach([&] { ++gone; });
  link_->FailAll({ErrorKind::kPrecondition, 0, "it has ended", {}, {}});
  EXPECT_EQ(1, gone);
  agent_.Reset();
  Turn();
  EXPECT_EQ(1, gone);
  EXPECT_FALSE(closed_);
}

}  // namespace
}  // namespace spore
