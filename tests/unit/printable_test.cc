// What may not reach a log or a terminal.
#include "sandbox/sys/printable.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

TEST(PrintableTest, LeavesTextAlone) {
  const std::string text = "plain\ttext, na\xc3\xafve \xe2\x98\x83 \xf0\x9f\x98\x80 \xc2\xa0 ~";
  EXPECT_EQ(Printable(text), text);
}

TEST(PrintableTest, EscapesControlCharactersOfEveryKind) {
  EXPECT_EQ(Printable(std::string_view("\0\n\r\x1b[2J\x7f", 8)), "\\x00\\x0a\\x0d\\x1b[2J\\x7f");
  EXPECT_EQ(Printable("\xc2\x80\xc2\x9b\xc2\x9f"), "\\u0080\\u009b\\u009f");
}

TEST(PrintableTest, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(Printable("\x9b"), "\\x9b");
  EXPECT_EQ(Printable("\xc0\x9b"), "\\xc0\\x9b");           // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(Printable("\xe2\x98"), "\\xe2\\x98");           // cut
  EXPECT_EQ(Printable("\xff"), "\\xff");
}

}  // namespace
}  // namespace spore
