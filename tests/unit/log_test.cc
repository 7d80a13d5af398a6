// spored's own messages: one line each, whatever they quote.
#include "daemon/log.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

TEST(LogTest, QuotesNoControlCharacter) {
  testing::internal::CaptureStderr();
  Log(LogLevel::kError, "a tenant says \x1b]0;x\x07 \x7f \xc2\x9b \x9b\nspored: forged");
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(
      line.ends_with("a tenant says \\x1b]0;x\\x07 \\x7f \\u009b \\x9b\\x0aspored: forged\n"))
      << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

}  // namespace
}  // namespace spore
