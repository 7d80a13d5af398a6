#include "daemon/history/log_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace spore {
namespace {

using Lines = std::vector<std::string>;

class LogStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/spore-logs-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(pattern.data()));
    options_.directory = pattern;
    Open();
  }
  void TearDown() override {
    Close();
    std::filesystem::remove_all(options_.directory);
  }
  void Open() {
    loop_ = std::move(*EventLoop::Create({}));
    lane_ = std::make_unique<BlockingLane>(*loop_);
    auto opened = LogStore::Open(*loop_, *lane_, options_);
    ASSERT_TRUE(opened) << opened.error().Message();
    store_ = std::move(*opened);
  }
  void Close() {
    store_.reset();
    lane_.reset();
    loop_.reset();
  }
  void Reopen() {
    Close();
    Open();
  }
  void Add(std::string_view text) { store_->Append("f", "0123", v1::LogLine::STDOUT, text); }
  v1::ReadLogsResponse Read(uint64_t cursor = 0, uint32_t tail = 0) {
    v1::ReadLogsRequest request;
    request.set_function("f");
    request.set_cursor(cursor);
    request.set_tail(tail);
    v1::ReadLogsResponse answer;
    bool answered = false;
    store_->Read(request, [&](v1::ReadLogsResponse response) {
      answer = std::move(response);
      answered = true;
    });
    EXPECT_TRUE(answered);
    return answer;
  }
  static Lines Texts(const v1::ReadLogsResponse& answer) {
    Lines texts;
    for (const auto& line : answer.lines()) texts.push_back(line.text());
    return texts;
  }
  // Keeps the loop running until `done`, or says so.
  void RunUntil(const bool& done) {
    auto watchdog = loop_->AddTimer(std::chrono::seconds(60), [this] { loop_->Stop(); });
    std::function<void()> look = [&] {
      if (done) return loop_->Stop();
      loop_->AddTimer(std::chrono::milliseconds(5), look);
    };
    look();
    EXPECT_TRUE(loop_->Run());
    EXPECT_TRUE(done);
    loop_->CancelTimer(watchdog);
  }
  std::string File() const { return options_.directory + "/f.log"; }

  LogStore::Options options_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<BlockingLane> lane_;
  std::unique_ptr<LogStore> store_;
};

TEST_F(LogStoreTest, LinesComeInOrderWithCursor) {
  EXPECT_EQ(Lines{}, Texts(Read()));
  for (const char* text : {"one", "two", "", "three"}) Add(text);
  auto answer = Read();
  EXPECT_EQ((Lines{"one", "two", "", "three"}), Texts(answer));
  EXPECT_EQ("0123", answer.lines(0).instance_id());
  EXPECT_EQ(v1::LogLine::STDOUT, answer.lines(0).stream());
  EXPECT_GT(answer.lines(0).unix_us(), 0);
  EXPECT_EQ(Lines{}, Texts(Read(answer.cursor())));
  Add("four");
  EXPECT_EQ(Lines{"four"}, Texts(Read(answer.cursor())));
  EXPECT_EQ((Lines{"three", "four"}), Texts(Read(0, 2)));
  EXPECT_EQ(5, Read(0, 100).lines_size());
}

TEST_F(LogStoreTest, OldestGoFirstAndAreCounted) {
  options_.function_bytes = 4096;
  Reopen();
  Add("first");
  uint64_t cursor = Read().cursor();
  for (int i = 0; i < 100; ++i) Add(std::string(100, static_cast<char>('a' + i % 26)));
  auto answer = Read(cursor);
  EXPECT_GT(answer.lines_size(), 10);
  EXPECT_LT(answer.lines_size(), 40);
  EXPECT_EQ(100u, answer.dropped() + static_cast<uint64_t>(answer.lines_size()));
}

TEST_F(LogStoreTest, LongLineIsSplit) {
  Add(std::string(40000, 'x'));
  auto answer = Read();
  ASSERT_EQ(3, answer.lines_size());
  EXPECT_EQ(16384u, answer.lines(0).text().size());
  EXPECT_EQ(40000u - 2 * 16384, answer.lines(2).text().size());
}

TEST_F(LogStoreTest, OutlivesARestart) {
  Add("one");
  Reopen();
  Add("two");
  uint64_t cursor = Read().cursor();
  Reopen();
  EXPECT_EQ((Lines{"one", "two"}), Texts(Read()));
  EXPECT_EQ(cursor, Read().cursor());
  Add("three");
  EXPECT_EQ(Lines{"three"}, Texts(Read(cursor)));
}

TEST_F(LogStoreTest, TornTailIsDroppedAndOverwritten) {
  for (const char* text : {"one", "two", "three"}) Add(text);
  Close();
  std::filesystem::resize_file(File(), std::filesystem::file_size(File()) - 2);
  Open();
  EXPECT_EQ((Lines{"one", "two"}), Texts(Read()));
  Add("four");
  Reopen();
  EXPECT_EQ((Lines{"one", "two", "four"}), Texts(Read()));
}

TEST_F(LogStoreTest, RubbishFilesAreNoLines) {
  Close();
  std::ofstream(File()) << std::string(5000, '\0') << "rubbish";
  std::ofstream(options_.directory + "/..odd name.log") << "x";
  std::ofstream(options_.directory + "/g.log.new") << "x";
  Open();
  EXPECT_EQ(Lines{}, Texts(Read()));
  EXPECT_FALSE(std::filesystem::exists(options_.directory + "/g.log.new"));
  Add("one");
  Reopen();
  EXPECT_EQ(Lines{"one"}, Texts(Read()));
}

TEST_F(LogStoreTest, FileStaysBounded) {
  options_.function_bytes = 4096;
  Reopen();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 10; ++i) Add(std::string(200, 'x'));
    Reopen();
    EXPECT_LE(std::filesystem::file_size(File()), 3 * options_.function_bytes);
  }
  EXPECT_GE(Read().lines_size(), 10);
}

TEST_F(LogStoreTest, ReaderWaitsForTheFirstLines) {
  v1::ReadLogsRequest request;
  request.set_function("f");
  request.set_wait_ms(60000);
  bool answered = false;
  v1::ReadLogsResponse answer;
  store_->Read(request, [&](v1::ReadLogsResponse response) {
    answer = std::move(response);
    answered = true;
  });
  EXPECT_FALSE(answered);
  store_->Append("other", "1", v1::LogLine::STDERR, "not this one");
  Add("one");
  Add("two");
  EXPECT_FALSE(answered) << "answered inside Append";
  RunUntil(answered);
  EXPECT_EQ((Lines{"one", "two"}), Texts(answer));
}

TEST_F(LogStoreTest, ReaderIsAnsweredWhenItsTimeIsOver) {
  v1::ReadLogsRequest request;
  request.set_function("f");
  request.set_wait_ms(10);
  bool answered = false;
  store_->Read(request, [&](const auto& response) {
    EXPECT_EQ(0, response.lines_size());
    answered = true;
  });
  RunUntil(answered);
}

TEST_F(LogStoreTest, CancelledReaderIsNotAnswered) {
  v1::ReadLogsRequest request;
  request.set_function("f");
  request.set_wait_ms(20);
  bool first = false, second = false;
  uint64_t id = store_->Read(request, [&](const auto&) { first = true; });
  store_->CancelRead(id);
  store_->CancelRead(id + 1000);
  request.set_wait_ms(40);
  store_->Read(request, [&](const auto&) { second = true; });
  RunUntil(second);
  EXPECT_FALSE(first);
}

TEST_F(LogStoreTest, ForgottenLeavesNothing) {
  Add("one");
  Reopen();
  ASSERT_TRUE(std::filesystem::exists(File()));
  store_->Forget("f");
  EXPECT_EQ(Lines{}, Texts(Read()));
  Reopen();
  EXPECT_FALSE(std::filesystem::exists(File()));
  Add("again");
  EXPECT_EQ(Lines{"again"}, Texts(Read(55)));  // a cursor of the earlier life
}

// Whoever waits for the first line of a function must not get it from the next of that name.
TEST_F(LogStoreTest, ForgettingAFunctionWithoutLinesAnswersItsReaders) {
  v1::ReadLogsRequest request;
  request.set_function("f");
  request.set_wait_ms(60000);
  bool answered = false;
  Lines texts;
  store_->Read(request, [&](const v1::ReadLogsResponse& response) {
    texts = Texts(response);
    answered = true;
  });
  EXPECT_FALSE(answered);
  store_->Forget("f");
  EXPECT_TRUE(answered);
  Add("of another owner");
  EXPECT_EQ(Lines{}, texts);
}

TEST_F(LogStoreTest, NamesThatAreNoFunctionsAreIgnored) {
  for (const char* name : {"", "../../tmp/x", ".hidden"}) {
    store_->Append(name, "1", v1::LogLine::STDOUT, "x");
  }
  Close();
  EXPECT_TRUE(std::filesystem::is_empty(options_.directory));
  Open();
}

class LineSplitterTest : public testing::Test {
 protected:
  Lines lines_;
  LineSplitter::Emit emit_ = [this](std::string_view line) { lines_.emplace_back(line); };
};

TEST_F(LineSplitterTest, CutsAtLineEnds) {
  LineSplitter splitter(1000, emit_);
  for (const char* part : {"on", "e\ntwo\n\nthr", "ee"}) splitter.Feed(part);
  EXPECT_EQ((Lines{"one", "two", ""}), lines_);
  splitter.Finish();
  splitter.Finish();
  EXPECT_EQ((Lines{"one", "two", "", "three"}), lines_);
}

TEST_F(LineSplitterTest, SplitsLongLines) {
  LineSplitter splitter(1 << 20, emit_);
  splitter.Feed(std::string(16384, 'x') + "\nshort\n" + std::string(16385, 'y'));
  splitter.Finish();
  ASSERT_EQ(4u, lines_.size());
  EXPECT_EQ(16384u, lines_[0].size());
  EXPECT_EQ("short", lines_[1]);
  EXPECT_EQ(16384u, lines_[2].size());
  EXPECT_EQ("y", lines_[3]);
}

TEST_F(LineSplitterTest, StopsAtItsBudget) {
  LineSplitter splitter(10, emit_);
  splitter.Feed("12345\n7");
  EXPECT_FALSE(splitter.cut());
  splitter.Feed("89012345\n");
  splitter.Feed("more\n");
  EXPECT_TRUE(splitter.cut());
  splitter.Finish();
  EXPECT_EQ((Lines{"12345", "7890"}), lines_);
  splitter.ResetBudget(10);
  EXPECT_FALSE(splitter.cut());
  splitter.Feed("next\n");
  EXPECT_EQ("next", lines_.back());
}

}  // namespace
}  // namespace spore
