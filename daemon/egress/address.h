// IP addresses, and what kind of place each is: decides what a rule by name may lead to.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spore::egress {

struct Address {
  std::array<uint8_t, 16> bytes{};  // in network order; of IPv4 the first four
  bool v4 = true;

  int bits() const { return v4 ? 32 : 128; }
  auto operator<=>(const Address&) const = default;
};

// "10.1.2.3", "2001:db8::1": the forms of inet_pton(3) and no others, so neither "127.1" nor
// "0x7f000001". An IPv4 address in IPv6's clothes (::ffff:10.1.2.3) is that IPv4 address.
std::optional<Address> ParseAddress(std::string_view text);
std::string ToText(const Address& address);
// As it stands before a port: "10.1.2.3", "[2001:db8::1]".
std::string ToHost(const Address& address);
// Whether the first `bits` bits are those of `network`.
bool IsWithin(const Address& address, const Address& network, int bits);

// Ascending: what embeds an IPv4 address (NAT64, 6to4) is of the worse kind of the two.
enum class Kind {
  kPublic,
  kPrivate,  // RFC 1918, RFC 6598 (carriers' NAT), fc00::/7, and what is set aside for tests and
             // tunnels
  kHost,     // loopback and link-local, where clouds keep their metadata services
  kNever,    // unspecified, multicast, broadcast, reserved: nothing to connect to
};
Kind KindOf(const Address& address);

struct Endpoint {
  Address address;
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};
std::string ToText(const Endpoint& endpoint);
// "10.1.2.3:53", "[2001:db8::1]:53", or without a port: `port`.
std::optional<Endpoint> ParseEndpoint(std::string_view text, uint16_t port);

// For connect(2) and its kin. Returns the length.
socklen_t ToSockaddr(const Endpoint& endpoint, sockaddr_storage* storage);
std::optional<Address> FromSockaddr(const sockaddr_storage& storage);

// Digits only, 1 to 65535.
std::optional<uint16_t> ParsePort(std::string_view text);

}  // namespace spore::egress
