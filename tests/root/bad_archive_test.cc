// Archives that must be refused: each with words that name the entry, and nothing left behind.
#include <fmt/format.h>

#include <random>

#include "tests/root/archive_builder.h"
#include "tests/root/store_fixture.h"

namespace spore {
namespace {

struct BadArchive {
  std::string name;
  std::string bytes;
  std::string expected;  // part of the message
};

std::string Tar(const std::vector<ArchiveItem>& items) {
  return BuildArchive(Packing::kTar, items);
}
std::string Zip(const std::vector<ArchiveItem>& items) {
  return BuildArchive(Packing::kZip, items);
}

std::string Noise(size_t size) {
  std::mt19937 random(7);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

std::string Repeat(std::string_view part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

// Sets the "encrypted" bit of every local header and directory entry.
std::string Encrypted(std::string zip) {
  for (auto [mark, flags] : {std::pair<std::string_view, size_t>{"PK\3\4", 6}, {"PK\1\2", 8}}) {
    for (size_t at = zip.find(mark); at != zip.npos; at = zip.find(mark, at + 4)) {
      zip[at + flags] = static_cast<char>(zip[at + flags] | 1);
    }
  }
  return zip;
}

std::vector<BadArchive> Names() {
  return {
      {"DotDot", Tar({{.name = "../escape"}}), "\"../escape\": the name holds \"..\""},
      {"DotDotInside", Zip({{.name = "a/../../escape"}}), "the name holds \"..\""},
      {"DotDotFolder", Tar({Folder("a/..")}), "the name holds \"..\""},
      {"Absolute", Tar({{.name = "/etc/spore-test"}}), "the name is absolute"},
      {"AbsoluteZip", Zip({{.name = "/etc/spore-test"}}), "the name is absolute"},
      {"NewLine", Tar({{.name = "a\nb"}}),
       "\"a\\x0ab\": the name holds the control character U+000A"},
      {"Escape", Zip({{.name = "a\x1b[2J"}}), "U+001B"},
      {"C1Control", Tar({{.name = "a\u0085"}}), "U+0085"},
      {"NotUtf8", Tar({{.name = "a\xe9z"}}), "\"a\\xe9z\": the name is not valid UTF-8"},
      {"OverlongUtf8", Tar({{.name = "a\xc0\xaf"}}), "not valid UTF-8"},
      {"NulInZip", Patch(Zip({{.name = "aQb.py"}}), "aQb", std::string_view("a\0b", 3)),
       "\"a\\x00b.py\": the name holds a NUL byte"},
      {"LongName", Tar({{.name = Repeat("x/", 30) + Repeat("y", 1000)}}),
       "the name has 1060 bytes; at most 1024 are allowed"},
      {"LongPart", Tar({{.name = Repeat("x", 300)}}), "a part of the name has 300 bytes"},
      {"Deep", Tar({{.name = Repeat("x/", 70) + "y"}}), "more than 64 folders deep"},
  };
}

std::vector<BadArchive> Links() {
  return {
      {"LinkUp", Tar({Symlink("d/l", "../../x")}),
       "\"d/l\": it links to \"../../x\", which is outside"},
      {"LinkUpZip", Zip({Symlink("l", "../x")}), "which is outside the archive"},
      {"LinkAbsolute", Tar({Symlink("l", "/etc/passwd")}),
       "it links to \"/etc/passwd\", which is outside"},
      {"LinkThroughLinks",
       Tar({{.name = "d/e/x"}, Symlink("d/e/top", "../.."), Symlink("d/e/out", "top/../x")}),
       "\"d/e/out\": it links to what is outside the archive"},
      {"FileThroughLink", Tar({Folder("d"), Symlink("l", "d"), {.name = "l/x"}}),
       "\"l\" is a link in the same archive, not a folder"},
      {"FileOverLink", Tar({{.name = "x"}, Symlink("l", "x"), {.name = "l"}}), "this name twice"},
      {"HardLinkOut", Tar({HardLink("h", "/etc/passwd")}), "it is a hard link to \"/etc/passwd\""},
      {"HardLinkUp", Tar({HardLink("h", "../x")}), "it is a hard link to \"../x\""},
      {"HardLinkNowhere", Tar({{.name = "x"}, HardLink("h", "y")}), "which is no earlier file"},
      {"HardLinkToLink", Tar({{.name = "x"}, Symlink("l", "x"), HardLink("h", "l")}),
       "which is no earlier file"},
      {"LinkAlone", Tar({Symlink("l", "x")}), "the archive holds no file"},
  };
}

std::vector<BadArchive> Kinds() {
  return {
      {"Fifo", Tar({Special("p", AE_IFIFO)}), "\"p\": it is a named pipe"},
      {"CharDevice", Tar({Special("p", AE_IFCHR)}), "\"p\": it is a device"},
      {"BlockDevice", Tar({Special("p", AE_IFBLK)}), "\"p\": it is a device"},
      {"Twice", Zip({{.name = "a"}, {.name = "a"}}), "\"a\": the archive holds this name twice"},
      {"TwiceByDots", Tar({{.name = "a/b"}, {.name = "./a//b"}}), "this name twice"},
      {"FileAsFolder", Tar({{.name = "a"}, {.name = "a/b"}}),
       "\"a\" is a file in the same archive"},
      {"FolderAsFile", Tar({{.name = "a/b"}, {.name = "a"}}), "also holds a folder of this name"},
      {"FileThenFolder", Tar({{.name = "a"}, Folder("a")}), "also holds a file of this name"},
      {"Encrypted", Encrypted(Zip({{.name = "a", .text = Repeat("secret", 20)}})),
       "\"a\": it is encrypted"},
  };
}

std::vector<BadArchive> Forms() {
  std::string tar = Tar({{.name = "a", .text = Repeat("q", 5000)}, {.name = "b"}});
  std::string zip = Zip({{.name = "a", .text = Noise(5000)}});
  std::string gz = BuildArchive(Packing::kTarGz, {{.name = "a", .text = Noise(50000)}});
  return {
      {"NoBytes", "", "the archive is empty (0 bytes)"},
      {"NoEntryTar", Tar({}), "the archive holds no file"},
      {"NoEntryZip", Zip({}), "the archive holds no file"},
      {"OnlyFolder", Tar({Folder("d")}), "the archive holds no file"},
      {"Text", Repeat("hello world\n", 100), "cannot be read as a zip or tar archive"},
      {"Noise", Noise(4000), "cannot be read as a zip or tar archive"},
      {"CutInData", tar.substr(0, 3000), "\"a\": the archive is damaged or cut short"},
      {"CutInHeader", tar.substr(0, 512 + 5120 + 100), "damaged or cut short"},
      {"CutBetween", tar.substr(0, 512 + 5120), "the tar archive is cut short: it has no end mark"},
      {"CutZip", zip.substr(0, 3000), "the zip archive is damaged or cut short"},
      {"CutGzip", gz.substr(0, 30000), "truncated gzip"},
      {"BadChecksum",
       Patch(Zip({{.name = "a", .text = Noise(64)}}), Noise(64).substr(0, 8), "12345678"),
       "\"a\": the archive is damaged"},
      {"Bomb", BuildArchive(Packing::kTarGz, {{.name = "a", .text = std::string(40u << 20, '\0')}}),
       "\"a\": the archive unpacks to more than 200 times its size"},
      {"BombZip", Zip({{.name = "a", .text = std::string(40u << 20, '\0')}}),
       "\"a\": the archive unpacks to more than 200 times its size"},
  };
}

class BadArchiveTest : public StoreTest, public testing::WithParamInterface<BadArchive> {};

TEST_P(BadArchiveTest, IsRefused) {
  OpenStore open(options_);
  auto fds_before = NamesIn("/proc/self/fd").size();
  auto deployed = open.Deploy(MakeFunction("f"), SealedMemfd(GetParam().bytes));
  ASSERT_FALSE(deployed);
  EXPECT_EQ(ErrorKind::kInvalid, deployed.error().kind);
  EXPECT_NE(std::string::npos, deployed.error().Message().find(GetParam().expected))
      << deployed.error().Message();
  EXPECT_EQ(std::string::npos, deployed.error().Message().find('\n'));
  EXPECT_EQ(nullptr, open.store->Find("f"));
  EXPECT_EQ(std::vector<std::string>{}, NamesIn(directory_ / "state/functions"));
  EXPECT_EQ(std::vector<std::string>{}, NamesIn(directory_ / "state/staging"));
  EXPECT_EQ(fds_before, NamesIn("/proc/self/fd").size());
}

std::string NameOf(const testing::TestParamInfo<BadArchive>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Names, BadArchiveTest, testing::ValuesIn(Names()), NameOf);
INSTANTIATE_TEST_SUITE_P(Links, BadArchiveTest, testing::ValuesIn(Links()), NameOf);
INSTANTIATE_TEST_SUITE_P(Kinds, BadArchiveTest, testing::ValuesIn(Kinds()), NameOf);
INSTANTIATE_TEST_SUITE_P(Forms, BadArchiveTest, testing::ValuesIn(Forms()), NameOf);

class ArchiveLimitTest : public StoreTest {
 protected:
  std::string Refusal(const std::string& bytes) {
    OpenStore open(options_);
    auto deployed = open.Deploy(MakeFunction("f"), SealedMemfd(bytes));
    if (deployed) return "deployed";
    EXPECT_EQ(ErrorKind::kInvalid, deployed.error().kind);
    return deployed.error().Message();
  }
};

TEST_F(ArchiveLimitTest, TooManyFiles) {
  options_.unpack.files = 50;
  std::vector<ArchiveItem> items;
  for (int i = 0; i < 60; ++i) items.push_back({.name = fmt::format("f{}", i)});
  EXPECT_EQ("archive entry \"f50\": the archive holds more than 50 files and folders",
            Refusal(Tar(items)));
}

TEST_F(ArchiveLimitTest, TooManyBytesInOneFile) {
  options_.unpack.unpacked_bytes = 4000;
  EXPECT_EQ("archive entry \"a\": the archive unpacks to more than 4000 bytes",
            Refusal(Tar({{.name = "a", .text = Noise(4001)}})));
}

TEST_F(ArchiveLimitTest, TooManyBytesTogether) {
  options_.unpack.unpacked_bytes = 4000;
  EXPECT_EQ("archive entry \"b\": the archive unpacks to more than 4000 bytes",
            Refusal(Zip({{.name = "a", .text = Noise(3000)}, {.name = "b", .text = Noise(3000)}})));
}

TEST_F(ArchiveLimitTest, HardLinksCountInFull) {
  options_.unpack.unpacked_bytes = 4000;
  EXPECT_EQ("archive entry \"b\": the archive unpacks to more than 4000 bytes",
            Refusal(Tar({{.name = "a", .text = Noise(3000)}, HardLink("b", "a")})));
}

TEST_F(ArchiveLimitTest, TooLongAsSent) {
  options_.unpack.archive_bytes = 1000;
  EXPECT_EQ("archive: 2000 bytes; expected at most 1000", Refusal(Noise(2000)));
}

TEST_F(ArchiveLimitTest, DescriptorMustBeSealed) {
  OpenStore open(options_);
  std::string tar = Tar({{.name = "a"}});
  for (int seals : {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_WRITE,
                    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE}) {
    auto deployed = open.Deploy(MakeFunction("f"), SealedMemfd(tar, seals));
    ASSERT_FALSE(deployed) << seals;
    EXPECT_EQ(ErrorKind::kInvalid, deployed.error().kind);
    EXPECT_NE(std::string::npos, deployed.error().Message().find("no memfd sealed with"));
  }
  auto file = open.Deploy(MakeFunction("f"), UniqueFd(::open("/etc/passwd", O_RDONLY | O_CLOEXEC)));
  ASSERT_FALSE(file);
  EXPECT_EQ(ErrorKind::kInvalid, file.error().kind);
  auto none = open.Deploy(MakeFunction("f"), UniqueFd());
  ASSERT_FALSE(none);
  EXPECT_EQ("archive: missing", none.error().Message());
}

}  // namespace
}  // namespace spore
