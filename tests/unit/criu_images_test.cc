// CRIU's images as they are edited before a restore, and what it says when it fails.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <map>
#include <vector>

#include "zygote/checkpoint/await_criu.h"
#include "zygote/checkpoint/edit_images.h"
#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

constexpr EditOrder kOrder{.uid = 1234, .securebits = 235, .agent = 2};
// Of images/core.proto and images/creds.proto.
constexpr uint32_t kTask = 3, kThread = 5, kCredentials = 10, kParentDeath = 8;

struct Field {
  uint32_t number;
  std::string whole, bytes;
};

std::vector<Field> Fields(std::string_view message) {
  std::vector<Field> fields;
  EXPECT_TRUE(ForEachField(message, [&](const ProtobufField& field) {
    fields.push_back(
        {field.number, std::string(field.whole), std::string(field.bytes.value_or(""))});
    return true;
  }));
  return fields;
}

std::string Only(const std::vector<Field>& fields, uint32_t number) {
  std::vector<std::string> found;
  for (const Field& field : fields)
    if (field.number == number) found.push_back(field.bytes);
  EXPECT_EQ(found.size(), 1u) << number;
  return found.empty() ? "" : found.front();
}

std::string Number(uint32_t field, uint64_t value) {
  std::string text;
  PutNumber(text, field, value);
  return text;
}

std::string Bytes(uint32_t field, std::string_view content) {
  std::string text;
  PutBytes(text, field, content);
  return text;
}

std::string Image(const std::vector<std::string>& entries) {
  std::string image("\x11\x22\x33\x44\x55\x66\x77\x88", 8);
  for (const std::string& entry : entries) {
    const auto size = static_cast<uint32_t>(entry.size());
    image.append(reinterpret_cast<const char*>(&size), sizeof size);
    image += entry;
  }
  return image;
}

// A thread with a name, that was root with all capabilities, whose parent's end ends it.
std::string RootThread() {
  std::string credentials;
  for (uint32_t id = 1; id <= 8; ++id) credentials += Number(id, 0);
  for (uint32_t set = 9; set <= 12; ++set)
    credentials += Number(set, 0xffffffff) + Number(set, 511);
  credentials += Number(14, 27) + Bytes(15, "unconfined");
  return Number(1, 0x7f00'0000'1234) + Number(kParentDeath, 9) + Bytes(kCredentials, credentials) +
         Number(11, 2) + Number(12, 0) + Bytes(13, "python3") + Number(14, 1);
}

std::string RootImage() {
  const std::string task = Number(1, 1) + Number(9, 3) + Bytes(6, "python3") + Number(11, 2) +
                           Number(12, 5) + Number(13, 1000) + Number(14, 0xfffffc18);
  return Image({Number(1, 1) + Bytes(kTask, task) + Bytes(kThread, RootThread())});
}

std::string EntryOf(const std::string& image) {
  return image.substr(12);
}

TEST(CriuImagesTest, EveryThreadIsToldToHaveBeenATenant) {
  const auto edited = EditCore(RootImage(), kOrder, /*first=*/false);
  ASSERT_TRUE(edited);
  const auto thread = Fields(Only(Fields(EntryOf(*edited)), kThread));
  std::multimap<uint32_t, std::string> credentials;
  for (const Field& field : Fields(Only(thread, kCredentials)))
    credentials.emplace(field.number, field.whole);
  for (uint32_t id = 1; id <= 8; ++id) {
    ASSERT_EQ(credentials.count(id), 1u);
    EXPECT_EQ(credentials.find(id)->second, Number(id, kOrder.uid));
  }
  for (const uint32_t set : {9u, 10u, 11u, 19u}) {
    EXPECT_EQ(credentials.count(set), 2u);
    for (auto [it, end] = credentials.equal_range(set); it != end; ++it)
      EXPECT_EQ(it->second, Number(set, 0));
  }
  EXPECT_EQ(credentials.find(13)->second, Number(13, kOrder.securebits));
  EXPECT_EQ(credentials.find(18)->second, Number(18, 1));
  for (const uint32_t gone : {14u, 15u, 16u, 17u}) EXPECT_EQ(credentials.count(gone), 0u) << gone;
}

TEST(CriuImagesTest, FiltersCgroupsAndScoresAreLeftOutAndTheRestIsAsItWas) {
  const auto edited = EditCore(RootImage(), kOrder, /*first=*/false);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->substr(0, 8), RootImage().substr(0, 8));
  EXPECT_EQ(Only(Fields(EntryOf(*edited)), kTask), Number(1, 1) + Bytes(6, "python3"));
  std::string kept;
  for (const Field& field : Fields(Only(Fields(EntryOf(*edited)), kThread)))
    if (field.number != kCredentials) kept += field.whole;
  EXPECT_EQ(kept, Number(1, 0x7f00'0000'1234) + Number(kParentDeath, 9) + Bytes(13, "python3"));
}

TEST(CriuImagesTest, TheEndOfCriuDoesNotEndTheFirstProcess) {
  const auto edited = EditCore(RootImage(), kOrder, /*first=*/true);
  ASSERT_TRUE(edited);
  for (const Field& field : Fields(Only(Fields(EntryOf(*edited)), kThread)))
    EXPECT_NE(field.number, kParentDeath);
}

TEST(CriuImagesTest, AThreadWithoutCredentialsGetsSome) {
  const auto edited = EditCore(Image({Bytes(kThread, Number(1, 7))}), kOrder, false);
  ASSERT_TRUE(edited);
  const auto thread = Fields(Only(Fields(EntryOf(*edited)), kThread));
  EXPECT_FALSE(Only(thread, kCredentials).empty());
}

TEST(CriuImagesTest, WhatIsCutIsNoImage) {
  const std::string image = RootImage();
  for (size_t size = 0; size < image.size(); ++size) {
    const auto edited = EditCore(std::string_view(image).substr(0, size), kOrder, false);
    EXPECT_EQ(edited.has_value(), size == 8) << size;  // a header alone has no entry
  }
}

TEST(CriuImagesTest, WhatIsNoMessageIsNoImage) {
  const std::string endless(20, '\xff');  // a number that does not end
  const std::string beyond = "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  for (const std::string& entry :
       {endless, beyond, std::string("\x1b"), std::string("\x00\x01", 2), Number(kTask, 1),
        Number(kThread, 1), Bytes(kTask, "\x0a"), Bytes(kThread, "\x52\x7f")}) {
    EXPECT_FALSE(EditCore(Image({entry}), kOrder, false));
  }
  EXPECT_TRUE(EditCore(Image({"", Number(1, 1)}), kOrder, false));
}

TEST(CriuImagesTest, WhatCriuMakesAnewIsTheTenants) {
  const std::string permissions = Number(1, 0755) + Number(2, 1000) + Number(3, 7);
  const std::string socket = Number(1, 4) + Bytes(13, permissions) + Bytes(11, "/tmp/s");
  const std::string other = Number(1, 1) + Number(2, 5) + Bytes(3, "\x08\x01");
  const auto files =
      EditOwners("files.img", Image({other, Number(1, 5) + Bytes(16, socket)}), 1234);
  const std::string edited = Number(1, 0755) + Number(2, 1234) + Number(3, 1234);
  EXPECT_EQ(files, Image({other, Number(1, 5) + Bytes(16, Number(1, 4) + Bytes(13, edited) +
                                                              Bytes(11, "/tmp/s"))}));
  EXPECT_EQ(EditOwners("memfd.img", Image({Number(2, 9) + Bytes(1, "m") + Number(3, 9)}), 1234),
            Image({Bytes(1, "m") + Number(2, 1234) + Number(3, 1234)}));
  EXPECT_FALSE(EditOwners("files.img", Image({Number(16, 1)}), 1234));
}

TEST(CriuImagesTest, AFileWithoutANameKeepsTheLengthOfItsEntry) {
  const std::string times = Bytes(7, Number(1, 1'790'000'000) + Number(2, 5));
  for (const std::string& more :
       {times + times, times, std::string(), Bytes(7, ""), Bytes(7, "x")}) {
    const std::string entry = Number(1, 1000) + Number(2, 1000) + Number(3, 0644) + more;
    const std::string contents = "any bytes \xff";
    for (const uid_t uid : {1u, 1234u, 16383u}) {
      const auto edited = EditGhostHead(Image({entry}) + contents, uid);
      ASSERT_TRUE(edited) << more.size();
      EXPECT_EQ(edited->size(), Image({entry}).size() + contents.size());
      EXPECT_TRUE(edited->ends_with(contents));
      std::map<uint32_t, std::string> fields;
      for (const Field& field : Fields(edited->substr(12, entry.size())))
        fields[field.number] = field.whole;
      EXPECT_EQ(fields.at(3), Number(3, 0644));
      EXPECT_EQ(fields.at(1), Number(1, uid));
      EXPECT_TRUE(fields.contains(2) && !fields.contains(7));
    }
  }
  // There is no room for it.
  EXPECT_FALSE(EditGhostHead(Image({Number(1, 1) + Number(2, 1)}), 60000));
}

TEST(CriuImagesTest, TheStateOfAProcessIsThatOfItsTask) {
  constexpr uint64_t kAlive = 1, kStopped = 3;
  const auto of = [](uint64_t state) {
    return Image({Number(1, 1) + Bytes(kTask, Number(1, state) + Number(2, 0))});
  };
  EXPECT_TRUE(SaysStopped(of(kStopped)));
  EXPECT_FALSE(SaysStopped(of(kAlive)));
  EXPECT_FALSE(SaysStopped(RootImage()));
  EXPECT_FALSE(SaysStopped(Image({Bytes(kThread, Number(1, kStopped))})));
  EXPECT_FALSE(SaysStopped(Image({Number(1, kStopped)})));
  EXPECT_FALSE(SaysStopped(of(kStopped).substr(0, 14)));
  EXPECT_FALSE(SaysStopped(""));
}

class CriuFolderTest : public testing::Test {
 protected:
  CriuFolderTest() { EXPECT_NE(mkdtemp(folder_), nullptr); }
  ~CriuFolderTest() override {
    for (const char* name : {"core-2.img", "core-3.img", "pstree.img"})
      (void)remove(At(name).c_str());
    (void)remove(folder_);
  }
  std::string At(const char* name) const { return std::string(folder_) + "/" + name; }
  void Put(const char* name, const std::string& text) const {
    std::ofstream(At(name), std::ios::binary) << text;
  }
  std::string Get(const char* name) const {
    std::ifstream file(At(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  char folder_[32] = "/tmp/spore-images-XXXXXX";
};

TEST_F(CriuFolderTest, EditsThreadsAndNothingElse) {
  Put("core-2.img", RootImage());
  Put("core-3.img", RootImage());
  Put("pstree.img", RootImage());
  ASSERT_TRUE(EditImages(folder_, kOrder));
  EXPECT_EQ(Get("core-2.img"), EditCore(RootImage(), kOrder, true));
  EXPECT_EQ(Get("core-3.img"), EditCore(RootImage(), kOrder, false));
  EXPECT_EQ(Get("pstree.img"), RootImage());
}

TEST_F(CriuFolderTest, TellsWhichWereStopped) {
  Put("core-2.img", RootImage());
  Put("core-3.img",
      Image({Number(1, 1) + Bytes(kTask, Number(1, 3)) + Bytes(kThread, RootThread())}));
  const auto stopped = EditImages(folder_, kOrder);
  ASSERT_TRUE(stopped);
  EXPECT_EQ(*stopped, std::vector<pid_t>{3});
}

TEST_F(CriuFolderTest, RefusesWhatIsDamagedOrNoFile) {
  EXPECT_FALSE(EditImages(folder_, kOrder));  // there is no thread
  Put("core-2.img", RootImage().substr(0, 100));
  const auto damaged = EditImages(folder_, kOrder);
  ASSERT_FALSE(damaged);
  EXPECT_NE(damaged.error().Message().find("core-2.img"), std::string::npos);
  ASSERT_EQ(remove(At("core-2.img").c_str()), 0);
  ASSERT_EQ(symlink("/etc/passwd", At("core-2.img").c_str()), 0);
  EXPECT_FALSE(EditImages(folder_, kOrder));
  ASSERT_EQ(remove(At("core-2.img").c_str()), 0);
  ASSERT_EQ(mkfifo(At("core-2.img").c_str(), 0600), 0);
  EXPECT_FALSE(EditImages(folder_, kOrder));
}

TEST(CriuComplaintTest, TheFirstThatIsOneIsTold) {
  EXPECT_EQ(FirstComplaint(""), "it does not say why");
  EXPECT_EQ(FirstComplaint("Warn  (criu/a.c:1): no\n"), "it does not say why");
  const std::string log =
      "(00.01) Error (criu/rlimit.c:3): RLIMIT_NOFILE cannot be set\n"
      "(00.02) Error (criu/files.c:7): Can't open \x1b[2J/tmp/x: No such file\n"
      "(00.03) Error (criu/cr-restore.c:9): Restoring FAILED.\n";
  EXPECT_EQ(FirstComplaint(log), "Can't open \\x1b[2J/tmp/x: No such file");
  EXPECT_EQ(FirstComplaint("Error (" + std::string(5000, 'x')).size(), 300u);
}

}  // namespace
}  // namespace spore
