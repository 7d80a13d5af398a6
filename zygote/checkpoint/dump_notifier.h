// Answers what the filter of CRIU asks about (dump_filter.h, seccomp_unotify(2)).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <vector>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/session_cgroup.h"

namespace spore {

enum class CriuEnd {
  kWillExit,  // it waits in exit_group(2), and still has what it has
  kDied,      // killed
  kLate,
};

class DumpNotifier {
 public:
  struct Parts {
    UniqueFd listener;
    int transport = -1;  // transport_socket.h
    pid_t criu = 0;      // its number, and
    int criu_pidfd = -1;
    std::vector<pid_t> held;  // all threads of the session, in its pid namespace
    const SessionCgroup& cgroup;
  };
  explicit DumpNotifier(Parts parts)
      : parts_(std::move(parts)), held_(parts_.held.begin(), parts_.held.end()) {}

  // Until it ends.
  Result<CriuEnd> Serve(std::chrono::milliseconds limit);
  int exit_code() const { return exit_code_; }  // of one that will exit

 private:
  struct Notification;
  Result<bool> ServeOne();
  Result<> Answer(uint64_t id, bool in_its_place) const;
  Result<> AnswerTrace(uint64_t id, uint64_t request, pid_t tid);
  Result<> GiveSocket(uint64_t id) const;
  Result<> GiveOption(uint64_t id, int fd, uint64_t value) const;

  Parts parts_;
  std::set<pid_t> held_, interrupted_;
  int exit_code_ = -1;
};

}  // namespace spore
