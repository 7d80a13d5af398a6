// CRIU's images of a session, made to fit the sandbox that it is brought back in.
//
// Of each thread they say which ids, capabilities and seccomp filters it had. CRIU without
// privilege can only leave a process as it is itself; so it is told that they had just that.
// Nothing is won by images that say otherwise, nor by any that pass here: it is looked at
// afterwards, from outside (check_restored.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

struct EditOrder {
  uid_t uid = 0;            // of every thread
  uint32_t securebits = 0;  // likewise
  int32_t agent = 0;        // whose parent has another life than it had
};

// One core-*.img; nothing: it is none. `first`: it is the agent's.
std::optional<std::string> EditCore(std::string_view image, const EditOrder& order, bool first);

// Another image, by its name: with other owners. Nothing: it is none of its kind.
std::optional<std::string> EditOwners(std::string_view name, std::string_view image, uid_t uid);
// ghost-file-*.img, of which `head` is the beginning: what is to stand there.
std::optional<std::string> EditGhostHead(std::string_view head, uid_t uid);
// How much of that is wanted.
constexpr size_t kGhostHead = 4096;

// Whether a core-*.img is of a process that was stopped, as by SIGSTOP.
bool SaysStopped(std::string_view image);

// All that there are, in `folder`. The numbers of those that were stopped.
Result<std::vector<pid_t>> EditImages(const std::string& folder, const EditOrder& order);

}  // namespace spore
