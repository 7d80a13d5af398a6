// The way out of one session: its proxy, started again when it ends, and what has gone through it.
//
// The proxy reads what the tenant sends, so what it says is taken for the tenant's word: bounded,
// and printed with care. It is a process of the session's cgroup: what it uses the session pays.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/egress/protocol.h"
#include "daemon/egress/rules.h"
#include "daemon/loop/event_loop.h"
#include "daemon/loop/packet_channel.h"
#include "daemon/sessions/egress_proxies.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"
#include "spore/v1/sandboxes.pb.h"

namespace spore {

struct EgressSettings {
  std::vector<egress::Rule> rules;
  std::vector<egress::Endpoint> name_servers;  // none: those of the host's resolv.conf(5)
};

// CreateSandboxRequest.network, as `config` allows it; nothing for "none".
Result<std::optional<EgressSettings>> ParseNetwork(const std::string& text,
                                                   const SessionsConfig& config);
// The form that clients are shown.
std::string DescribeNetwork(const std::optional<EgressSettings>& settings);
// What tells programs of the proxy.
const std::map<std::string, std::string>& EgressEnvironment();

class SessionEgress {
 public:
  struct Handlers {
    std::function<void(Result<>)> on_first;  // it serves, or why it cannot; once, never from inside
    std::function<void(const std::string& line)> log;
  };
  // `cgroup` is borrowed until Stop.
  SessionEgress(EventLoop& loop, EgressProxies& proxies, EgressSettings settings, UniqueFd listener,
                Cgroup& cgroup, Handlers handlers);
  ~SessionEgress();
  SessionEgress(const SessionEgress&) = delete;
  SessionEgress& operator=(const SessionEgress&) = delete;

  Result<> Start();
  // Ends the proxy and with it all connections; the numbers stay.
  void Stop();
  void Describe(v1::Egress* info) const;

 private:
  void OnPacket(const Packet& packet);
  bool Flooded();
  void Ended(const std::string& why);
  void FirstDone(Result<> result);

  EventLoop& loop_;
  EgressProxies& proxies_;
  EgressSettings settings_;
  UniqueFd listener_;
  Cgroup* cgroup_;
  Handlers handlers_;
  bool stopped_ = false;
  bool serving_ = false;
  uint32_t restarts_ = 0;
  uint64_t started_ns_ = 0;
  std::chrono::milliseconds back_off_{};
  uint64_t packets_ = 0, packets_since_ns_ = 0;
  egress::Counters past_, now_;  // of proxies that have ended; of the one that is there
  EventLoop::TimerId restart_timer_ = 0;
  std::optional<EgressProxies::Process> process_;
  std::unique_ptr<PacketChannel> channel_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
