// What has changed below a folder of a session since the last look.
//
// By looking, not by inotify(7): the system call filter forbids that, because a watch on a file of
// the read-only root would tell what neighbours open (sandbox/policy/call_groups.cc).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "zygote/session_protocol.h"

namespace spore {

class SessionWatches {
 public:
  // kWatchFiles: the body of its answer, or nothing while there is nothing to tell, unless `now`.
  std::optional<std::string> Serve(session::Reader& ask, bool now);

 private:
  struct Seen {
    uint64_t inode = 0, size = 0;
    int64_t modified = 0, changed = 0;
    bool operator==(const Seen&) const = default;
  };
  struct Watch {
    std::string path;
    bool recursive = false;
    bool overflow = false;
    uint64_t used_ns = 0, looked_ns = 0;
    std::map<std::string, Seen> seen;
  };
  static void Look(Watch& watch, std::map<std::string, Seen>& seen);
  static void LookInto(Watch& watch, const std::string& folder, int depth,
                       std::map<std::string, Seen>& seen);
  std::string Begin(session::Reader& ask);
  void ForgetUnused(uint64_t now);

  uint32_t next_ = 1;
  std::map<uint32_t, Watch> watches_;
};

}  // namespace spore
