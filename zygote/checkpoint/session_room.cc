#include "zygote/checkpoint/session_room.h"

#include <cstdint>
#include <utility>

#include "sandbox/sys/fd_message.h"
#include "zygote/branch/worker_process.h"
#include "zygote/checkpoint/clone_inside.h"
#include "zygote/checkpoint/foreign_mounts.h"

namespace spore {
namespace {

constexpr char kRemove = 'x';

struct Report {
  uint32_t error_kind = 0;
  char error[480] = {};  // empty: none
};

bool Tell(int socket, const Result<>& result) {
  Report report;
  if (!result) PutError(result.error(), report);
  return SendStruct(socket, report).has_value();
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
  if (Tell(socket, {}) && AwaitWord(socket) == kRemove) (void)Tell(socket, place->Remove());
}

Result<> AwaitReport(const ChildProcess& keeper) {
  Report report;
  SPORE_TRY(keeper.Receive(report));
  return {};
}

}  // namespace

Result<SessionRoom> SessionRoom::Open(const Parts& parts) {
  SPORE_ASSIGN(ChildProcess keeper, ChildProcess::Start(
                                        "the process that makes CRIU's place",
                                        [&] { return CloneInside(parts.session, nullptr); },
                                        [&](int socket) {
                                          Keep(socket, parts);
                                          return 0;
                                        }));
  SessionRoom room(std::move(keeper));
  SPORE_TRY(AwaitReport(room.keeper_));
  return room;
}

// Its keeper removes everything, and ends.
SessionRoom::~SessionRoom() {
  keeper_.CloseChannel();
  if (keeper_.pid() != 0) (void)keeper_.Wait();
}

Result<> SessionRoom::Close() {
  if (!keeper_.Say(kRemove)) return SysError("remove CRIU's place");
  SPORE_TRY(AwaitReport(keeper_));
  (void)keeper_.Wait();
  return {};
}

}  // namespace spore
