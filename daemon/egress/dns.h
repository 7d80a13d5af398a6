// DNS messages (RFC 1035, EDNS RFC 6891): one question asked, addresses read from the answer. What
// comes is hostile: a name server of somebody else's may have written it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/egress/address.h"

namespace spore::egress {

constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypeAaaa = 28;
constexpr size_t kMaxDnsMessage = 1232;  // that we say we take; larger ones are cut by the server
constexpr size_t kMaxAddresses = 16;     // of one answer; the rest is ignored

// A question for a name that NormalName has given.
std::string MakeQuery(uint16_t id, const std::string& name, uint16_t type);

struct DnsAnswer {
  enum class Code { kAddresses, kNone, kNoSuchName, kCut, kFailed };
  Code code = Code::kFailed;
  std::vector<Address> addresses;
};
// Nothing where it is no answer to that question: it is then ignored, as anybody may send anything.
std::optional<DnsAnswer> ParseAnswer(std::span<const uint8_t> message, uint16_t id,
                                     const std::string& name, uint16_t type);

}  // namespace spore::egress
