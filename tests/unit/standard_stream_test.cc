// Which descriptors a client may make a script's standard streams.
#include "daemon/instances/standard_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

std::string RefusalOf(const UniqueFd& fd, const std::string& stream = "stdin") {
  EXPECT_TRUE(fd) << "the test could not make its descriptor: " << strerror(errno);
  auto checked = CheckStandardStream(fd.get(), stream);
  if (checked) return "";
  EXPECT_EQ(ErrorKind::kInvalid, checked.error().kind);
  return checked.error().Message();
}

UniqueFd Open(const char* path, int flags) {
  return UniqueFd(open(path, flags | O_CLOEXEC, 0600));
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(StandardStreamTest, TakesWhatScriptsUse) {
  int pipe_ends[2], sockets[2];
  ASSERT_EQ(0, pipe2(pipe_ends, O_CLOEXEC));
  ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
  for (const int fd : {pipe_ends[0], pipe_ends[1], sockets[0], sockets[1]}) {
    EXPECT_EQ("", RefusalOf(UniqueFd(fd)));
  }
  EXPECT_EQ("", RefusalOf(Open("/etc/passwd", O_RDONLY)));
  EXPECT_EQ("", RefusalOf(Open("/proc/self/status", O_RDONLY)));
  EXPECT_EQ("", RefusalOf(Open("/tmp", O_RDWR | O_TMPFILE)));
  EXPECT_EQ("", RefusalOf(Open("/tmp", O_WRONLY | O_TMPFILE | O_APPEND), "stdout"));
  EXPECT_EQ("", RefusalOf(UniqueFd(memfd_create("input", MFD_CLOEXEC))));
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/urandom"}) {
    EXPECT_EQ("", RefusalOf(Open(device, O_RDONLY))) << device;
  }
  EXPECT_EQ("", RefusalOf(Open("/dev/null", O_WRONLY)));  // nohup(1)
}

TEST(StandardStreamTest, TakesATerminalAndNotItsOtherEnd) {
  const UniqueFd ours(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(ours);
  ASSERT_EQ(0, unlockpt(ours.get()));
  char name[64];
  ASSERT_EQ(0, ptsname_r(ours.get(), name, sizeof name));
  EXPECT_EQ("", RefusalOf(Open(name, O_RDWR | O_NOCTTY)));
  EXPECT_TRUE(Contains(RefusalOf(ours), "a device (5:2)"));
}

TEST(StandardStreamTest, RefusesDirectoriesHoweverTheyWereOpened) {
  for (const char* stream : {"stdin", "stdout", "stderr"}) {
    for (const char* path : {"/", "/tmp", "/proc", "/sys"}) {
      EXPECT_TRUE(Contains(RefusalOf(Open(path, O_RDONLY), stream),
                           std::string(stream) + ": a directory; expected a regular file"));
      EXPECT_TRUE(Contains(RefusalOf(Open(path, O_PATH), stream), "O_PATH"));
    }
  }
  EXPECT_TRUE(Contains(RefusalOf(Open("/etc/passwd", O_PATH)), "O_PATH"));
}

TEST(StandardStreamTest, RefusesWhatIsNoFile) {
  EXPECT_TRUE(Contains(RefusalOf(UniqueFd(epoll_create1(EPOLL_CLOEXEC))), "no file"));
  EXPECT_TRUE(Contains(RefusalOf(UniqueFd(eventfd(0, EFD_CLOEXEC))), "no file"));
  EXPECT_TRUE(Contains(RefusalOf(UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)))),
                       "no file"));
  EXPECT_TRUE(Contains(RefusalOf(Open("/proc/self/ns/net", O_RDONLY)), "no file"));
}

TEST(StandardStreamTest, RefusesAFileThatCannotBeReadAsStdinOnly) {
  EXPECT_TRUE(Contains(RefusalOf(Open("/tmp", O_WRONLY | O_TMPFILE)), "open for writing only"));
  EXPECT_EQ("", RefusalOf(Open("/tmp", O_WRONLY | O_TMPFILE), "stderr"));
}

}  // namespace
}  // namespace spore
