// The workshop: a process that has the source's descriptors under the same numbers, notes what is
// in them, makes fresh ones in their place, and sends those away.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "sandbox/sys/clone.h"
#include "sandbox/sys/fd_message.h"
#include "zygote/branch/copy_descriptors.h"
#include "zygote/branch/enter_cgroup.h"
#include "zygote/protocol.h"
#include "zygote/sfork/descriptor_table.h"

namespace spore {
namespace {

// So many numbers below our limit are for our own, above those that a session has.
constexpr int kOwnNumbers = 64;

int FirstOwn() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return kOwnNumbers;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, INT_MAX)) - kOwnNumbers;
}

// Our own descriptors, out of the way of the source's numbers.
struct Tools {
  int source = -1, report = -1;
  std::vector<int> targets, sockets;
};

Result<int> MoveUp(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, FirstOwn());
  if (moved < 0) return SysError("duplicate a descriptor");
  return moved;
}

Result<> Enter(int pidfd, int kind) {
  if (setns(pidfd, kind) < 0) return SysError("setns to a session's namespace");
  return {};
}

// What DescriptorTable says of a zygote, said of an interpreter.
Error Reword(Error error) {
  const auto replace = [&](std::string_view from, std::string_view to) {
    const size_t at = error.operation.find(from);
    if (at != std::string::npos) error.operation.replace(at, from.size(), to);
  };
  replace("the zygote holds", "its interpreter has");
  replace("its children would share it", "a copy would share it");
  replace("its children would share", "a copy would share");
  error.hint = "close it before";
  return error;
}

Result<DescriptorTable> NoteAll(const Tools& tools, const std::vector<OpenDescriptor>& made) {
  SPORE_TRY(Enter(tools.source, CLONE_NEWNET));  // where its sockets can be asked for
  std::vector<DescriptorNote> notes;
  for (const OpenDescriptor& descriptor : made) {
    const UniqueFd fd(
        static_cast<int>(syscall(SYS_pidfd_getfd, tools.source, descriptor.number, 0)));
    if (!fd) return SysError("pidfd_getfd");
    if (dup3(fd.get(), descriptor.number, descriptor.close_on_exec ? O_CLOEXEC : 0) < 0)
      return SysError("dup3");
    struct stat status {};
    if (fstat(descriptor.number, &status) < 0) return SysError("fstat");
    notes.push_back({descriptor.number, status.st_dev, status.st_ino, status.st_mode});
  }
  auto table = DescriptorTable::Note(notes, {}, /*renew=*/true);
  if (!table) return tl::unexpected(Reword(std::move(table).error()));
  return table;
}

Result<> Send(int socket, const std::vector<OpenDescriptor>& made) {
  for (size_t at = 0; at < made.size(); at += kMaxMessageFds) {
    std::vector<int> fds;
    for (size_t i = at; i < std::min(made.size(), at + kMaxMessageFds); ++i)
      fds.push_back(made[i].number);
    const char byte = 'd';
    SPORE_TRY(SendMessage(socket, std::as_bytes(std::span(&byte, 1)), fds));
  }
  return {};
}

Result<> Work(const Tools& tools, const std::vector<OpenDescriptor>& made,
              const std::vector<CopyTarget>& targets) {
  SPORE_ASSIGN(const DescriptorTable table, NoteAll(tools, made));
  for (size_t i = 0; i < targets.size(); ++i) {
    SPORE_TRY(EnterCgroups(*targets[i].cgroups));
    SPORE_TRY(Enter(tools.targets[i], CLONE_NEWNET));
    if (const StepResult renewed = table.Renew(); !renewed.ok())
      return SysErrorOf(renewed.errno_value, renewed.operation);
    SPORE_TRY(Send(tools.sockets[i], made));
  }
  return {};
}

Result<> PrepareAndWork(int source_pidfd, const std::vector<OpenDescriptor>& made,
                        const std::vector<CopyTarget>& targets, const std::vector<int>& sockets) {
  Tools tools;
  SPORE_ASSIGN(tools.source, MoveUp(source_pidfd));
  for (size_t i = 0; i < targets.size(); ++i) {
    SPORE_ASSIGN(const int target, MoveUp(targets[i].pidfd));
    SPORE_ASSIGN(const int socket, MoveUp(sockets[i]));
    tools.targets.push_back(target);
    tools.sockets.push_back(socket);
  }
  const auto own = static_cast<unsigned>(FirstOwn());
  if (static_cast<unsigned>(made.back().number) >= own) {
    return MakeError(ErrorKind::kPrecondition,
                     fmt::format("descriptor {} of it has too high a number", made.back().number));
  }
  if (close_range(3, own - 1, 0) < 0) return SysError("close_range");
  return Work(tools, made, targets);
}

}  // namespace

Result<> MakeDescriptors(int source_pidfd, const std::vector<OpenDescriptor>& descriptors,
                         const std::vector<CopyTarget>& targets, const std::vector<int>& sockets) {
  std::vector<OpenDescriptor> made;
  std::copy_if(descriptors.begin(), descriptors.end(), std::back_inserter(made),
               [](const OpenDescriptor& one) { return one.way == OpenDescriptor::Way::kMade; });
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return SysError("make a pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t pid = CloneProcess({.exit_signal = SIGCHLD}, nullptr);
  if (pid < 0) return SysError("clone the process that makes descriptors");
  if (pid == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int report = fcntl(write_end.get(), F_DUPFD_CLOEXEC, FirstOwn());
    wire::Failure failure;
    if (auto done = PrepareAndWork(source_pidfd, made, targets, sockets); !done)
      failure = wire::MakeFailure(done.error().errno_value, done.error().operation.c_str());
    _exit(write(report, &failure, sizeof failure) == sizeof failure ? 0 : 1);
  }
  write_end.Reset();
  wire::Failure failure;
  const ssize_t got = TEMP_FAILURE_RETRY(read(read_end.get(), &failure, sizeof failure));
  int status = 0;
  (void)TEMP_FAILURE_RETRY(waitpid(pid, &status, 0));
  if (got != sizeof failure)
    return MakeError(ErrorKind::kInternal, "the process that makes descriptors has ended");
  if (!failure.failed()) return {};
  if (failure.errno_value != 0) return SysErrorOf(failure.errno_value, failure.operation);
  return MakeError(ErrorKind::kPrecondition, failure.operation);
}

}  // namespace spore
