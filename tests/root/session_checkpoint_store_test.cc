// Checkpoints of sessions on disk: names, owners, limits, and what a spored that died leaves.
#include "daemon/sessions/session_checkpoint_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/checkpoints/checkpoint_files.h"
#include "sandbox/sys/fault_point.h"

namespace spore {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kOne = 1000, kOther = 1001;
constexpr char kSession[] = "0123456789ab";
using Limits = SessionCheckpointStore::Limits;
using Names = std::vector<std::string>;

class SessionCheckpointStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(0u, geteuid()) << "this test needs root";
    std::string pattern = "/tmp/spore-kept-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(pattern.data()));
    state_ = pattern;
    auto made = MakeCheckpointFiles(0, 64u << 20);
    ASSERT_TRUE(made) << made.error().Message();
    files_ = std::move(*made);
    for (const char* name : {"images", "files", "files/tmp", "files/shm"})
      ASSERT_EQ(0, mkdirat(files_.directory.get(), name, 0700));
    const UniqueFd image(openat(files_.directory.get(), "images/inventory.img",
                                O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(4, write(image.get(), "CRIU", 4));
    Open();
  }
  void TearDown() override {
    std::error_code error;
    if (!state_.empty()) fs::remove_all(state_, error);
  }
  void Open(Limits limits = {}) {
    store_.reset();
    auto opened = SessionCheckpointStore::Open(state_, limits);
    ASSERT_TRUE(opened) << opened.error().Message();
    store_ = std::move(*opened);
  }
  static v1::SessionCheckpointRecord Record(uid_t owner, const std::string& name) {
    v1::SessionCheckpointRecord record;
    record.mutable_checkpoint()->set_name(name);
    record.mutable_checkpoint()->set_owner_uid(owner);
    record.mutable_checkpoint()->set_session(kSession);
    (*record.mutable_checkpoint()->mutable_environment())["A"] = "1";
    record.mutable_checkpoint()->add_execs()->set_exec_id(3);
    (*record.mutable_made_on()->mutable_ties())["kernel"] = "6.18";
    record.set_agent(7);
    return record;
  }
  Result<v1::SessionCheckpointRecord> Keep(uid_t owner, const std::string& name) {
    SPORE_ASSIGN(const std::string reserved, store_->Reserve(owner, name, kSession));
    return store_->Keep(Record(owner, reserved), files_.directory.get());
  }
  Names List(std::optional<uid_t> owner) const {
    Names names;
    for (const auto& record : store_->List(owner)) names.push_back(record.checkpoint().name());
    std::sort(names.begin(), names.end());
    return names;
  }
  fs::path Folder(uid_t owner, const std::string& name) const {
    return state_ / "session-checkpoints" / std::to_string(owner) / name;
  }
  // All there is on disk, but what is kept.
  Names Left() const {
    Names names;
    for (const auto& entry : fs::recursive_directory_iterator(state_ / "session-checkpoints"))
      names.push_back(entry.path().lexically_relative(state_ / "session-checkpoints"));
    return names;
  }
  static ErrorKind KindOf(const auto& result) {
    EXPECT_FALSE(result);
    return result ? ErrorKind::kInternal : result.error().kind;
  }

  fs::path state_;
  CheckpointFiles files_;
  std::unique_ptr<SessionCheckpointStore> store_;
};

TEST_F(SessionCheckpointStoreTest, KeepsWhatItIsGiven) {
  const auto kept = Keep(kOne, "first");
  ASSERT_TRUE(kept) << kept.error().Message();
  EXPECT_EQ(12u, kept->checkpoint().id().size());
  EXPECT_EQ(fs::file_size(Folder(kOne, "first") / "session.zst"), kept->checkpoint().bytes());
  EXPECT_GT(kept->checkpoint().created_unix_ms(), 0);
  Open();
  const auto found = store_->Find(kOne, "first");
  ASSERT_TRUE(found) << found.error().Message();
  EXPECT_EQ(kept->SerializeAsString().size(), found->SerializeAsString().size());
  EXPECT_EQ(7, found->agent());
  EXPECT_EQ("6.18", found->made_on().ties().at("kernel"));
  EXPECT_EQ(3u, found->checkpoint().execs(0).exec_id());
  auto files = MakeCheckpointFiles(0, 64u << 20);
  auto done = store_->Unpack(*found, files->directory.get(), kOne);
  ASSERT_TRUE(done) << done.error().Message();
  struct stat status {};
  ASSERT_EQ(0, fstatat(files->directory.get(), "images/inventory.img", &status, 0));
  EXPECT_EQ(kOne, status.st_uid);
  for (const fs::path& path : {Folder(kOne, "first"), Folder(kOne, "first").parent_path()})
    EXPECT_EQ(fs::perms::owner_all, fs::status(path).permissions()) << path;
  EXPECT_TRUE(store_->Remove(kOne, "first"));
  EXPECT_EQ(Names{}, Left());
}

TEST_F(SessionCheckpointStoreTest, NamesAreChecked) {
  for (const char* name : {".", "..", ".a", "-a", "a/b", "a b", "\xc3\xa4", "../first"}) {
    EXPECT_EQ(ErrorKind::kInvalid, KindOf(store_->Reserve(kOne, name, kSession))) << name;
    EXPECT_EQ(ErrorKind::kNotFound, KindOf(store_->Find(kOne, name))) << name;
    EXPECT_EQ(ErrorKind::kNotFound, KindOf(store_->Remove(kOne, name))) << name;
  }
  EXPECT_EQ(ErrorKind::kInvalid, KindOf(store_->Reserve(kOne, std::string(65, 'a'), kSession)));
  EXPECT_EQ(ErrorKind::kNotFound, KindOf(store_->Find(kOne, "")));
  EXPECT_EQ(Names{}, Left());
  EXPECT_TRUE(Keep(kOne, std::string(64, 'a')));
}

TEST_F(SessionCheckpointStoreTest, ANameIsMadeOfTheSessionsId) {
  EXPECT_EQ(kSession, Keep(kOne, "")->checkpoint().name());
  EXPECT_EQ(std::string(kSession) + "-2", Keep(kOne, "")->checkpoint().name());
  const auto reserved = store_->Reserve(kOne, "", kSession);
  EXPECT_EQ(std::string(kSession) + "-3", *reserved);
  EXPECT_EQ(std::string(kSession) + "-4", *store_->Reserve(kOne, "", kSession));
  store_->Release(kOne, *reserved);
  EXPECT_EQ(std::string(kSession) + "-3", *store_->Reserve(kOne, "", kSession));
}

TEST_F(SessionCheckpointStoreTest, ANameIsTakenOnce) {
  ASSERT_TRUE(store_->Reserve(kOne, "a", kSession));
  EXPECT_EQ(ErrorKind::kExists, KindOf(store_->Reserve(kOne, "a", kSession)));
  EXPECT_TRUE(store_->Reserve(kOther, "a", kSession));
  EXPECT_EQ(Names{}, List(std::nullopt));
  ASSERT_TRUE(store_->Keep(Record(kOne, "a"), files_.directory.get()));
  EXPECT_EQ(ErrorKind::kExists, KindOf(store_->Reserve(kOne, "a", kSession)));
  store_->Release(kOne, "a");  // kept: nothing to release
  EXPECT_EQ(Names{"a"}, List(kOne));
  store_->Release(kOther, "a");
  EXPECT_EQ(Names{}, List(kOther));
}

TEST_F(SessionCheckpointStoreTest, OnlyRootSeesWhatIsAnothers) {
  ASSERT_TRUE(Keep(kOne, "a"));
  ASSERT_TRUE(Keep(kOther, "b"));
  EXPECT_EQ(Names{"a"}, List(kOne));
  EXPECT_EQ((Names{"a", "b"}), List(std::nullopt));
  for (const char* name : {"b", "1001/b", "1001/a", "0/b"}) {
    EXPECT_EQ(ErrorKind::kNotFound, KindOf(store_->Find(kOne, name))) << name;
    EXPECT_EQ(ErrorKind::kNotFound, KindOf(store_->Remove(kOne, name))) << name;
  }
  EXPECT_EQ(store_->Find(kOne, "c").error().Message().find("\"c\""),
            store_->Find(kOne, "b").error().Message().find("\"b\""));
  EXPECT_TRUE(store_->Find(kOne, "1000/a"));
  EXPECT_EQ(kOther, store_->Find(0, "b")->checkpoint().owner_uid());
  ASSERT_TRUE(Keep(kOther, "a"));
  const auto several = store_->Find(0, "a");
  EXPECT_EQ(ErrorKind::kInvalid, KindOf(several));
  EXPECT_NE(std::string::npos, several.error().Message().find("1001/a"));
  EXPECT_EQ(kOther, store_->Find(0, "1001/a")->checkpoint().owner_uid());
  ASSERT_TRUE(Keep(0, "a"));
  EXPECT_EQ(0u, store_->Find(0, "a")->checkpoint().owner_uid());
  EXPECT_TRUE(store_->Remove(0, "1000/a"));
  EXPECT_EQ(Names{}, List(kOne));
}

TEST_F(SessionCheckpointStoreTest, AnOwnerHasSoMany) {
  Open({.per_owner = 2});
  ASSERT_TRUE(Keep(kOne, "a"));
  ASSERT_TRUE(store_->Reserve(kOne, "b", kSession));
  const auto third = store_->Reserve(kOne, "c", kSession);
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(third));
  EXPECT_NE(std::string::npos, third.error().Message().find("session-checkpoints-max"));
  EXPECT_TRUE(Keep(kOther, "a"));
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(Keep(0, name)) << "root";
  store_->Release(kOne, "b");
  EXPECT_TRUE(Keep(kOne, "c"));
}

TEST_F(SessionCheckpointStoreTest, AllTogetherTakeSoMuch) {
  const auto first = Keep(kOne, "a");
  ASSERT_TRUE(first);
  Open({.bytes = first->checkpoint().bytes() + 10});
  const auto second = Keep(kOther, "b");
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(second));
  EXPECT_NE(std::string::npos, second.error().Message().find("session-checkpoints-bytes"));
  EXPECT_EQ((Names{"a"}), List(std::nullopt));
  EXPECT_FALSE(fs::exists(Folder(kOther, "")));
  Open({.bytes = first->checkpoint().bytes()});
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(store_->Reserve(kOther, "b", kSession)));
  ASSERT_TRUE(store_->Remove(kOne, "a"));
  EXPECT_TRUE(Keep(kOther, "b"));
}

TEST_F(SessionCheckpointStoreTest, AnOwnerTakesSoMuch) {
  const auto first = Keep(kOne, "a");
  ASSERT_TRUE(first);
  const uint64_t bytes = first->checkpoint().bytes();
  const auto names_own_setting = [](const auto& result) {
    return result.error().Message().find("limits-per-client.session-checkpoints-bytes") !=
           std::string::npos;
  };
  // Room for half of another one.
  Open({.owner_bytes = bytes + bytes / 2});
  const auto second = Keep(kOne, "b");
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(second));
  EXPECT_TRUE(names_own_setting(second)) << second.error().Message();
  EXPECT_EQ((Names{"a"}), List(kOne));
  // And for none.
  Open({.owner_bytes = bytes});
  const auto third = store_->Reserve(kOne, "b", kSession);
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(third));
  EXPECT_TRUE(names_own_setting(third)) << third.error().Message();
  EXPECT_NE(std::string::npos, third.error().Message().find("uid 1000's"));
  EXPECT_TRUE(Keep(kOther, "b"));
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(Keep(0, name)) << "root";
  ASSERT_TRUE(store_->Remove(kOne, "a"));
  EXPECT_TRUE(Keep(kOne, "b"));
  // What is left for all is nearer.
  Open({.bytes = 5 * bytes, .owner_bytes = 2 * bytes});
  const auto last = Keep(kOne, "c");
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(last));
  EXPECT_FALSE(names_own_setting(last)) << last.error().Message();
}

TEST_F(SessionCheckpointStoreTest, ListsAreInTheOrderOfTheirKeys) {
  for (const char* name : {"b", "a"}) ASSERT_TRUE(Keep(kOne, name) && Keep(kOther, name));
  fs::create_directory(Folder(kOne, "damaged"));
  std::optional<SessionCheckpointKey> last;
  const auto all = store_->List(std::nullopt);
  ASSERT_EQ(5u, all.size());
  EXPECT_EQ("damaged", all.back().checkpoint().name());
  for (const auto& record : all) {
    const auto key = SessionCheckpointKey::Of(record.checkpoint());
    EXPECT_TRUE(!last || *last < key) << key.Marker();
    last = key;
    const auto again = SessionCheckpointKey::Parse(key.Marker());
    ASSERT_TRUE(again) << again.error().Message();
    EXPECT_EQ(key, *again);
  }
  EXPECT_EQ("0/1000/damaged", last->Marker());
  for (const char* rubbish :
       {"", "a", "1", "1/", "1/2", "/1/a", "-1/1/a", "1/-1/a", "1/x/a", "01/1/a", "1/01/a",
        " 1/1/a", "99999999999999999999/1/a", "1/4294967296/a"})
    EXPECT_EQ(ErrorKind::kInvalid, KindOf(SessionCheckpointKey::Parse(rubbish))) << rubbish;
}

TEST_F(SessionCheckpointStoreTest, DamageIsToldAndNothingOfItIsUsed) {
  const auto kept = Keep(kOne, "a");
  ASSERT_TRUE(kept && Keep(kOne, "b") && Keep(kOne, "c"));
  std::ofstream(Folder(kOne, "a") / "checkpoint.json") << "{";
  fs::remove_all(Folder(kOne, "b") / "checkpoint.json");
  fs::copy_file(Folder(kOne, "c") / "checkpoint.json", Folder(kOne, "b") / "checkpoint.json");
  for (const char* name : {"a", "b"})
    EXPECT_EQ(ErrorKind::kPrecondition, KindOf(store_->Find(kOne, name))) << name;
  for (const auto& record : store_->List(kOne))
    EXPECT_EQ(record.checkpoint().name() == "c", record.checkpoint().unusable().empty());
  EXPECT_TRUE(store_->Remove(kOne, "a"));
  EXPECT_TRUE(store_->Remove(kOne, "b"));

  std::fstream archive(Folder(kOne, "c") / "session.zst", std::ios::in | std::ios::out);
  archive.seekp(30);
  archive.put('\x55');
  archive.close();
  auto files = MakeCheckpointFiles(0, 64u << 20);
  auto done = store_->Unpack(*store_->Find(kOne, "c"), files->directory.get(), kOne);
  EXPECT_EQ(ErrorKind::kPrecondition, KindOf(done));
  EXPECT_EQ(0u, ListNames(files->directory.get())->size());
}

TEST_F(SessionCheckpointStoreTest, AFullDiskLeavesNothing) {
  ASSERT_EQ(0, mount("disk", state_.c_str(), "tmpfs", 0, "size=256k"));
  Open();
  std::string noise(1 << 20, '\0');
  const UniqueFd random(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(static_cast<ssize_t>(noise.size()), read(random.get(), noise.data(), noise.size()));
  const int folder = files_.directory.get();
  const UniqueFd file(openat(folder, "files/tmp/noise", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(static_cast<ssize_t>(noise.size()), write(file.get(), noise.data(), noise.size()));
  const auto kept = Keep(kOne, "a");
  ASSERT_FALSE(kept);
  EXPECT_EQ(ENOSPC, kept.error().errno_value) << kept.error().Message();
  EXPECT_EQ(ErrorKind::kOverloaded, KindOf(kept));
  EXPECT_NE(std::string::npos, kept.error().Message().find("state-dir"));
  EXPECT_EQ(Names{}, Left());
  ASSERT_EQ(0, unlinkat(folder, "files/tmp/noise", 0));
  EXPECT_TRUE(Keep(kOne, "a"));
  store_.reset();
  EXPECT_EQ(0, umount2(state_.c_str(), MNT_DETACH));
}

TEST_F(SessionCheckpointStoreTest, ItIsWholeOrNotThereWhereverItFails) {
  for (const std::string point :
       {"session-checkpoint-packed", "session-checkpoint-staged", "session-checkpoint-renamed"}) {
    SCOPED_TRACE(point);
    ASSERT_TRUE(ArmFaultPoint(point + ":fail"));
    EXPECT_FALSE(Keep(kOne, "a"));
    ASSERT_TRUE(ArmFaultPoint(""));
    EXPECT_EQ(Names{}, Left());
    const pid_t child = fork();
    if (child == 0) {
      (void)ArmFaultPoint(point + ":kill");
      (void)Keep(kOne, "a");
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_TRUE(WIFSIGNALED(status));
    Open();
    if (point == "session-checkpoint-renamed") {
      const auto found = store_->Find(kOne, "a");
      ASSERT_TRUE(found);
      auto files = MakeCheckpointFiles(0, 64u << 20);
      EXPECT_TRUE(store_->Unpack(*found, files->directory.get(), kOne));
      EXPECT_TRUE(store_->Remove(kOne, "a"));
    }
    EXPECT_EQ(Names{}, Left());
  }
}

}  // namespace
}  // namespace spore
