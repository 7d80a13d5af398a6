// The archive of a session on disk: trees as a tenant may have left them, and archives that nobody
// of ours has made.
#include "daemon/sessions/session_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/functions/archive_output.h"

namespace spore {
namespace {

using session_archive::Kind;

constexpr uid_t kOwner = 0x7100abcd;
constexpr uint64_t kRoom = 256u << 20;

UniqueFd Memfd() {
  return UniqueFd(memfd_create("archive", MFD_CLOEXEC));
}

int At(int directory, const std::string& name, int flags = O_RDONLY) {
  return openat(directory, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

void Write(int directory, const std::string& name, const std::string& text, off_t at = 0) {
  const UniqueFd file(At(directory, name, O_WRONLY | O_CREAT));
  ASSERT_TRUE(file) << name;
  ASSERT_EQ(static_cast<ssize_t>(text.size()), pwrite(file.get(), text.data(), text.size(), at));
}

std::string Read(int directory, const std::string& name, off_t at = 0, size_t most = 4096) {
  const UniqueFd file(At(directory, name));
  if (!file) return "(not there)";
  std::string text(most, '\0');
  const ssize_t got = pread(file.get(), text.data(), text.size(), at);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

struct stat Stat(int directory, const std::string& name) {
  struct stat status {};
  EXPECT_EQ(0, fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW)) << name;
  return status;
}

class SessionArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(0u, geteuid()) << "this test needs root";
    from_ = MakeFiles();
    to_ = MakeFiles();
    for (const char* name : {"images", "files", "files/tmp", "files/shm"})
      ASSERT_EQ(0, mkdirat(from(), name, 0700)) << name;
    ASSERT_EQ(0, fchownat(from(), "images", kOwner, kOwner, 0));
    Write(from(), "images/inventory.img", "inventory");
    archive_ = Memfd();
  }
  static CheckpointFiles MakeFiles() {
    auto made = MakeCheckpointFiles(0, kRoom);
    EXPECT_TRUE(made) << made.error().Message();
    return made ? std::move(*made) : CheckpointFiles();
  }
  int from() const { return from_.directory.get(); }
  int to() const { return to_.directory.get(); }

  Result<> RoundTrip() {
    SPORE_ASSIGN(made_, PackSession(from(), archive_.get(), kRoom));
    return UnpackSession(archive_.get(), made_, to(), kOwner + 1);
  }

  CheckpointFiles from_, to_;
  UniqueFd archive_;
  CheckpointArchive made_;
};

TEST_F(SessionArchiveTest, KeepsEveryKindOfFile) {
  const std::string odd("\xff\x01 \n%\"\\\xc3\x28", 9);
  Write(from(), "files/tmp/" + odd, "odd");
  Write(from(), "files/tmp/-rf", "option");
  Write(from(), "files/tmp/...", "dots");
  ASSERT_EQ(0, fchmodat(from(), "files/tmp/-rf", 04751, 0));
  const timespec times[] = {{12345, 0}, {1234567890, 987654321}};
  ASSERT_EQ(0, utimensat(from(), "files/tmp/-rf", times, 0));
  ASSERT_EQ(0, linkat(from(), "files/tmp/-rf", from(), "files/shm/other", 0));
  ASSERT_EQ(0, symlinkat("/etc/\xfe/passwd", from(), "files/tmp/link"));
  ASSERT_EQ(0, utimensat(from(), "files/tmp/link", times, AT_SYMLINK_NOFOLLOW));
  ASSERT_EQ(0, mkfifoat(from(), "files/tmp/fifo", 0600));
  ASSERT_EQ(0, fchmodat(from(), "files/tmp/fifo", 0620, 0));
  ASSERT_EQ(0, mkdirat(from(), "files/tmp/empty", 0700));
  ASSERT_EQ(0, fchmodat(from(), "files/tmp/empty", 02000, 0));
  ASSERT_EQ(0, fchmodat(from(), "files/tmp", 01777, 0));
  ASSERT_EQ(0, utimensat(from(), "files/tmp", times, 0));
  auto done = RoundTrip();
  ASSERT_TRUE(done) << done.error().Message();

  EXPECT_EQ("odd", Read(to(), "files/tmp/" + odd));
  EXPECT_EQ("dots", Read(to(), "files/tmp/..."));
  const struct stat file = Stat(to(), "files/tmp/-rf");
  EXPECT_EQ(S_IFREG | 04751u, file.st_mode);
  EXPECT_EQ(1234567890, file.st_mtim.tv_sec);
  EXPECT_EQ(987654321, file.st_mtim.tv_nsec);
  EXPECT_EQ(0u, file.st_uid);
  EXPECT_EQ(2u, file.st_nlink);
  EXPECT_EQ(file.st_ino, Stat(to(), "files/shm/other").st_ino);
  std::string target(100, '\0');
  target.resize(
      static_cast<size_t>(readlinkat(to(), "files/tmp/link", target.data(), target.size())));
  EXPECT_EQ("/etc/\xfe/passwd", target);
  EXPECT_EQ(1234567890, Stat(to(), "files/tmp/link").st_mtim.tv_sec);
  EXPECT_EQ(S_IFIFO | 0620u, Stat(to(), "files/tmp/fifo").st_mode);
  EXPECT_EQ(S_IFDIR | 02000u, Stat(to(), "files/tmp/empty").st_mode);
  EXPECT_EQ(S_IFDIR | 01777u, Stat(to(), "files/tmp").st_mode);
  EXPECT_EQ(1234567890, Stat(to(), "files/tmp").st_mtim.tv_sec);
  EXPECT_EQ(0u, Stat(to(), "files/tmp").st_uid);
  EXPECT_EQ("inventory", Read(to(), "images/inventory.img"));
  EXPECT_EQ(kOwner + 1, Stat(to(), "images/inventory.img").st_uid);
  EXPECT_EQ(kOwner + 1, Stat(to(), "images").st_uid);
  EXPECT_EQ(S_IFDIR | 0700u, Stat(to(), "images").st_mode);
}

// A tenant may say that a file has any size; only what is in it costs something.
TEST_F(SessionArchiveTest, KeepsHoles) {
  constexpr off_t kFar = 1ll << 50;
  Write(from(), "files/tmp/holes", "end", kFar);
  Write(from(), "files/tmp/holes", "middle", 1 << 20);
  const UniqueFd empty(At(from(), "files/tmp/nothing", O_WRONLY | O_CREAT));
  ASSERT_EQ(0, ftruncate(empty.get(), kFar));
  auto done = RoundTrip();
  ASSERT_TRUE(done) << done.error().Message();
  EXPECT_EQ("end", Read(to(), "files/tmp/holes", kFar));
  EXPECT_EQ("middle", Read(to(), "files/tmp/holes", 1 << 20, 6));
  EXPECT_EQ(kFar + 3, Stat(to(), "files/tmp/holes").st_size);
  EXPECT_EQ(kFar, Stat(to(), "files/tmp/nothing").st_size);
  EXPECT_EQ(0, Stat(to(), "files/tmp/nothing").st_blocks);
  EXPECT_LT(made_.unpacked_bytes, 1u << 20);
}

TEST_F(SessionArchiveTest, KeepsPathsThatAreLongerThanAPathMayBe) {
  const std::string name(250, 'd');
  UniqueFd at(At(from(), "files/tmp", O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(0, mkdirat(at.get(), name.c_str(), 0700));
    at = UniqueFd(At(at.get(), name, O_RDONLY | O_DIRECTORY));
  }
  Write(at.get(), "deep", "deep");
  ASSERT_EQ(0, linkat(at.get(), "deep", at.get(), "also", 0));
  auto done = RoundTrip();
  ASSERT_TRUE(done) << done.error().Message();
  at = UniqueFd(At(to(), "files/tmp", O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < 100; ++i) at = UniqueFd(At(at.get(), name, O_RDONLY | O_DIRECTORY));
  EXPECT_EQ("deep", Read(at.get(), "deep"));
  EXPECT_EQ(Stat(at.get(), "deep").st_ino, Stat(at.get(), "also").st_ino);
}

TEST_F(SessionArchiveTest, TakesNoMoreThanItMay) {
  std::string noise(1 << 20, '\0');
  const UniqueFd random(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(static_cast<ssize_t>(noise.size()), read(random.get(), noise.data(), noise.size()));
  Write(from(), "files/tmp/noise", noise);
  const auto made = PackSession(from(), archive_.get(), 500'000);
  ASSERT_FALSE(made);
  EXPECT_EQ(ErrorKind::kOverloaded, made.error().kind);
  struct stat status {};
  ASSERT_EQ(0, fstat(archive_.get(), &status));
  EXPECT_LE(status.st_size, 500'000);
}

TEST_F(SessionArchiveTest, RefusesImagesThatAreNone) {
  ASSERT_EQ(0, unlinkat(from(), "images/inventory.img", 0));
  EXPECT_FALSE(PackSession(from(), archive_.get(), kRoom)) << "no inventory";
  ASSERT_EQ(0, symlinkat("/etc/shadow", from(), "images/inventory.img"));
  EXPECT_FALSE(PackSession(from(), archive_.get(), kRoom)) << "a link";
  ASSERT_EQ(0, unlinkat(from(), "images/inventory.img", 0));
  Write(from(), "images/inventory.img", "inventory");
  ASSERT_EQ(0, mkfifoat(from(), "images/pipe", 0600));
  EXPECT_FALSE(PackSession(from(), archive_.get(), kRoom)) << "a fifo";
  ASSERT_EQ(0, unlinkat(from(), "images/pipe", 0));
  ASSERT_EQ(0, mkdirat(from(), "images/folder", 0700));
  EXPECT_FALSE(PackSession(from(), archive_.get(), kRoom)) << "a folder";
}

TEST_F(SessionArchiveTest, ReadsNothingOfADamagedOne) {
  Write(from(), "files/tmp/a", "text");
  const auto made = PackSession(from(), archive_.get(), kRoom);
  ASSERT_TRUE(made);
  char byte = 0;
  ASSERT_EQ(1, pread(archive_.get(), &byte, 1, static_cast<off_t>(made->bytes / 2)));
  byte = static_cast<char>(byte ^ 1);
  ASSERT_EQ(1, pwrite(archive_.get(), &byte, 1, static_cast<off_t>(made->bytes / 2)));
  auto done = UnpackSession(archive_.get(), *made, to(), kOwner);
  ASSERT_FALSE(done);
  EXPECT_EQ(ErrorKind::kPrecondition, done.error().kind);
  ASSERT_EQ(0, ftruncate(archive_.get(), static_cast<off_t>(made->bytes / 2)));
  EXPECT_FALSE(UnpackSession(archive_.get(), *made, to(), kOwner));
  EXPECT_EQ(0u, ListNames(to())->size());
}

// Text of an archive as the format has it.
class Stream {
 public:
  Stream() : text_(session_archive::kMark, sizeof session_archive::kMark) {}
  Stream& Number(uint64_t number) {
    for (int i = 0; i < 8; ++i) text_ += static_cast<char>(number >> (8 * i));
    return *this;
  }
  Stream& Text(const std::string& text) {
    Number(text.size());
    text_ += text;
    return *this;
  }
  Stream& Of(Kind kind) {
    text_ += static_cast<char>(kind);
    return *this;
  }
  Stream& Folder(const std::string& name) {
    return Of(Kind::kFolder).Text(name).Number(0700).Number(0).Number(0);
  }
  Stream& File(const std::string& name, const std::string& data) {
    Of(Kind::kFile).Text(name).Number(0600).Number(0).Number(0).Number(data.size());
    if (!data.empty()) Number(0).Text(data);
    return Number(0).Number(0);
  }
  Stream& Symlink(const std::string& name, const std::string& target) {
    return Of(Kind::kSymlink).Text(name).Number(0).Number(0).Text(target);
  }
  Stream& Link(const std::string& name, const std::string& target) {
    return Of(Kind::kLink).Text(name).Text(target);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct BadStream {
  const char* what;
  Stream stream;
};

std::vector<BadStream> BadStreams() {
  const auto files = [] { return Stream().Folder("files"); };
  const std::string deep = "x";
  std::vector<BadStream> all = {
      {"dots", files().File("..", "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a dot", files().Folder(".").Of(Kind::kUp).Of(Kind::kUp).Of(Kind::kEnd)},
      {"a path", files().File("../outside", "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"an absolute path", files().File("/outside", "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"no name", files().File("", "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"NUL", files().File(std::string("a\0b", 3), "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a long name", files().File(std::string(256, 'a'), "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"another top", Stream().Folder("etc").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a top that is a link", Stream().Symlink("files", "/tmp").Of(Kind::kEnd)},
      {"a link as a folder",
       files().Symlink("a", "/tmp").Folder("a").Of(Kind::kUp).Of(Kind::kUp).Of(Kind::kEnd)},
      {"a file over a link",
       files().Symlink("a", "/tmp/outside").File("a", "x").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a name twice", files().File("a", "x").File("a", "y").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a hard link out", files().Link("a", "../etc/passwd").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a hard link by a link",
       files().Symlink("l", "/etc").Link("a", "files/l/passwd").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a hard link to a link",
       files().Symlink("l", "/etc/passwd").Link("a", "files/l").Of(Kind::kUp).Of(Kind::kEnd)},
      {"a hard link to an image", Stream()
                                      .Folder("images")
                                      .File("inventory.img", "x")
                                      .Of(Kind::kUp)
                                      .Folder("files")
                                      .Link("a", "images/inventory.img")
                                      .Of(Kind::kUp)
                                      .Of(Kind::kEnd)},
      {"a link among images",
       Stream().Folder("images").Symlink("a", "/etc/passwd").Of(Kind::kUp).Of(Kind::kEnd)},
      {"no end of a folder", files().Of(Kind::kEnd)},
      {"an end too many", files().Of(Kind::kUp).Of(Kind::kUp).Of(Kind::kEnd)},
      {"no end", files().Of(Kind::kUp)},
      {"more", files().Of(Kind::kUp).Of(Kind::kEnd).Of(Kind::kEnd)},
      {"an unknown kind", files().Of(static_cast<Kind>(99)).Text("a")},
      {"a huge text", files().Of(Kind::kFile).Number(UINT64_MAX)},
      {"a mode", files().Of(Kind::kFifo).Text("a").Number(S_IFCHR | 0600).Number(0).Number(0)},
      {"data behind a file", files()
                                 .Of(Kind::kFile)
                                 .Text("a")
                                 .Number(0600)
                                 .Number(0)
                                 .Number(0)
                                 .Number(1)
                                 .Number(UINT64_MAX)
                                 .Number(2)},
  };
  Stream nested = files();
  for (size_t i = 0; i < 2 * session_archive::kMaxDepth; ++i) nested.Folder(deep);
  all.push_back({"folders in folders", nested});
  return all;
}

CheckpointArchive Compress(const std::string& text, int file) {
  ArchiveOutput output(file);
  const ArchiveWriter packed(archive_write_new(), &archive_write_free);
  archive_write_set_format_raw(packed.get());
  EXPECT_TRUE(output.OpenIn(packed.get()));
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  EXPECT_EQ(ARCHIVE_OK, archive_write_header(packed.get(), entry));
  archive_entry_free(entry);
  EXPECT_EQ(static_cast<la_ssize_t>(text.size()),
            archive_write_data(packed.get(), text.data(), text.size()));
  EXPECT_EQ(ARCHIVE_OK, archive_write_close(packed.get()));
  return {output.Digest(), output.bytes(), 0};
}

TEST_F(SessionArchiveTest, TakesOneThatIsWellMade) {
  const CheckpointArchive made = Compress(Stream()
                                              .Folder("files")
                                              .File("a", "x")
                                              .Link("b", "files/a")
                                              .Of(Kind::kUp)
                                              .Of(Kind::kEnd)
                                              .text(),
                                          archive_.get());
  auto done = UnpackSession(archive_.get(), made, to(), kOwner);
  ASSERT_TRUE(done) << done.error().Message();
  EXPECT_EQ("x", Read(to(), "files/b"));
}

// Every byte of one that has everything, changed in a few ways; and each of its beginnings.
TEST_F(SessionArchiveTest, StandsWhateverIsChanged) {
  const std::string good = Stream()
                               .Folder("images")
                               .File("inventory.img", "x")
                               .Of(Kind::kUp)
                               .Folder("files")
                               .Folder("tmp")
                               .File("a", "text")
                               .Link("b", "files/tmp/a")
                               .Symlink("c", "a")
                               .Of(Kind::kFifo)
                               .Text("d")
                               .Number(0600)
                               .Number(0)
                               .Number(0)
                               .Of(Kind::kUp)
                               .Of(Kind::kUp)
                               .Of(Kind::kEnd)
                               .text();
  const auto unpack = [&](const std::string& text) {
    const UniqueFd file = Memfd();
    const CheckpointFiles files = MakeFiles();
    const CheckpointArchive made = Compress(text, file.get());
    const bool done = UnpackSession(file.get(), made, files.directory.get(), kOwner).has_value();
    const auto names = ListNames(files.directory.get());
    for (const std::string& name : *names) EXPECT_TRUE(name == "images" || name == "files") << name;
    return done;
  };
  EXPECT_TRUE(unpack(good));
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(unpack(good.substr(0, i))) << i;
    for (const int change : {0x01, 0x2f, 0x80, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ change);
      (void)unpack(bad);
    }
  }
}

TEST_F(SessionArchiveTest, MakesNothingElsewhereWhateverTheArchiveSays) {
  for (const BadStream& bad : BadStreams()) {
    SCOPED_TRACE(bad.what);
    const UniqueFd file = Memfd();
    const CheckpointFiles files = MakeFiles();
    const CheckpointArchive made = Compress(bad.stream.text(), file.get());
    EXPECT_FALSE(UnpackSession(file.get(), made, files.directory.get(), kOwner));
    EXPECT_NE(0, access("/tmp/outside", F_OK));
  }
}

}  // namespace
}  // namespace spore
