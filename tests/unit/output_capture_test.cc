// What tenants write: the budget, the cut, and payloads beside messages.
#include "daemon/instances/output_capture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "daemon/rpc/payload.h"

namespace spore {
namespace {

class OutputCaptureTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = EventLoop::Create({});
    ASSERT_TRUE(made) << made.error().Message();
    loop = std::move(*made);
    capture = std::make_unique<OutputCapture>(
        *loop, [this](v1::LogLine::Stream stream, std::string_view line) {
          lines.emplace_back(stream, line);
          for (const char c : line) kept += c != 0 ? 1u : 0u;
        });
    auto opened = capture->Open();
    ASSERT_TRUE(opened) << opened.error().Message();
    pipes = std::move(*opened);
  }
  void TearDown() override { capture.reset(); }
  void Write(const UniqueFd& fd, const std::string& text) {
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<OutputCapture> capture;
  OutputCapture::Pipes pipes;
  std::vector<std::pair<v1::LogLine::Stream, std::string>> lines;
  size_t kept = 0;
};

TEST_F(OutputCaptureTest, DrainsWhatIsThereBeforeTheNextLine) {
  capture->BeginInvocation(1000);
  Write(pipes.stdout_write, "one\ntw");
  Write(pipes.stderr_write, "oops\n");
  capture->Drain();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], std::pair(v1::LogLine::STDOUT, std::string("one")));
  EXPECT_EQ(lines[1], std::pair(v1::LogLine::STDERR, std::string("oops")));
  capture->Finish();
  EXPECT_EQ(lines.back(), std::pair(v1::LogLine::STDOUT, std::string("tw")));
}

TEST_F(OutputCaptureTest, TheBudgetIsOfBothStreamsTogetherAndOfOneInvocation) {
  capture->BeginInvocation(10);
  Write(pipes.stdout_write, "12345\n");
  Write(pipes.stderr_write, "abcdefgh\n");
  capture->Drain();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].second, "abcd");
  EXPECT_EQ(lines[2].first, v1::LogLine::SYSTEM);
  Write(pipes.stdout_write, "lost\n");
  capture->Drain();
  EXPECT_EQ(lines.size(), 3u);  // told once, kept no more
}

TEST_F(OutputCaptureTest, AWriterWithoutEndIsCutAndNotBlockedForEver) {
  constexpr size_t kBytes = 4u << 20;
  capture->BeginInvocation(100000);
  std::thread writer([this] {
    const std::string text(1000, 'x');
    for (size_t done = 0; done < kBytes; done += text.size()) {
      if (write(pipes.stdout_write.get(), text.data(), text.size()) < 0) break;
    }
    loop->PostFromThread([this] { loop->Stop(); });
  });
  ASSERT_TRUE(loop->Run());
  writer.join();
  EXPECT_EQ(lines.back().first, v1::LogLine::SYSTEM);
  EXPECT_LE(kept, 100000u + lines.back().second.size());
}

// Whether what a thread writes meanwhile goes on being thrown away.
TEST_F(OutputCaptureTest, DiscardsWhatComesAfterAPauseToo) {
  capture->BeginInvocation(10);
  std::thread writer([this] {
    const std::string text(1u << 20, 'x');  // more than the pipe holds at once
    for (int i = 0; i < 20; ++i) {
      Write(i % 2 == 0 ? pipes.stdout_write : pipes.stderr_write, text);
      std::this_thread::sleep_for(std::chrono::milliseconds(i % 3 == 0 ? 12 : 0));
    }
    loop->PostFromThread([this] { loop->Stop(); });
  });
  ASSERT_TRUE(loop->Run());
  writer.join();
  EXPECT_LE(kept, 10u + lines.back().second.size());
}

TEST_F(OutputCaptureTest, KeepsAgainWhatTheNextInvocationWrites) {
  capture->BeginInvocation(10);
  Write(pipes.stdout_write, "more than ten bytes\n");
  capture->Drain();
  loop->AddTimer(std::chrono::milliseconds(30), [this] { loop->Stop(); });
  ASSERT_TRUE(loop->Run());
  lines.clear();
  capture->BeginInvocation(10);
  Write(pipes.stdout_write, "ten\n");
  capture->Drain();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].second, "ten");
}

TEST(Payload, TakesOnlyWhatCannotChange) {
  auto made = MakePayload("contents");
  ASSERT_TRUE(made);
  EXPECT_EQ(ReadPayload(made->get(), 8).value(), "contents");
  const auto too_large = ReadPayload(made->get(), 7);
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().kind, ErrorKind::kInvalid);
  EXPECT_NE(too_large.error().Message().find("8 bytes; expected at most 7"), std::string::npos);

  const UniqueFd open_memfd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_FALSE(ReadPayload(open_memfd.get(), 100));
  ASSERT_EQ(fcntl(open_memfd.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
  EXPECT_FALSE(ReadPayload(open_memfd.get(), 100));
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(ReadPayload(null.get(), 100));
}

}  // namespace
}  // namespace spore
