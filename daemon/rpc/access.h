// Who may do what: the one place for it. Who asks is what the kernel says of the peer.
//
//   use the socket at all   whoever its mode and group let connect (0660, the configured group)
//   run, deploy, Info,      everybody who may use the socket
//   Stats, images, a list
//   of zygotes
//   warming, evicting and   root, the operator
//   replacing zygotes
//   a function or instance  its owner (the uid that deployed or ran it) and root: seeing, invoking,
//                           updating, removing, killing, reading its logs
//   an event, a schedule    its owner (its function's) and root: seeing, trying again, purging,
//                           pausing. Destinations of events are functions of the same owner.
//
// Everybody else is told that a function or instance does not exist, in the words used when it
// really does not: names are the tenant's, and a listing does not show them either.
#pragma once

#include <sys/types.h>

#include "daemon/rpc/rpc_server.h"
#include "spore/v1/spore.pb.h"

namespace spore {

inline bool OwnerOrRoot(const Peer& peer, uid_t owner) {
  return peer.uid == 0 || peer.uid == owner;
}
inline bool MayOperate(const Peer& peer) {
  return peer.uid == 0;
}
inline bool MaySee(const Peer& peer, const v1::Function& function) {
  return OwnerOrRoot(peer, function.owner_uid());
}
inline bool MaySeeInstance(const Peer& peer, uid_t owner) {
  return OwnerOrRoot(peer, owner);
}
// Seeing is enough for it today; kept apart because sharing functions is the next thing asked for.
inline bool MayInvoke(const Peer& peer, const v1::Function& function) {
  return MaySee(peer, function);
}
inline bool MayChange(const Peer& peer, const v1::Function& function) {
  return OwnerOrRoot(peer, function.owner_uid());
}
// Listings are of what is the peer's own, else.
inline bool SeesAll(const Peer& peer) {
  return peer.uid == 0;
}
inline bool MayKill(const Peer& peer, uid_t instance_owner) {
  return OwnerOrRoot(peer, instance_owner);
}

}  // namespace spore
