// What code in spore-unpack could reach if an archive took it over: probes run under its
// confinement.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "daemon/unpack/confine.h"

namespace spore::unpack {
namespace {

constexpr int kDirectoryFd = 4;  // as in main.cc
constexpr uid_t kUid = 48213;

// openat2(2) is the one way of opening that the filter leaves.
int Open(int folder, const char* path, uint64_t flags) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  if ((flags & O_CREAT) != 0) how.mode = 0600;
  const long fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

class UnpackConfineTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(0u, geteuid());
    char name[] = "/tmp/spore-confine-XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    directory_ = name;
    ASSERT_EQ(0, chmod(name, 0755));
    inside_ = directory_ / "inside";
    std::filesystem::create_directory(inside_);
    ASSERT_EQ(0, chown(inside_.c_str(), kUid, kUid));
    // Beside it, and readable to everybody: only Landlock keeps this one away.
    std::ofstream(directory_ / "neighbour") << "a secret";
    std::ofstream(directory_ / "roots") << "another";
    ASSERT_EQ(0, chmod((directory_ / "roots").c_str(), 0600));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // How a confined process ends that runs `probe`: its wait status. The probe may not allocate.
  template <typename Probe>
  int StatusOf(Probe probe) {
    const pid_t child = fork();
    if (child == 0) {
      const int folder = fcntl(open(inside_.c_str(), O_RDONLY | O_DIRECTORY), F_DUPFD, 10);
      if (dup2(open("/dev/null", O_RDONLY), 3) < 0 || dup2(folder, kDirectoryFd) < 0) _exit(250);
      const auto confined = Confine({.uid = kUid,
                                     .gid = kUid,
                                     .directory = kDirectoryFd,
                                     .keep_fds_below = kDirectoryFd + 1,
                                     .file_bytes = 1000,
                                     .memory_bytes = uint64_t{1} << 30,
                                     .cpu_seconds = 10});
      if (!confined) {
        const std::string words = confined.error().Message() + "\n";
        _exit(write(STDERR_FILENO, words.data(), words.size()) > 0 ? 251 : 252);
      }
      _exit(probe());
    }
    int status = 0;
    EXPECT_EQ(child, waitpid(child, &status, 0));
    return status;
  }
  // The errno that a probe gives back, or what else came of it.
  template <typename Probe>
  std::string ErrorOf(Probe probe) {
    const int status = StatusOf(probe);
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    const char* name = strerrorname_np(WEXITSTATUS(status));
    if (WEXITSTATUS(status) == 0) return "allowed";
    return name != nullptr ? name : "exit code " + std::to_string(WEXITSTATUS(status));
  }

  std::filesystem::path directory_, inside_;
};

TEST_F(UnpackConfineTest, WritesInItsDirectoryAndNowhereElse) {
  ASSERT_GE(syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION), 1)
      << "this kernel has no Landlock";
  EXPECT_EQ("allowed", ErrorOf([] {
              const int fd = Open(kDirectoryFd, "file", O_CREAT | O_EXCL | O_WRONLY);
              return fd < 0 ? -fd : write(fd, "x", 1) == 1 ? 0 : errno;
            }));
  EXPECT_TRUE(std::filesystem::exists(inside_ / "file"));
  const std::string neighbour = directory_ / "neighbour", roots = directory_ / "roots";
  const std::string made = directory_ / "made";
  for (const char* path : {neighbour.c_str(), roots.c_str(), "/etc/passwd", "/etc/shadow",
                           "/proc/self/environ", "/dev/null", "/", "/tmp"}) {
    EXPECT_EQ("EACCES", ErrorOf([path] { return std::max(0, -Open(AT_FDCWD, path, O_RDONLY)); }))
        << path;
  }
  EXPECT_EQ("EACCES",
            ErrorOf([] { return std::max(0, -Open(kDirectoryFd, "../neighbour", O_RDONLY)); }));
  EXPECT_EQ("EACCES", ErrorOf([&] {
              return std::max(0, -Open(AT_FDCWD, made.c_str(), O_CREAT | O_WRONLY));
            }));
  EXPECT_EQ("EACCES",
            ErrorOf([] { return mkdirat(kDirectoryFd, "../made", 0700) == 0 ? 0 : errno; }));
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(UnpackConfineTest, AnyOtherCallEndsIt) {
  const std::string killed = "signal " + std::to_string(SIGSYS);
  EXPECT_EQ(killed, ErrorOf([] { return fork() >= 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return execl("/bin/true", "true", nullptr) == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return kill(1, 0) == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return setuid(0) == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return chdir("/") == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return unlinkat(kDirectoryFd, "file", 0) == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] { return linkat(3, "", kDirectoryFd, "l", AT_EMPTY_PATH) == 0; }));
  EXPECT_EQ(killed, ErrorOf([] { return fchmod(kDirectoryFd, 0777) == 0 ? 0 : errno; }));
  EXPECT_EQ(killed, ErrorOf([] {
              return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0) != MAP_FAILED
                         ? 0
                         : errno;
            }));
}

TEST_F(UnpackConfineTest, HoldsTheArchiveAndTheDirectoryAlone) {
  EXPECT_EQ("allowed", ErrorOf([] {
              for (int fd = 0; fd < 64; ++fd) {
                struct stat status {};
                const bool open = syscall(SYS_fstat, fd, &status) == 0;
                if (open != (fd <= kDirectoryFd)) return 1 + fd;
              }
              return 0;
            }));
}

TEST_F(UnpackConfineTest, FilesAndMemoryAreBounded) {
  EXPECT_EQ("EFBIG", ErrorOf([] {
              const int fd = Open(kDirectoryFd, "large", O_CREAT | O_WRONLY);
              char block[600] = {};
              if (fd < 0 || write(fd, block, sizeof block) != sizeof block) return 1;
              if (write(fd, block, sizeof block) != 400) return 2;  // up to the limit
              return write(fd, block, sizeof block) < 0 ? errno : 0;
            }));
  EXPECT_EQ("ENOMEM", ErrorOf([] {
              return mmap(nullptr, size_t{2} << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0) == MAP_FAILED
                         ? errno
                         : 0;
            }));
}

TEST_F(UnpackConfineTest, NeverRunsAsRoot) {
  const auto refused = Confine({.uid = 0, .gid = kUid});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().Message().find("must not be 0"), std::string::npos);
}

}  // namespace
}  // namespace spore::unpack
