// The programs that were executed in a session, as spored knows them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/loop/close_aside.h"
#include "daemon/loop/event_loop.h"
#include "daemon/sessions/agent_link.h"
#include "sandbox/sys/result.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

class ExecTable {
 public:
  using Done = std::function<void(Result<v1::ExecResponse>)>;
  using Waited = std::function<void(const v1::Execution&)>;
  // `oom_kills`: how many processes of the session the kernel has ended for want of memory, so far.
  ExecTable(EventLoop& loop, AgentLink& agent, std::function<uint64_t()> oom_kills);
  ~ExecTable();
  ExecTable(const ExecTable&) = delete;
  ExecTable& operator=(const ExecTable&) = delete;

  // The request is valid, the descriptors are what it needs. `done` is called once: with detach
  // when the program has started, else when it has ended. Returns the id.
  uint32_t Start(const v1::ExecRequest& request, std::vector<ClientFd> fds, Done done);
  // Who asked has gone: its process group is killed, now or as soon as it has started.
  void Cancel(uint32_t id);
  // Those of a session that has come from disk, before anything else: they were started elsewhere,
  // and go on here. `last` is the highest id so far.
  void Adopt(const std::vector<v1::Execution>& execs, uint32_t last);
  // The agent tells of an end. False: of one that is not running.
  bool OnEnded(session::Reader& event);
  // The session has ended, and with it all of them.
  void EndAll(const std::string& message);

  // Null: none of that id, or it was forgotten.
  const v1::Execution* Find(uint32_t id) const;
  std::vector<v1::Execution> List() const;
  // Calls back at its end, or after the time; at once if it has ended. Returns an id for
  // CancelWait.
  uint64_t Wait(uint32_t id, std::chrono::milliseconds most, Waited waited);
  void CancelWait(uint64_t wait);
  size_t running() const { return running_; }
  uint32_t started() const { return last_id_; }

 private:
  struct Record {
    v1::Execution info;
    Done done;
    bool detach = false;
    bool cancelled = false;
    EventLoop::TimerId timer = 0;
    v1::ExecResponse response;
  };
  struct Waiter {
    uint32_t exec = 0;
    Waited waited;
    EventLoop::TimerId timer = 0;
  };
  void OnStarted(uint32_t id, Result<std::string> answer, uint64_t timeout_ms);
  void Signal(uint32_t id, int signal);
  void End(uint32_t id, Record& record);
  void WakeWaiters(uint32_t id);
  void Answer(Record& record);
  void ForgetOldest();

  EventLoop& loop_;
  AgentLink& agent_;
  std::function<uint64_t()> oom_kills_;
  uint64_t oom_kills_seen_ = 0;
  uint32_t last_id_ = 0;
  uint64_t last_wait_ = 0;
  size_t running_ = 0;
  std::map<uint32_t, Record> records_;
  std::map<uint64_t, Waiter> waiters_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
