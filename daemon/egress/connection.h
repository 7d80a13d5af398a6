// One connection of a client in the sandbox, and the one out of it that it asks for.
//
//   head --> resolving --> connecting --> tunnel
//     any --(refused, failed)--> replying --> over
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/egress/poller.h"
#include "daemon/egress/protocol.h"
#include "daemon/egress/request.h"
#include "daemon/egress/resolver.h"
#include "daemon/egress/rules.h"

namespace spore::egress {

// What connections share.
struct Surroundings {
  Poller& poller;
  Resolver& resolver;
  const std::vector<Rule>& rules;
  Counters& counters;
  std::function<void(const std::string& line)> log;  // bounded by whoever it belongs to
};

class Connection {
 public:
  Connection(Surroundings& surroundings, UniqueFd client);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool over() const { return state_ == State::kOver; }
  // To be called now and then: ends what has taken too long.
  void Tick(uint64_t now_ms);

 private:
  enum class State { kHead, kResolving, kConnecting, kTunnel, kReplying, kOver };
  // Bytes on their way in one direction.
  struct Flow {
    std::string data;
    bool ended = false;      // nothing more comes
    bool passed_on = false;  // and the receiver knows
  };
  void OnClient();
  void OnServer();
  void ReadHead();
  void Decide();
  void NameFound(const Resolved& resolved);
  void Admit(const std::vector<Address>& addresses, bool listed_name);
  void ConnectNext();
  void Connected();
  void Fail(int status, const std::string& what, uint64_t Counters::*counter);
  void Reply(const std::string& reply);
  void Move();
  bool Read(int fd, Flow* flow, uint64_t* count);
  bool Write(int fd, Flow* flow);
  void Watch();
  void DropServer();
  void End();

  Surroundings& all_;
  UniqueFd client_, server_;
  bool counted_ = false;  // among the open ones
  State state_ = State::kHead;
  uint64_t deadline_ms_;
  uint64_t attempt_until_ms_ = 0;
  RequestReader reader_;
  uint64_t lookup_ = 0;
  std::deque<Endpoint> candidates_;
  std::string last_problem_;
  int last_status_ = 502;
  Flow out_, in_;  // to the server, to the client
};

// Whether connecting there would not leave this host.
bool IsOwnAddress(const Address& address);

}  // namespace spore::egress
