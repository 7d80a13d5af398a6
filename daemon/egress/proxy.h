// The proxy of one session: accepts its connections, keeps their number and time bounded, and tells
// spored what has become of them.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "daemon/egress/connection.h"

namespace spore::egress {

struct Settings {
  std::vector<Rule> rules;
  std::vector<Endpoint> servers;
  std::string hosts;  // text of hosts(5)
};
// What spored has sent (protocol.h).
Result<Settings> ParseSettings(const std::string& text);

class Proxy {
 public:
  // Both descriptors are borrowed.
  Proxy(Poller& poller, Settings settings, int listener, int control);
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  // Until spored has gone.
  Result<> Serve();

 private:
  void Accept();
  void Log(const std::string& line);
  void Report(const std::string& line);
  bool Changed() const;
  void ReportIfChanged(uint64_t now_ms);
  void Refill(uint64_t now_ms);
  void Sweep(uint64_t now_ms);

  Poller& poller_;
  Settings settings_;
  int listener_, control_;
  bool over_ = false;
  bool accepts_ = false;
  Counters counters_, told_;
  uint64_t told_ms_ = 0;
  uint64_t tokens_ms_ = 0;  // when the last one came
  uint32_t tokens_;
  uint64_t unsaid_ = 0;  // lines
  uint64_t swept_ms_ = 0;
  Resolver resolver_;
  Surroundings surroundings_;
  std::list<Connection> connections_;
};

}  // namespace spore::egress
