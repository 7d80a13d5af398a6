#include "daemon/egress/rules.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace spore::egress {
namespace {

constexpr std::string_view kExpected =
    "expected HOST:PORT, as in pypi.org:443, *.example.com:443, 10.0.0.0/8:80 or [2001:db8::1]:443";
constexpr size_t kMaxLabel = 63;
constexpr size_t kShown = 80;

Error Wrong(std::string_view rule, const std::string& what) {
  return {ErrorKind::kInvalid,
          0,
          "rule \"" + std::string(rule.substr(0, kShown)) + "\": " + what,
          {},
          {}};
}

bool IsLabel(std::string_view label) {
  if (label.empty() || label.size() > kMaxLabel) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(), [](unsigned char c) {
    return (c < 128 && std::isalnum(c) != 0) || c == '-' || c == '_';
  });
}

Result<> ParsePorts(std::string_view rule, std::string_view text, Rule* parsed) {
  if (text == "*") {
    parsed->first = 1;
    parsed->last = 65535;
    return {};
  }
  const size_t dash = text.find('-');
  const auto first = ParsePort(text.substr(0, dash));
  const auto last = dash == text.npos ? first : ParsePort(text.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return tl::unexpected(
        Wrong(rule, "port \"" + std::string(text.substr(0, kShown)) +
                        "\"; expected 1 to 65535, a range as in 8000-8010, or *"));
  }
  parsed->first = *first;
  parsed->last = *last;
  return {};
}

// "10.0.0.0/8", without brackets.
Result<> ParseNetwork(std::string_view rule, std::string_view text, Rule* parsed) {
  const size_t slash = text.find('/');
  const auto address = ParseAddress(text.substr(0, slash));
  if (!address) {
    return tl::unexpected(
        Wrong(rule, "\"" + std::string(text.substr(0, kShown)) + "\" is no address or network"));
  }
  parsed->match = Rule::Match::kNetwork;
  parsed->network = *address;
  parsed->bits = address->bits();
  if (slash == text.npos) return {};
  const std::string_view length = text.substr(slash + 1);
  int bits = -1;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
  if (error != std::errc() || end != length.data() + length.size() || bits < 0 ||
      bits > address->bits()) {
    return tl::unexpected(Wrong(rule, "network length \"" + std::string(length.substr(0, kShown)) +
                                          "\"; expected 0 to " + std::to_string(address->bits())));
  }
  parsed->bits = bits;
  Address mask = *address;
  for (int bit = bits; bit < address->bits(); ++bit) {
    auto& byte = mask.bytes[static_cast<size_t>(bit / 8)];
    byte = static_cast<uint8_t>(byte & ~(0x80 >> (bit % 8)));
  }
  if (mask != *address) {
    return tl::unexpected(Wrong(rule, "it has bits beyond its length; expected " + ToText(mask) +
                                          "/" + std::to_string(bits)));
  }
  return {};
}

Result<> ParseHost(std::string_view rule, std::string_view host, Rule* parsed) {
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.find(':') == host.npos)
      return tl::unexpected(Wrong(rule, std::string(kExpected)));
    return ParseNetwork(rule, host.substr(1, host.size() - 2), parsed);
  }
  if (host.find(':') != host.npos) {
    return tl::unexpected(
        Wrong(rule, "an IPv6 address stands in brackets, as in [2001:db8::1]:443"));
  }
  if (host == "*") {
    parsed->match = Rule::Match::kPublic;
    return {};
  }
  if (host.find('/') != host.npos || ParseAddress(host)) return ParseNetwork(rule, host, parsed);
  const bool below = host.starts_with("*.");
  const auto name = NormalName(below ? host.substr(2) : host);
  if (!name) {
    const bool star = host.find('*') != host.npos;
    return tl::unexpected(Wrong(rule, star ? "a * stands alone or in front, as in *.example.com"
                                           : "\"" + std::string(host.substr(0, kShown)) +
                                                 "\" is neither a host name nor an address"));
  }
  parsed->match = below ? Rule::Match::kBelow : Rule::Match::kName;
  parsed->name = *name;
  return {};
}

bool IsBelow(const std::string& name, const std::string& top) {
  return name.size() > top.size() + 1 && name.ends_with(top) &&
         name[name.size() - top.size() - 1] == '.';
}

const char* Describe(Kind kind) {
  return kind == Kind::kPrivate ? "a private address" : "an address of the host itself";
}

}  // namespace

std::optional<std::string> NormalName(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > kMaxName) return std::nullopt;
  std::string_view last;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('.', at), text.size());
    last = text.substr(at, end - at);
    if (!IsLabel(last)) return std::nullopt;
    at = end + 1;
  }
  // No top-level domain begins with a digit; inet_aton(3) takes such for numbers.
  if (std::isdigit(static_cast<unsigned char>(last.front())) != 0) return std::nullopt;
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

std::string ToText(const Rule& rule) {
  std::string host = rule.name;
  if (rule.match == Rule::Match::kBelow) host = "*." + rule.name;
  if (rule.match == Rule::Match::kPublic) host = "*";
  if (rule.match == Rule::Match::kNetwork) {
    host = ToText(rule.network);
    if (!rule.IsOneAddress()) host += "/" + std::to_string(rule.bits);
    if (!rule.network.v4) host = "[" + host + "]";
  }
  if (rule.first == 1 && rule.last == 65535) return host + ":*";
  host += ":" + std::to_string(rule.first);
  return rule.first == rule.last ? host : host + "-" + std::to_string(rule.last);
}

std::string ToText(std::span<const Rule> rules) {
  std::string text;
  for (const Rule& rule : rules) text += (text.empty() ? "" : ",") + ToText(rule);
  return text;
}

Result<Rule> ParseRule(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0 || text.ends_with(']'))
    return tl::unexpected(Wrong(text, std::string(kExpected)));
  Rule rule;
  SPORE_TRY(ParseHost(text, text.substr(0, colon), &rule));
  SPORE_TRY(ParsePorts(text, text.substr(colon + 1), &rule));
  return rule;
}

Result<std::vector<Rule>> ParseRules(std::string_view text) {
  if (text.size() > kMaxRulesBytes) {
    return MakeError(ErrorKind::kInvalid, "the rules have " + std::to_string(text.size()) +
                                              " bytes; expected at most " +
                                              std::to_string(kMaxRulesBytes));
  }
  std::vector<Rule> rules;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    SPORE_ASSIGN(Rule rule, ParseRule(text.substr(at, end - at)));
    const bool known = std::any_of(rules.begin(), rules.end(), [&](const Rule& other) {
      return ToText(other) == ToText(rule);
    });
    if (!known) rules.push_back(std::move(rule));
    at = end + 1;
  }
  if (rules.size() > kMaxRules) {
    return MakeError(
        ErrorKind::kInvalid,
        std::to_string(rules.size()) + " rules; expected at most " + std::to_string(kMaxRules));
  }
  return rules;
}

bool Covers(const Rule& wide, const Rule& narrow) {
  if (narrow.first < wide.first || narrow.last > wide.last) return false;
  switch (wide.match) {
    case Rule::Match::kPublic:
      // Of an address only where all of what it names is public.
      return narrow.match != Rule::Match::kNetwork ||
             (narrow.IsOneAddress() && KindOf(narrow.network) == Kind::kPublic);
    case Rule::Match::kName:
      return narrow.match == Rule::Match::kName && narrow.name == wide.name;
    case Rule::Match::kBelow:
      if (narrow.match == Rule::Match::kBelow)
        return narrow.name == wide.name || IsBelow(narrow.name, wide.name);
      return narrow.match == Rule::Match::kName && IsBelow(narrow.name, wide.name);
    case Rule::Match::kNetwork:
      return narrow.match == Rule::Match::kNetwork && narrow.bits >= wide.bits &&
             IsWithin(narrow.network, wide.network, wide.bits) &&
             // What is of the host has to be named one by one, by the operator as well.
             (KindOf(narrow.network) != Kind::kHost || !narrow.IsOneAddress() ||
              wide.IsOneAddress());
  }
  return false;
}

const Rule* FirstBeyond(std::span<const Rule> ceiling, std::span<const Rule> asked) {
  for (const Rule& rule : asked) {
    const bool covered = std::any_of(ceiling.begin(), ceiling.end(),
                                     [&](const Rule& wide) { return Covers(wide, rule); });
    if (!covered) return &rule;
  }
  return nullptr;
}

void VouchForHost(std::span<const Rule> ceiling, std::span<Rule> asked) {
  for (Rule& rule : asked) {
    rule.reaches_host =
        rule.IsOneAddress() && std::any_of(ceiling.begin(), ceiling.end(), [&](const Rule& wide) {
          return wide.IsOneAddress() && Covers(wide, rule);
        });
  }
}

bool AllowsName(std::span<const Rule> rules, const std::string& name, uint16_t port) {
  return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) {
    if (!rule.HasPort(port)) return false;
    if (rule.match == Rule::Match::kPublic) return true;
    if (rule.match == Rule::Match::kName) return rule.name == name;
    return rule.match == Rule::Match::kBelow && IsBelow(name, rule.name);
  });
}

std::string WhyRefused(std::span<const Rule> rules, const Endpoint& to, bool listed_name,
                       bool own) {
  const Kind kind = own ? std::max(Kind::kHost, KindOf(to.address)) : KindOf(to.address);
  if (kind == Kind::kNever) return ToText(to.address) + " is no address to connect to";
  for (const Rule& rule : rules) {
    if (!rule.HasPort(to.port)) continue;
    if (rule.match == Rule::Match::kPublic && kind == Kind::kPublic) return {};
    if (rule.match != Rule::Match::kNetwork || !IsWithin(to.address, rule.network, rule.bits))
      continue;
    if (kind != Kind::kHost || rule.reaches_host) return {};
  }
  if (kind == Kind::kPublic) return listed_name ? "" : "no rule lists it";
  return (listed_name ? "it leads to " + ToText(to.address) + ", " : "it is ") + Describe(kind) +
         " that no rule lists by " + (kind == Kind::kHost ? "exactly this address" : "address");
}

}  // namespace spore::egress
