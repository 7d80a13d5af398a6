// The life of functions on disk: deploy, update, remove, crashes at every step, damage, a full
// disk.
#include "daemon/functions/function_store.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include "sandbox/sys/fault_point.h"
#include "tests/root/archive_builder.h"
#include "tests/root/store_fixture.h"

namespace spore {
namespace {

using Names = std::vector<std::string>;

UniqueFd App(const std::string& text) {
  return SealedMemfd(BuildArchive(Packing::kZip, {{.name = "app.py", .text = text}}));
}

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string CodeOf(const Version& version) {
  return version ? ReadText(version->code_path + "/app.py") : "(no function)";
}

struct stat Stat(const std::filesystem::path& path) {
  struct stat info = {};
  EXPECT_EQ(0, lstat(path.c_str(), &info)) << path;
  return info;
}

class FunctionStoreTest : public StoreTest {};

class GoodArchiveTest : public FunctionStoreTest, public testing::WithParamInterface<Packing> {};

TEST_P(GoodArchiveTest, IsUnpacked) {
  OpenStore open(options_);
  std::vector<ArchiveItem> items = {{.name = "./app.py", .text = "code", .mode = 0600},
                                    {.name = "bin/tool", .text = "tool", .mode = 06755},
                                    Folder("empty/"),
                                    {.name = "na\u00efve-\u65e5\u672c.txt", .text = "u"},
                                    Symlink("bin/app", "../app.py"),
                                    Symlink("dangling", "nowhere")};
  if (GetParam() != Packing::kZip) items.push_back(HardLink("copy", "bin/tool"));
  std::string bytes = BuildArchive(GetParam(), items);
  auto deployed = open.Deploy(MakeFunction("f"), SealedMemfd(bytes));
  ASSERT_TRUE(deployed) << deployed.error().Message();
  const v1::Function& function = (*deployed)->function;
  EXPECT_EQ(1u, function.version());
  EXPECT_EQ(GetParam() == Packing::kZip ? 9u : 13u, function.code_bytes());
  EXPECT_EQ(71u, function.code_digest().size());
  EXPECT_GT(function.created_unix_ms(), 0);

  std::filesystem::path code = (*deployed)->code_path;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(code)) {
    struct stat info = Stat(entry.path());
    EXPECT_EQ(0u, info.st_uid) << entry.path();
    EXPECT_EQ(0u, info.st_gid) << entry.path();
  }
  EXPECT_EQ(S_IFDIR | 0755u, Stat(code).st_mode);
  EXPECT_EQ(S_IFREG | 0644u, Stat(code / "app.py").st_mode);
  EXPECT_EQ(S_IFREG | 0755u, Stat(code / "bin/tool").st_mode);  // without setuid and setgid
  EXPECT_EQ(S_IFDIR | 0755u, Stat(code / "empty").st_mode);
  EXPECT_EQ("u", ReadText(code / "na\u00efve-\u65e5\u672c.txt"));
  EXPECT_EQ("code", ReadText(code / "bin/app"));
  if (GetParam() != Packing::kZip) {
    EXPECT_EQ("tool", ReadText(code / "copy"));
    EXPECT_EQ(1u, Stat(code / "copy").st_nlink);
  }
  // Nobody but root comes near it along the path.
  EXPECT_EQ(S_IFDIR | 0700u, Stat(directory_ / "state/functions").st_mode);
}
INSTANTIATE_TEST_SUITE_P(Packings, GoodArchiveTest,
                         testing::Values(Packing::kTar, Packing::kTarGz, Packing::kTarXz,
                                         Packing::kZip));

TEST_F(FunctionStoreTest, ManyFilesAreUnpackedAndLinkedByAnUpdate) {
  OpenStore open(options_);
  std::vector<ArchiveItem> items = {{.name = "app.py"}};
  for (int i = 0; i < 300; ++i) items.push_back({.name = fmt::format("d{}/f{}", i % 7, i)});
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), SealedMemfd(BuildArchive(Packing::kTarGz, items))));
  auto updated = open.Update(MakeFunction("f", "other.handler"), UniqueFd());
  ASSERT_TRUE(updated) << updated.error().Message();
  size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator((*updated)->code_path)) {
    count += entry.is_regular_file();
  }
  EXPECT_EQ(301u, count);
  EXPECT_EQ(301u, (*updated)->function.code_bytes());
}

TEST_F(FunctionStoreTest, NamesAreTakenAndFoundAgain) {
  {
    OpenStore open(options_);
    ASSERT_TRUE(open.Deploy(MakeFunction("a"), App("1")));
    ASSERT_TRUE(open.Deploy(MakeFunction("b"), App("2")));
    auto again = open.Deploy(MakeFunction("a"), App("3"));
    ASSERT_FALSE(again);
    EXPECT_EQ(ErrorKind::kExists, again.error().kind);
    EXPECT_EQ("1", CodeOf(open.store->Find("a")));
    auto absent = open.Update(MakeFunction("c"), App("4"));
    ASSERT_FALSE(absent);
    EXPECT_EQ(ErrorKind::kNotFound, absent.error().kind);
    auto bad = open.Deploy(MakeFunction("../c"), App("4"));
    ASSERT_FALSE(bad);
    EXPECT_EQ(ErrorKind::kInvalid, bad.error().kind);
  }
  OpenStore open(options_);
  EXPECT_EQ(2u, open.store->List().size());
  EXPECT_EQ("1", CodeOf(open.store->Find("a")));
  EXPECT_EQ("2", CodeOf(open.store->Find("b")));
  EXPECT_EQ(Names{}, open.reports);
}

TEST_F(FunctionStoreTest, SupersededVersionStaysWhileItIsHeld) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
  Version first = open.store->Find("f");
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("two")));
  open.Settle();
  EXPECT_EQ("one", CodeOf(first));
  EXPECT_EQ("two", CodeOf(open.store->Find("f")));
  first.reset();
  open.Settle();
  EXPECT_EQ((Names{"current", "v2"}), NamesIn(FunctionPath("f")));
}

TEST_F(FunctionStoreTest, UpdatesOfOneNameAreAppliedInOrder) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("0")));
  std::vector<uint64_t> versions;
  for (int i = 1; i <= 5; ++i) {
    // Every other one keeps the code of the one before it.
    UniqueFd archive = i % 2 == 1 ? App(std::to_string(i)) : UniqueFd();
    open.store->Update(MakeFunction("f", fmt::format("app.h{}", i)), std::move(archive),
                       [&](Result<Version> result) {
                         ASSERT_TRUE(result) << result.error().Message();
                         versions.push_back((*result)->function.version());
                       });
  }
  open.Settle();
  EXPECT_EQ((std::vector<uint64_t>{2, 3, 4, 5, 6}), versions);
  EXPECT_EQ("app.h5", open.store->Find("f")->function.settings().handler());
  EXPECT_EQ("5", CodeOf(open.store->Find("f")));
  open.Settle();
  EXPECT_EQ((Names{"current", "v6"}), NamesIn(FunctionPath("f")));
}

TEST_F(FunctionStoreTest, RemovedNameStartsAgain) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("old")));
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("old2")));
  Version old = open.store->Find("f");
  ASSERT_TRUE(open.Remove("f"));
  EXPECT_EQ(nullptr, open.store->Find("f"));
  EXPECT_EQ(Names{}, NamesIn(directory_ / "state/functions"));
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("new")));
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("new2")));
  old.reset();  // version 2 of the earlier life: must not take the new one along
  open.Settle();
  EXPECT_EQ("new2", CodeOf(open.store->Find("f")));
  ASSERT_TRUE(open.Remove("f"));
  auto again = open.Remove("f");
  ASSERT_FALSE(again);
  EXPECT_EQ(ErrorKind::kNotFound, again.error().kind);
}

// ---- crashes and failures at every step

struct FaultCase {
  std::string point;
  bool change_survives_a_kill;  // the new state is in force after kill -9 at this point
};

class FaultTest : public FunctionStoreTest, public testing::WithParamInterface<FaultCase> {
 protected:
  std::string Operation() const { return GetParam().point.substr(0, GetParam().point.find('-')); }
  Result<> Change(OpenStore& open) {
    Result<> result;
    if (Operation() == "remove") return open.Remove("f");
    auto changed = Operation() == "deploy" ? open.Deploy(MakeFunction("f"), App("new"))
                                           : open.Update(MakeFunction("f"), App("new"));
    if (!changed) return tl::unexpected(std::move(changed).error());
    return {};
  }
  std::string Before() const { return Operation() == "deploy" ? "(no function)" : "old"; }
  std::string After() const { return Operation() == "remove" ? "(no function)" : "new"; }
  void Prepare() {
    OpenStore open(options_);
    ASSERT_TRUE(open.Deploy(MakeFunction("other"), App("other")));
    if (Operation() != "deploy") {
      ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("old")));
    }
  }
  void ExpectWhole(OpenStore& open, const std::string& code) {
    EXPECT_EQ(code, CodeOf(open.store->Find("f")));
    EXPECT_EQ("other", CodeOf(open.store->Find("other")));
    EXPECT_EQ(Names{}, open.reports);
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
    for (const Version& version : open.store->List()) {
      EXPECT_EQ((Names{"current", fmt::format("v{}", version->function.version())}),
                NamesIn(FunctionPath(version->function.name())));
    }
  }
};

TEST_P(FaultTest, KillLeavesOldOrNew) {
  Prepare();
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    (void)ArmFaultPoint(GetParam().point + ":kill");
    OpenStore open(options_);
    (void)Change(open);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the point was not reached";
  OpenStore open(options_);
  ExpectWhole(open, GetParam().change_survives_a_kill ? After() : Before());
  // And the store goes on from there.
  if (!open.store->Find("f")) {
    ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("next")));
  }
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("last")));
  open.Settle();
  ExpectWhole(open, "last");
}

TEST_P(FaultTest, FailureLeavesOld) {
  Prepare();
  OpenStore open(options_);
  ASSERT_TRUE(ArmFaultPoint(GetParam().point + ":fail"));
  auto changed = Change(open);
  ASSERT_TRUE(ArmFaultPoint(""));
  ASSERT_FALSE(changed);
  EXPECT_NE(std::string::npos, changed.error().Message().find(GetParam().point));
  ExpectWhole(open, Before());
  ASSERT_TRUE(Change(open));
  open.Settle();
  ExpectWhole(open, After());
}

std::string FaultName(const testing::TestParamInfo<FaultCase>& info) {
  std::string name = info.param.point;
  name[name.find('-')] = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(
    Points, FaultTest,
    testing::Values(FaultCase{"deploy-staged", false}, FaultCase{"deploy-unpacked", false},
                    FaultCase{"deploy-synced", false}, FaultCase{"deploy-renamed", true},
                    FaultCase{"update-staged", false}, FaultCase{"update-unpacked", false},
                    FaultCase{"update-synced", false}, FaultCase{"update-placed", false},
                    FaultCase{"update-switched", true}, FaultCase{"remove-renamed", true}),
    FaultName);

// ---- damage

TEST_F(FunctionStoreTest, DamagedFunctionIsSkippedAndCanBeRemoved) {
  {
    OpenStore open(options_);
    for (const char* name : {"torn", "nocode", "wrong", "good"}) {
      ASSERT_TRUE(open.Deploy(MakeFunction(name), App(name)));
    }
  }
  std::filesystem::resize_file(FunctionPath("torn") / "v1/function.pb", 9);
  std::filesystem::remove_all(FunctionPath("nocode") / "v1/code");
  std::filesystem::remove(FunctionPath("wrong") / "current");
  std::filesystem::create_symlink("../../../etc", FunctionPath("wrong") / "current");
  std::ofstream(directory_ / "state/functions/not a name") << "x";
  OpenStore open(options_);
  EXPECT_EQ(4u, open.reports.size());
  EXPECT_EQ(1u, open.store->List().size());
  EXPECT_EQ("good", CodeOf(open.store->Find("good")));
  auto taken = open.Deploy(MakeFunction("torn"), App("again"));
  ASSERT_FALSE(taken);
  EXPECT_EQ(ErrorKind::kPrecondition, taken.error().kind);
  for (const char* name : {"torn", "nocode", "wrong"}) EXPECT_TRUE(open.Remove(name)) << name;
  EXPECT_TRUE(open.Deploy(MakeFunction("torn"), App("again")));
}

TEST_F(FunctionStoreTest, NewestWholeVersionReplacesAMissingLink) {
  Version held;
  {
    OpenStore open(options_);
    ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
    held = open.store->Find("f");
    ASSERT_TRUE(open.Update(MakeFunction("f"), App("two")));
    open.Settle();
  }
  std::filesystem::remove(FunctionPath("f") / "current");
  std::filesystem::create_directory(FunctionPath("f") / "v7");
  std::filesystem::create_directory(FunctionPath("empty"));
  OpenStore open(options_);
  EXPECT_EQ("two", CodeOf(open.store->Find("f")));
  EXPECT_EQ((Names{"current", "v2"}), NamesIn(FunctionPath("f")));
  EXPECT_EQ((Names{"f"}), NamesIn(directory_ / "state/functions"));
  EXPECT_EQ(2u, open.reports.size());
}

TEST_F(FunctionStoreTest, StagingOfAnyDepthIsEmptied) {
  std::filesystem::path staging = directory_ / "state/staging/5";
  std::filesystem::create_directories(staging);
  int folder = ::open(staging.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 450; ++i) {
    ASSERT_EQ(0, mkdirat(folder, "deep", 0700));
    int next = openat(folder, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(folder);
    folder = next;
  }
  close(folder);
  std::filesystem::create_symlink("/etc", directory_ / "state/staging/link");
  OpenStore open(options_);
  EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
  EXPECT_EQ(Names{}, open.reports);
  EXPECT_TRUE(std::filesystem::exists("/etc/passwd"));
}

TEST_F(FunctionStoreTest, FullDiskLeavesTheOldVersion) {
  std::filesystem::create_directories(directory_ / "state");
  ASSERT_EQ(0, mount("spore-test", (directory_ / "state").c_str(), "tmpfs", 0, "size=2m"));
  {
    OpenStore open(options_);
    EXPECT_TRUE(open.Deploy(MakeFunction("f"), App("old")));
    std::string noise(3u << 20, 'x');
    for (size_t i = 0; i < noise.size(); i += 13) noise[i] = static_cast<char>(i >> 3);
    auto updated = open.Update(MakeFunction("f"), App(noise));
    EXPECT_FALSE(updated);
    if (!updated) {
      EXPECT_EQ(ErrorKind::kInternal, updated.error().kind);
      EXPECT_NE(std::string::npos, updated.error().Message().find("No space left on device"))
          << updated.error().Message();
    }
    EXPECT_EQ("old", CodeOf(open.store->Find("f")));
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
    EXPECT_TRUE(open.Update(MakeFunction("f"), App("new")));
  }
  EXPECT_EQ(0, umount2((directory_ / "state").c_str(), 0));
}

// ---- a worker that is slow, or has been taken over by the archive

class HostileWorkerTest : public FunctionStoreTest {
 protected:
  Result<Version> DeployWith(const std::string& script) {
    options_.unpack_program = directory_ / "worker";
    std::ofstream(options_.unpack_program) << "#!/bin/sh\n" << script << "\n";
    EXPECT_EQ(0, chmod(options_.unpack_program.c_str(), 0755));
    OpenStore open(options_);
    auto result = open.Deploy(MakeFunction("f"), App("x"));
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/functions"));
    return result;
  }
  static constexpr char kReport[] =
      "echo sha256:0000000000000000000000000000000000000000000000000000000000000000 1 1";
  std::string As(const std::string& commands) {
    return fmt::format("cd /proc/self/fd/4; {}; chown -h {} *; {}", commands, kUnpackUid, kReport);
  }
};

TEST_F(HostileWorkerTest, SlowIsKilled) {
  options_.unpack.seconds = 1;
  auto result = DeployWith("exec /bin/sleep 1000");
  ASSERT_FALSE(result);
  EXPECT_EQ(ErrorKind::kInvalid, result.error().kind);
  EXPECT_EQ("the archive takes longer than 1 s to unpack", result.error().Message());
}

TEST_F(HostileWorkerTest, WhatItMayNotMakeIsRefused) {
  for (const char* commands : {"/usr/bin/mkfifo p", "echo >a; ln a b", "/usr/bin/mknod d c 1 3"}) {
    auto result = DeployWith(As(commands));
    ASSERT_FALSE(result) << commands;
    EXPECT_EQ(ErrorKind::kInternal, result.error().kind);
    EXPECT_NE(std::string::npos, result.error().Message().find("may not make"))
        << result.error().Message();
  }
  auto others = DeployWith(As("echo >a; ln /etc/passwd b 2>/dev/null || : >b") + "; chown 0 b");
  ASSERT_FALSE(others);
  options_.unpack.files = 3;
  auto many = DeployWith(As("echo >a; echo >b; echo >c; echo >d"));
  ASSERT_FALSE(many);
  EXPECT_NE(std::string::npos, many.error().Message().find("than allowed"));
}

TEST_F(HostileWorkerTest, NonsenseIsRefused) {
  for (const char* script :
       {"exit 0", "echo hello", "echo sha256:zz 1 1", "exit 1", "kill -9 $$", "exit 2"}) {
    auto result = DeployWith(script);
    ASSERT_FALSE(result) << script;
    EXPECT_EQ(ErrorKind::kInternal, result.error().kind) << result.error().Message();
  }
  options_.unpack.seconds = 1;
  auto endless = DeployWith("exec yes");
  ASSERT_FALSE(endless);
  EXPECT_EQ("the archive takes longer than 1 s to unpack", endless.error().Message());
  auto coloured = DeployWith("printf 'a\\033[31mb\\nsecond' >&2; exit 2");
  ASSERT_FALSE(coloured);
  EXPECT_EQ("a\\x1b[31mb", coloured.error().Message());
}

TEST_F(HostileWorkerTest, GetsNothingButItsDescriptors) {
  auto result = DeployWith(
      "for n in $(seq 0 300); do [ -e /proc/self/fd/$n ] && had=\"$had $n\"; done\n"
      "echo $had >&2; exit 2");
  ASSERT_FALSE(result);
  // 10 is the shell's own, on its script.
  EXPECT_EQ("0 1 2 3 4 10", result.error().Message());
}

TEST_F(FunctionStoreTest, MissingWorkerIsOurFault) {
  options_.unpack_program = "/nonexistent/spore-unpack";
  OpenStore open(options_);
  auto result = open.Deploy(MakeFunction("f"), App("x"));
  ASSERT_FALSE(result);
  EXPECT_EQ(ErrorKind::kInternal, result.error().kind);
  EXPECT_NE(std::string::npos, result.error().Message().find("/nonexistent/spore-unpack"));
}

TEST_F(FunctionStoreTest, ClosingTheStoreEndsARunningWorker) {
  options_.unpack_program = directory_ / "worker";
  std::ofstream(options_.unpack_program) << "#!/bin/sh\nexec /bin/sleep 1000\n";
  ASSERT_EQ(0, chmod(options_.unpack_program.c_str(), 0755));
  bool answered = false;
  {
    OpenStore open(options_);
    open.store->Deploy(MakeFunction("f"), App("x"), [&](const auto&) { answered = true; });
  }
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace spore
