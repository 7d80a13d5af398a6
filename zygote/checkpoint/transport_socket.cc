#include "zygote/checkpoint/transport_socket.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "zygote/checkpoint/held_session.h"

namespace spore {
namespace {

constexpr uint64_t kType = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;

Result<UniqueFd> Fetch(pid_t pid, uint64_t number) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  UniqueFd fetched(
      static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), static_cast<int>(number), 0)));
  if (!process || !fetched) return SysError("fetch a socket of a session");
  return fetched;
}

}  // namespace

Result<UniqueFd> MakeTransportSocket(pid_t pid) {
  SPORE_ASSIGN(const uintptr_t instruction, FindSyscallInstruction(pid));
  SPORE_ASSIGN(Tracee thread, HeldSession::Take(pid));
  SPORE_TRY(thread.Begin(instruction));
  Result<UniqueFd> socket;
  auto made = thread.Make("make a socket in the session", SYS_socket, AF_UNIX, kType, 0);
  if (made) {
    socket = Fetch(pid, *made);
    SPORE_TRY(thread.Make("close a socket in the session", SYS_close, *made));
  }
  SPORE_TRY(thread.End());
  SPORE_TRY(HeldSession::PutBack(std::move(thread)));
  SPORE_TRY(made);
  return socket;
}

}  // namespace spore
