// The process of a session in which pieces of code run, one after another.
//
// A copy of the agent, and so of the zygote: made when the first piece comes, made again after it
// has ended. Between the two goes, on a socket that is kInstanceFd there, first kLoad (fields
// kVariable), then kInvoke (the code) and kResponse (fields of what came of it) in turn. The
// tenant's code can write there what it likes, or nothing.
#pragma once

#include <poll.h>
#include <signal.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/common/session_output.h"
#include "zygote/protocol.h"
#include "zygote/session_protocol.h"

namespace spore {

class SessionInterpreter {
 public:
  struct Places {
    int streams[3], channel;
  };
  // `tell(type, id, body)`; `copy` as of SessionHost.
  using Tell = std::function<void(wire::FrameType, uint64_t, std::string)>;
  SessionInterpreter(std::function<pid_t()> copy, size_t output_bytes, std::string load, Tell tell)
      : copy_(std::move(copy)),
        most_(output_bytes),
        load_(std::move(load)),
        tell_(std::move(tell)) {}

  // kRunCode. True in the interpreter itself, which then places `places()` and returns to its host.
  bool Run(uint64_t ask, std::string_view code);
  // kAdoptCode. True likewise. The process is given, from outside, what another session's has in
  // memory; what it says of a piece of code that it is in the middle of then is for nobody.
  bool Adopt(uint64_t ask, uint64_t runs);
  // The session has come from disk: likewise.
  void Restored();
  const Places& places() const { return places_; }
  // SIGINT for the code that runs; false: none does.
  bool Interrupt();
  bool Restart();  // false: there is no interpreter

  // Whether it was this one that ended.
  bool Ended(const siginfo_t& info);
  void AddPolls(std::vector<pollfd>& polls) const;
  void Serve(const pollfd*& polled);
  // Something was written while no code ran, and is told soon.
  bool has_background() const;
  pid_t pid() const { return pid_; }
  uint64_t runs() const { return runs_; }

 private:
  bool Start();
  void ReadOutput();
  void ReadChannel();
  bool TakeBegun(const wire::FrameHeader& header);
  bool DropOrphans();
  bool Refuse(uint64_t ask, int error, const char* what);
  void Flush();
  void Answer(std::string_view fields);
  void GiveUp(const char* why);
  void TellBackground(bool at_once);

  std::function<pid_t()> copy_;
  size_t most_;
  std::string load_;
  Tell tell_;
  Places places_{};
  pid_t pid_ = 0;
  UniqueFd channel_;
  UniqueFd out_, err_;
  std::string to_send_, received_;
  std::optional<uint64_t> ask_;  // whose code runs
  uint64_t runs_ = 0;
  uint64_t adopted_ = 0;     // so many of them elsewhere
  bool renew_ = false;       // a kLoad goes before the next piece of code: it is in a branch
  bool begun_ = false;       // it says so: from then on SIGINT is for this code
  bool interrupts_ = false;  // as soon as it has begun
  const char* given_up_ = nullptr;
  OutputHead kept_[2];
  uint64_t told_ns_ = 0;
};

}  // namespace spore
