// The step that decides which descriptors a sandbox's process keeps.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "sandbox/steps/step.h"

namespace spore {
namespace {

// In a process of its own, since everything else is closed there: its exit status.
int InChild(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(pid, waitpid(pid, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool IsOpen(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

TEST(PlaceDescriptors, PlacesAndClosesTheRest) {
  EXPECT_EQ(0, InChild([] {
              const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
              for (const int fd : {20, 21, 300}) dup2(null_fd, fd);
              const int places[] = {20, -1, -1, 21};
              if (!PlaceDescriptors(places, 4).ok()) return 1;
              for (int fd = 0; fd < 4; ++fd) {
                if (!IsOpen(fd)) return 2;
              }
              for (int fd = 4; fd < 400; ++fd) {
                if (IsOpen(fd)) return 3;
              }
              return 0;
            }));
}

TEST(PlaceDescriptors, KeepsWhatIsNamedWhereItIs) {
  EXPECT_EQ(0, InChild([] {
              const int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
              for (int fd = 3; fd < 40; ++fd) dup2(null_fd, fd);
              fcntl(17, F_SETFD, FD_CLOEXEC);
              const int places[] = {null_fd, -1};
              const int keep[] = {1, 2, 3, 17, 39};  // from 0 and 1 it places; 1 has no meaning
              if (!PlaceDescriptors(places, 2, keep).ok()) return 1;
              for (int fd = 0; fd < 60; ++fd) {
                const bool kept = fd < 4 || fd == 17 || fd == 39;
                if (IsOpen(fd) != kept) return 2;
              }
              return fcntl(17, F_GETFD) == FD_CLOEXEC && fcntl(39, F_GETFD) == 0 ? 0 : 3;
            }));
}

}  // namespace
}  // namespace spore
