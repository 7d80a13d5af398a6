// The programs that were executed in a session: their ends, and what they wrote.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/common/session_output.h"
#include "zygote/session_protocol.h"

namespace spore {

class SessionExecs {
 public:
  explicit SessionExecs(size_t output_bytes) : output_bytes_(output_bytes) {}

  // kExec: the body of its answer.
  std::string Start(session::Reader& ask, std::vector<UniqueFd> fds);
  // kSignal. An errno, or 0.
  int Signal(uint32_t id, int signal);
  // kReadOutput: the answer's body when there is something to say, or `now`.
  std::optional<std::string> ReadOutput(session::Reader& ask, bool now);
  // Whether the process was one of these; `event` is then the body to tell.
  bool Ended(const siginfo_t& info, std::string& event);

  // For the agent's poll: appends what to wait for, and takes what came of it, in the same order.
  void AddPolls(std::vector<pollfd>& polls) const;
  void Serve(const pollfd*& polled);
  // 0: none of these.
  uint32_t IdOf(pid_t pid) const;

 private:
  struct Stream {
    explicit Stream(size_t most) : ring(most) {}
    UniqueFd pipe;  // none at its end
    OutputRing ring;
  };
  struct Exec {
    pid_t pid = 0;  // 0: it has ended
    bool with_output = false;
    std::optional<Stream> out, err;
  };
  bool KeepStreams(session::Reader& ask, Exec& exec, int (&streams)[3], std::vector<UniqueFd>& own);
  void ForgetOldest();

  size_t output_bytes_;
  std::map<uint32_t, Exec> execs_;
};

}  // namespace spore
