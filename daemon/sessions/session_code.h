// The pieces of code of a session: one after another, each in its time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "daemon/loop/event_loop.h"
#include "daemon/sessions/agent_link.h"
#include "sandbox/sys/result.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

class SessionCode {
 public:
  using Done = std::function<void(Result<v1::RunCodeResponse>)>;
  SessionCode(EventLoop& loop, AgentLink& agent);
  ~SessionCode();
  SessionCode(const SessionCode&) = delete;
  SessionCode& operator=(const SessionCode&) = delete;

  // `timeout_ms` 0: none. `done` is called once, unless it is cancelled. Returns an id for Cancel.
  uint64_t Run(std::string code, uint64_t timeout_ms, Done done);
  // Who asked has gone: it leaves the queue, or is interrupted, and ended if that does not help.
  void Cancel(uint64_t id);
  // The session has ended.
  void FailAll(const Error& error);
  uint64_t runs() const { return runs_; }
  bool running() const { return running_ != nullptr; }

 private:
  struct Job {
    uint64_t id = 0;
    std::string code;
    uint64_t timeout_ms = 0;
    Done done;  // null: nobody waits any more
    uint64_t started_ns = 0;
    bool timed_out = false;
    EventLoop::TimerId timer = 0;
  };
  void Next();
  void Answered(Result<std::string> answer);
  void Stop();
  void Order(session::Op op);

  EventLoop& loop_;
  AgentLink& agent_;
  uint64_t last_id_ = 0;
  uint64_t runs_ = 0;
  std::deque<std::unique_ptr<Job>> queue_;
  std::unique_ptr<Job> running_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
