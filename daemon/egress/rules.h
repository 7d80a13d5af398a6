// Where a session's connections may go: rules HOST:PORT, what an operator allows to be asked for,
// and what they say of a connection.
//
//   pypi.org:443          a host name, exactly
//   *.example.com:443     names below it, however deep, not itself
//   *:443                 every public host, by name or address
//   10.1.2.3:5432         an address; [2001:db8::1]:443 of IPv6
//   10.0.0.0/8:80         a network; [2001:db8::/32]:443
//   HOST:8000-8010        a range of ports; HOST:* all
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/egress/address.h"
#include "sandbox/sys/result.h"

namespace spore::egress {

constexpr size_t kMaxRules = 64;
constexpr size_t kMaxRulesBytes = 4096;  // of their text together
constexpr size_t kMaxName = 253;

struct Rule {
  enum class Match { kName, kBelow, kPublic, kNetwork };
  Match match = Match::kName;
  std::string name;  // of kName and kBelow, in lower case
  Address network;   // of kNetwork
  int bits = 0;
  uint16_t first = 0, last = 0;  // ports
  // Of one address: that may be the host's own. An operator says so, by listing the address itself.
  bool reaches_host = false;

  bool HasPort(uint16_t port) const { return first <= port && port <= last; }
  bool IsOneAddress() const { return match == Match::kNetwork && bits == network.bits(); }
};
std::string ToText(const Rule& rule);
std::string ToText(std::span<const Rule> rules);  // with commas

// kInvalid says what is wrong with it, and names it.
Result<Rule> ParseRule(std::string_view text);
// With commas between them; at least one. Those that are there twice are kept once.
Result<std::vector<Rule>> ParseRules(std::string_view text);

// Whether all that `narrow` allows is allowed by `wide`.
bool Covers(const Rule& wide, const Rule& narrow);
// The first of `asked` that no rule of `ceiling` covers; null: there is none.
const Rule* FirstBeyond(std::span<const Rule> ceiling, std::span<const Rule> asked);
// Sets reaches_host of those that `ceiling` has such a rule for.
void VouchForHost(std::span<const Rule> ceiling, std::span<Rule> asked);

// A host name as DNS has them, in lower case and without the dot at the end; nothing of what is
// none, and of what might be taken for an address ("127.1", "0x7f.1").
std::optional<std::string> NormalName(std::string_view text);

// Whether this name may be looked up at all, to connect to that port.
bool AllowsName(std::span<const Rule> rules, const std::string& name, uint16_t port);
// Why an address may not be connected to; empty: it may. `listed_name`: it is what a name that
// AllowsName has led to. `own`: it is one of this host.
std::string WhyRefused(std::span<const Rule> rules, const Endpoint& to, bool listed_name, bool own);

}  // namespace spore::egress
