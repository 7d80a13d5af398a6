#include "zygote/checkpoint/session_room.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "sandbox/sys/fd_message.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/foreign_mounts.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

bool Tell(int socket, const Result<>& result) {
  wire::Failure failure;
  if (!result) {
    const Error& error = result.error();
    failure = wire::MakeFailure(error.errno_value, (error.operation + " " + error.object).c_str());
  }
  return SendStruct(socket, failure).has_value();
}

Result<Workplace> Make(const SessionRoom::Parts& parts) {
  SPORE_TRY(JoinSession(parts.session));
  SPORE_ASSIGN(Workplace place, Workplace::Open(parts.workplace));
  SPORE_TRY(ShowMounts(parts.image_mounts, parts.shown_by));
  return place;
}

void Keep(int socket, const SessionRoom::Parts& parts) {
  Result<Workplace> place = Make(parts);
  if (!place) {
    (void)Tell(socket, tl::unexpected(place.error()));
    return;
  }
  char order = 0;
  if (Tell(socket, {}) && TEMP_FAILURE_RETRY(recv(socket, &order, 1, 0)) == 1)
    (void)Tell(socket, place->Remove());
}

}  // namespace

Result<SessionRoom> SessionRoom::Open(const Parts& parts) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return SysError("socketpair");
  SessionRoom room;
  room.socket_.Reset(pair[0]);
  UniqueFd theirs(pair[1]);
  SPORE_ASSIGN(room.pid_, CloneInside(parts.session, nullptr));
  if (room.pid_ == 0) {
    room.socket_.Reset();
    Keep(theirs.get(), parts);
    _exit(0);
  }
  theirs.Reset();
  SPORE_TRY(room.AwaitWord());
  return room;
}

SessionRoom::SessionRoom(SessionRoom&& other) noexcept
    : socket_(std::move(other.socket_)), pid_(std::exchange(other.pid_, 0)) {}

SessionRoom::~SessionRoom() {
  if (pid_ <= 0) return;
  socket_.Reset();  // it removes everything, and ends
  (void)TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0));
}

Result<> SessionRoom::AwaitWord() const {
  wire::Failure failure;
  SPORE_ASSIGN(const ReceivedMessage received,
               ReceiveMessage(socket_.get(), std::as_writable_bytes(std::span(&failure, 1))));
  if (received.bytes != sizeof failure)
    return MakeError(ErrorKind::kUnavailable, "the process that makes CRIU's place has ended");
  if (!failure.failed()) return {};
  return SysErrorOf(failure.errno_value, failure.operation);
}

Result<> SessionRoom::Close() {
  if (send(socket_.get(), "x", 1, MSG_NOSIGNAL) != 1) return SysError("remove CRIU's place");
  SPORE_TRY(AwaitWord());
  (void)TEMP_FAILURE_RETRY(waitpid(std::exchange(pid_, 0), nullptr, 0));
  return {};
}

}  // namespace spore
