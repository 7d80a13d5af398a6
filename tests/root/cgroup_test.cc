// CgroupTree on the hierarchies of this host: limits hold, everything can be killed, nothing stays.
#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>

#include "sandbox/cgroup_file.h"
#include "sandbox/cgroup_layout.h"

namespace spore {
namespace {

constexpr uid_t kZygoteUid = 0x6fff0000;
constexpr CgroupLimits kLimits{.memory_bytes = 48u << 20, .cpu_millis = 500, .pids = 16};

// A child that starts `body` when told, so that it can be moved before.
class Child {
 public:
  explicit Child(const std::function<int()>& body) {
    int pipe_fds[2];
    EXPECT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
    go_.Reset(pipe_fds[1]);
    UniqueFd wait(pipe_fds[0]);
    pid_ = fork();
    if (pid_ == 0) {
      go_.Reset();
      char byte;
      _exit(read(wait.get(), &byte, 1) == 1 ? body() : 99);
    }
  }
  ~Child() {
    if (pid_ > 0) kill(pid_, SIGKILL), Wait();
  }
  pid_t pid() const { return pid_; }
  void Go() { EXPECT_EQ(write(go_.get(), "x", 1), 1); }
  // Exit code, or 1000 + the signal that ended it.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  UniqueFd go_;
  pid_t pid_ = -1;
};

// Waits, without a fixed time, for what the kernel does a moment later.
bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 30'000; ++i) {
    if (condition()) return true;
    usleep(2000);
  }
  return false;
}

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(geteuid(), 0u) << "needs root";
    name_ = "spore-test-" + std::to_string(getpid());
    Open({.name = name_});
    ASSERT_TRUE(tree_->AddGroup("image", kZygoteUid));
  }

  void Open(const CgroupTreeOptions& options) {
    tree_.reset();
    auto tree = CgroupTree::Open(options);
    ASSERT_TRUE(tree) << tree.error().Message();
    tree_ = std::make_unique<CgroupTree>(std::move(*tree));
  }

  void TearDown() override {
    if (!tree_) return;
    EXPECT_TRUE(Eventually([&] { return tree_->RetryRemovals() == 0; }));
    tree_.reset();
    auto host = DetectCgroupHost();
    ASSERT_TRUE(host);
    for (const CgroupHierarchy& hierarchy : host->hierarchies)
      EXPECT_NE(access((hierarchy.mount_point + "/" + name_).c_str(), F_OK), 0)
          << "left behind in " << hierarchy.mount_point;
  }

  Cgroup Create(const std::string& id, const CgroupLimits& limits = kLimits) {
    auto cgroup = tree_->Create("image", id, limits);
    if (!cgroup) ADD_FAILURE() << cgroup.error().Message();
    return std::move(*cgroup);
  }

  // The contents of the file in whichever hierarchy has it.
  static std::string FileOf(const Cgroup& cgroup, std::initializer_list<const char*> names) {
    for (const std::string& path : cgroup.Paths())
      for (const char* name : names)
        if (auto text = ReadFile(path + "/" + name)) return *text;
    return {};
  }

  std::string name_;
  std::unique_ptr<CgroupTree> tree_;
};

TEST_F(CgroupTest, WritesTheLimits) {
  Cgroup cgroup = Create("a");
  EXPECT_EQ(FileOf(cgroup, {"memory.max", "memory.limit_in_bytes"}), "50331648\n");
  EXPECT_EQ(FileOf(cgroup, {"pids.max"}), "16\n");
  const std::string cpu = FileOf(cgroup, {"cpu.max", "cpu.cfs_quota_us"});
  EXPECT_TRUE(cpu == "50000 100000\n" || cpu == "50000\n") << cpu;
  const CgroupLimits more{.memory_bytes = 96u << 20, .cpu_millis = 2000, .pids = 32};
  ASSERT_TRUE(cgroup.SetLimits(more));
  EXPECT_EQ(cgroup.limits(), more);
  EXPECT_EQ(FileOf(cgroup, {"memory.max", "memory.limit_in_bytes"}), "100663296\n");
  ASSERT_TRUE(cgroup.SetLimits(kLimits));
  EXPECT_EQ(FileOf(cgroup, {"memory.max", "memory.limit_in_bytes"}), "50331648\n");
  ASSERT_TRUE(cgroup.SetLimits({}));  // none
  EXPECT_EQ(FileOf(cgroup, {"pids.max"}), "max\n");
}

TEST_F(CgroupTest, NamesAreChecked) {
  for (const char* bad : {"", ".", "..", "a/b", "daemon", "cgroup.procs"}) {
    EXPECT_FALSE(tree_->AddGroup(bad, kZygoteUid)) << bad;
    EXPECT_FALSE(tree_->Create("image", bad, kLimits)) << bad;
  }
  EXPECT_EQ(tree_->AddGroup("image", kZygoteUid).error().kind, ErrorKind::kExists);
  EXPECT_EQ(tree_->Create("other", "a", kLimits).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(tree_->RemoveGroup("other").error().kind, ErrorKind::kNotFound);
  Cgroup cgroup = Create("a");
  EXPECT_FALSE(tree_->Create("image", "a", kLimits));
  EXPECT_EQ(access(cgroup.Paths().front().c_str(), F_OK), 0) << "the first one must stay";
}

TEST_F(CgroupTest, MemoryHogIsKilledAndCounted) {
  Cgroup cgroup = Create("hog");
  Child hog([] {
    constexpr size_t kBytes = 256u << 20;
    void* memory =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, kBytes);
    return 0;
  });
  ASSERT_TRUE(cgroup.Attach(hog.pid()));
  hog.Go();
  EXPECT_EQ(hog.Wait(), 1000 + SIGKILL);
  auto usage = cgroup.Usage();
  ASSERT_TRUE(usage) << usage.error().Message();
  EXPECT_GE(usage->oom_kills, 1u);
  EXPECT_GT(usage->memory_peak_bytes, 40u << 20);
  EXPECT_LE(usage->memory_peak_bytes, kLimits.memory_bytes);
}

TEST_F(CgroupTest, ForksAreLimitedAndCounted) {
  Cgroup cgroup = Create("forks");
  Child parent([] {
    for (int i = 0; i < 100; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        pause();
        _exit(0);
      }
      if (child < 0) return errno == EAGAIN ? i : 98;
    }
    return 99;
  });
  ASSERT_TRUE(cgroup.Attach(parent.pid()));
  parent.Go();
  EXPECT_EQ(parent.Wait(), static_cast<int>(kLimits.pids) - 1);
  auto usage = cgroup.Usage();
  ASSERT_TRUE(usage) << usage.error().Message();
  EXPECT_EQ(usage->pids_limit_hits, 1u);
  EXPECT_EQ(usage->pids, kLimits.pids - 1);
  // The destructor ends the others.
}

TEST_F(CgroupTest, CpuIsThrottledAndCounted) {
  Cgroup cgroup = Create("spin", {.memory_bytes = 48u << 20, .cpu_millis = 100, .pids = 16});
  Child spin([] {
    for (;;) asm volatile("" ::: "memory");
    return 0;
  });
  ASSERT_TRUE(cgroup.Attach(spin.pid()));
  spin.Go();
  EXPECT_TRUE(Eventually([&] {
    for (const std::string& path : cgroup.Paths())
      if (auto stat = ReadFile(path + "/cpu.stat"))
        if (KeyedNumber(*stat, "nr_throttled") > 0) return true;
    return false;
  }));
  auto usage = cgroup.Usage();
  ASSERT_TRUE(usage) << usage.error().Message();
  EXPECT_GT(usage->cpu_us, 0u);
}

// Each process forks two and goes on.
[[noreturn]] void ForkBomb() {
  for (;;) {
    if (fork() == 0) continue;
    usleep(100);
  }
}

class CgroupKillTest : public CgroupTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(WithAndWithoutCgroupKill, CgroupKillTest, testing::Bool());

TEST_P(CgroupKillTest, EndsAForkingTree) {
  tree_.reset();
  Open({.name = name_, .use_cgroup_kill = GetParam()});
  ASSERT_TRUE(tree_->AddGroup("image", kZygoteUid));
  Cgroup cgroup = Create("bomb", {.memory_bytes = 96u << 20, .cpu_millis = 500, .pids = 64});
  Child bomb([]() -> int { ForkBomb(); });
  ASSERT_TRUE(cgroup.Attach(bomb.pid()));
  bomb.Go();
  ASSERT_TRUE(Eventually([&] { return cgroup.Usage()->pids_limit_hits > 0; }));
  auto killed = cgroup.Kill();
  ASSERT_TRUE(killed) << killed.error().Message();
  EXPECT_EQ(bomb.Wait(), 1000 + SIGKILL);
  EXPECT_TRUE(Eventually([&] { return cgroup.Usage()->pids == 0; }));
  // It can be used again.
  ASSERT_TRUE(cgroup.SetLimits(kLimits));
  Child again([] { return fork() >= 0 ? 7 : 8; });
  ASSERT_TRUE(cgroup.Attach(again.pid()));
  again.Go();
  EXPECT_EQ(again.Wait(), 7);
}

TEST_P(CgroupKillTest, DestructionEndsMembers) {
  tree_.reset();
  Open({.name = name_, .use_cgroup_kill = GetParam()});
  ASSERT_TRUE(tree_->AddGroup("image", kZygoteUid));
  Child sleeper([] { return pause(); });
  {
    Cgroup cgroup = Create("gone");
    ASSERT_TRUE(cgroup.Attach(sleeper.pid()));
    sleeper.Go();
  }
  EXPECT_EQ(sleeper.Wait(), 1000 + SIGKILL);
  EXPECT_TRUE(Eventually([&] { return tree_->RetryRemovals() == 0; }));
  ASSERT_TRUE(tree_->RemoveGroup("image"));
  EXPECT_EQ(tree_->RetryRemovals(), 0u);
}

TEST_P(CgroupKillTest, SweepClearsWhatADeadDaemonLeft) {
  tree_.reset();
  const CgroupTreeOptions options{.name = name_, .use_cgroup_kill = GetParam()};
  Child daemon([&] {
    auto tree = CgroupTree::Open(options);
    if (!tree || !tree->AddGroup("image", kZygoteUid)) return 1;
    auto cgroup = tree->Create("image", "orphan", kLimits);
    if (!cgroup) return 2;
    const pid_t tenant = fork();
    if (tenant == 0) {
      if (!cgroup->Attach(0)) _exit(1);
      ForkBomb();
    }
    while (cgroup->Usage()->pids_limit_hits == 0) usleep(1000);
    raise(SIGKILL);
    return 3;
  });
  daemon.Go();
  EXPECT_EQ(daemon.Wait(), 1000 + SIGKILL);
  Open(options);
  auto swept = tree_->Sweep();
  ASSERT_TRUE(swept) << swept.error().Message();
  EXPECT_GE(*swept, size_t{kLimits.pids} / 2);
  swept = tree_->Sweep();
  ASSERT_TRUE(swept) << swept.error().Message();
  EXPECT_EQ(*swept, 0u);
  ASSERT_TRUE(tree_->AddGroup("image", kZygoteUid));
}

// Forks into `target` as the zygote does; the child's pid, or -errno.
long CloneInto(int target) {
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<__u64>(target);
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  return pid < 0 ? -errno : pid;
}

TEST_F(CgroupTest, OnlyTheZygoteClonesIntoItsGroup) {
  Cgroup zygote = Create("zygote");
  Cgroup sandbox = Create("sandbox");
  if (sandbox.v2_directory() < 0) {
    EXPECT_EQ(tree_->layout(), CgroupLayout::kV1);
    return;
  }
  for (uid_t uid : {kZygoteUid, kZygoteUid + 1}) {
    Child child([&] {
      if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) return 90;
      const long pid = CloneInto(sandbox.v2_directory());
      if (pid == 0) _exit(42);
      if (pid < 0) return static_cast<int>(-pid);
      int status = 0;
      waitpid(static_cast<pid_t>(pid), &status, 0);
      return WEXITSTATUS(status);
    });
    ASSERT_TRUE(zygote.Attach(child.pid()));
    child.Go();
    EXPECT_EQ(child.Wait(), uid == kZygoteUid ? 42 : EACCES);
  }
}

TEST_F(CgroupTest, DescriptorsAreEnoughToJoinV1) {
  Cgroup sandbox = Create("sandbox");
  Child child([&] {
    if (setresuid(kZygoteUid + 7, kZygoteUid + 7, kZygoteUid + 7) < 0) return 1;
    for (const UniqueFd& procs : sandbox.v1_procs())
      if (write(procs.get(), "0", 1) != 1) return 2;
    auto own = ReadFile("/proc/self/cgroup");
    size_t count = 0;
    for (size_t at = 0; (at = own->find("/image/sandbox", at)) != own->npos; ++at) ++count;
    return count == sandbox.v1_procs().size() ? 42 : 3;
  });
  child.Go();
  EXPECT_EQ(child.Wait(), 42);
}

TEST_F(CgroupTest, LimitFilesBelongToRoot) {
  Cgroup sandbox = Create("sandbox");
  for (const std::string& path : sandbox.Paths()) {
    for (const char* name : {"memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max",
                             "cpu.cfs_quota_us", "cgroup.subtree_control", "."}) {
      struct stat status;
      if (stat((path + "/" + name).c_str(), &status) < 0) continue;
      EXPECT_EQ(status.st_uid, 0u) << path << "/" << name;
      EXPECT_EQ(status.st_mode & 022, 0u) << path << "/" << name;
    }
  }
}

TEST_F(CgroupTest, FavorsDynmodsWhenAsked) {
  EXPECT_FALSE(tree_->favors_dynmods());
  tree_.reset();
  Open({.name = name_, .favordynmods = true});
  EXPECT_EQ(tree_->favors_dynmods(), tree_->layout() != CgroupLayout::kV2);
}

}  // namespace
}  // namespace spore
