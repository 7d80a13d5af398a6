// A session taken out of CRIU's hand.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "zygote/checkpoint/session_cgroup.h"
#include "zygote/checkpoint/session_snapshot.h"

namespace spore {

// Stops CRIU for good, freezes the session, sees that it is as it was (`before`), and then lets go
// what CRIU still holds: `held`, in the session's pid namespace. CRIU may be killed when this has
// returned; after an error that ends what it held.
Result<> TakeBack(pid_t criu, const std::vector<pid_t>& held, const SessionCgroup& cgroup,
                  const SessionSnapshot& before, pid_t agent);

// The same once more when CRIU and its children (`cgroups`) have been ended, which could do
// something until then, and that nothing is on its way over the session's sockets. The session is
// still frozen; after an error it must not go on.
Result<> CheckTakenBack(const std::vector<std::string>& cgroups, const SessionCgroup& cgroup,
                        const SessionSnapshot& before, pid_t agent);

// Everything in these cgroups, and waits for the end of it.
Result<> EndOthers(const std::vector<std::string>& cgroups);

}  // namespace spore
