// Names to addresses: /etc/hosts as it was at the start, then the name servers over UDP, asked for
// A and AAAA at once, one server after the other. Nothing is kept.
//
// Only names that a rule lists come here: a question is itself something that leaves the sandbox.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/egress/dns.h"
#include "daemon/egress/poller.h"

namespace spore::egress {

struct Resolved {
  std::vector<Address> addresses;  // those of IPv4 first
  std::string problem;             // why there are none
};

class Resolver {
 public:
  using Done = std::function<void(const Resolved& resolved)>;
  Resolver(Poller& poller, std::vector<Endpoint> servers, const std::string& hosts_text);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `done` is called once, never from inside. Returns an id for Cancel.
  uint64_t Resolve(const std::string& name, Done done);
  void Cancel(uint64_t id);
  // To be called now and then: asks again, the next server, or gives up.
  void Tick(uint64_t now_ms);

 private:
  struct Lookup {
    std::string name;
    Done done;
    size_t attempt = 0;
    uint64_t until_ms = 0;
    UniqueFd socket;
    struct Question {
      uint16_t type = 0;
      uint16_t id = 0;
      bool answered = false;
      DnsAnswer answer;
    } questions[2];
    std::vector<Address> known;  // from /etc/hosts
  };
  void Ask(uint64_t id);
  void Answered(uint64_t id);
  bool TakeAnswers(Lookup& lookup);
  void Finish(uint64_t id, const std::string& problem);
  void CloseSocket(Lookup& lookup);

  Poller& poller_;
  std::vector<Endpoint> servers_;
  std::map<std::string, std::vector<Address>> hosts_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Lookup> lookups_;
};

// The name servers of a resolv.conf(5), the first three; 127.0.0.1 where it names none.
std::vector<Endpoint> ParseResolvConf(const std::string& text);

}  // namespace spore::egress
