#include "daemon/egress/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace spore::egress {
namespace {

struct Block {
  const char* network;
  int bits;
  Kind kind;
};

// RFC 6890 and the registries that it began; the first that fits decides.
constexpr Block kBlocks[] = {
    {"0.0.0.0", 8, Kind::kNever},
    {"10.0.0.0", 8, Kind::kPrivate},
    {"100.64.0.0", 10, Kind::kPrivate},
    {"127.0.0.0", 8, Kind::kHost},
    {"168.63.129.16", 32, Kind::kHost},  // public by number, but a cloud's (Azure's) inside of its
                                         // hosts
    {"169.254.0.0", 16, Kind::kHost},
    {"172.16.0.0", 12, Kind::kPrivate},
    {"192.0.0.0", 24, Kind::kPrivate},
    {"192.168.0.0", 16, Kind::kPrivate},
    {"198.18.0.0", 15, Kind::kPrivate},
    {"224.0.0.0", 3, Kind::kNever},
    {"::", 128, Kind::kNever},
    {"::1", 128, Kind::kHost},
    {"::", 96, Kind::kNever},
    {"64:ff9b:1::", 48, Kind::kPrivate},
    {"100::", 64, Kind::kNever},
    {"2001::", 32, Kind::kPrivate},
    {"fc00::", 7, Kind::kPrivate},
    {"fe80::", 10, Kind::kHost},
    {"fec0::", 10, Kind::kPrivate},
    {"ff00::", 8, Kind::kNever},
};

Address V4At(const Address& address, size_t at) {
  Address inner;
  std::copy_n(address.bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, inner.bytes.begin());
  return inner;
}

bool InBlock(const Address& address, const char* network, int bits) {
  const auto parsed = ParseAddress(network);
  return parsed && IsWithin(address, *parsed, bits);
}

}  // namespace

std::optional<Address> ParseAddress(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof buffer || text.find('\0') != text.npos)
    return std::nullopt;
  memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  Address address;
  if (inet_pton(AF_INET, buffer, address.bytes.data()) == 1) return address;
  address.v4 = false;
  if (inet_pton(AF_INET6, buffer, address.bytes.data()) != 1) return std::nullopt;
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (memcmp(address.bytes.data(), kMapped, sizeof kMapped) == 0) return V4At(address, 12);
  return address;
}

std::string ToText(const Address& address) {
  char buffer[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.v4 ? AF_INET : AF_INET6, address.bytes.data(), buffer, sizeof buffer);
  return buffer;
}

std::string ToHost(const Address& address) {
  return address.v4 ? ToText(address) : "[" + ToText(address) + "]";
}

bool IsWithin(const Address& address, const Address& network, int bits) {
  if (address.v4 != network.v4) return false;
  const auto whole = static_cast<size_t>(bits / 8);
  if (memcmp(address.bytes.data(), network.bytes.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return ((address.bytes[whole] ^ network.bytes[whole]) & mask) == 0;
}

Kind KindOf(const Address& address) {
  for (const Block& block : kBlocks)
    if (InBlock(address, block.network, block.bits)) return block.kind;
  if (InBlock(address, "64:ff9b::", 96)) return KindOf(V4At(address, 12));
  if (InBlock(address, "2002::", 16)) return KindOf(V4At(address, 2));
  return Kind::kPublic;
}

std::string ToText(const Endpoint& endpoint) {
  return ToHost(endpoint.address) + ":" + std::to_string(endpoint.port);
}

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::optional<Endpoint> ParseEndpoint(std::string_view text, uint16_t port) {
  if (const auto bare = ParseAddress(text)) return Endpoint{*bare, port};
  const size_t colon = text.rfind(':');
  const std::string_view host = text.substr(0, colon);
  if (text.starts_with('[')) {
    if (text.ends_with(']')) {
      const auto address = ParseAddress(text.substr(1, text.size() - 2));
      return address ? std::optional(Endpoint{*address, port}) : std::nullopt;
    }
    if (!host.ends_with(']')) return std::nullopt;
  } else if (colon == text.npos || host.find(':') != host.npos) {
    return std::nullopt;
  }
  const auto address = ParseAddress(host.starts_with('[') ? host.substr(1, host.size() - 2) : host);
  const auto given = ParsePort(text.substr(colon + 1));
  if (!address || !given) return std::nullopt;
  return Endpoint{*address, *given};
}

socklen_t ToSockaddr(const Endpoint& endpoint, sockaddr_storage* storage) {
  memset(storage, 0, sizeof *storage);
  if (endpoint.address.v4) {
    auto* in = reinterpret_cast<sockaddr_in*>(storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    memcpy(&in->sin_addr, endpoint.address.bytes.data(), 4);
    return sizeof *in;
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(endpoint.port);
  memcpy(&in6->sin6_addr, endpoint.address.bytes.data(), 16);
  return sizeof *in6;
}

std::optional<Address> FromSockaddr(const sockaddr_storage& storage) {
  Address address;
  if (storage.ss_family == AF_INET) {
    memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, 4);
    return address;
  }
  if (storage.ss_family != AF_INET6) return std::nullopt;
  address.v4 = false;
  memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, 16);
  return address;
}

}  // namespace spore::egress
