// spored's own messages: one line each, whatever they quote.
#include "daemon/common/log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace spore {
namespace {

std::string Logged(LogLevel level, std::string_view line) {
  testing::internal::CaptureStderr();
  Log(level, line, {{"SPORE_IMAGE", "python"}});
  return testing::internal::GetCapturedStderr();
}

TEST(LogTest, QuotesNoControlCharacter) {
  const std::string line =
      Logged(LogLevel::kError, "a tenant says \x1b]0;x\x07 \x7f \xc2\x9b \x9b\nspored: forged");
  EXPECT_TRUE(
      line.ends_with("a tenant says \\x1b]0;x\\x07 \\x7f \\u009b \\x9b\\x0aspored: forged\n"))
      << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

// systemd.exec(5): the variable is inherited by those whose stderr is another one.
TEST(LogTest, JournalOnlyWhereStderrIsIt) {
  for (const char* other : {"1:2", "", "x", "1", "99999999999999999999999:1"}) {
    setenv("JOURNAL_STREAM", other, 1);
    EXPECT_EQ(Logged(LogLevel::kInfo, "a line"), "spored: a line\n") << other;
  }
  unsetenv("JOURNAL_STREAM");
}

}  // namespace
}  // namespace spore
