#include "daemon/egress/dns.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace spore::egress {
namespace {

constexpr size_t kHeader = 12;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kTypeOpt = 41;
constexpr uint16_t kMaxRecords = 256;  // looked at
constexpr int kMaxPointers = 32;       // of one name

void Put16(std::string* out, uint16_t value) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value & 0xff));
}

// Reads within the message, never beyond it; after a failure all is 0.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> message) : message_(message) {}

  bool ok() const { return ok_; }
  uint16_t U16() {
    if (!Has(2)) return 0;
    const auto value = static_cast<uint16_t>(message_[at_] << 8 | message_[at_ + 1]);
    at_ += 2;
    return value;
  }
  std::span<const uint8_t> Bytes(size_t count) {
    if (!Has(count)) return {};
    const auto part = message_.subspan(at_, count);
    at_ += count;
    return part;
  }
  // In lower case, with dots; a pointer leads back only, so it comes to an end.
  std::string Name() {
    std::string name;
    size_t at = at_, limit = at_;
    bool jumped = false;
    for (int pointers = 0;;) {
      if (at >= message_.size()) return Fail();
      const uint8_t length = message_[at];
      if ((length & 0xc0) == 0xc0) {
        if (at + 1 >= message_.size() || ++pointers > kMaxPointers) return Fail();
        const size_t target = static_cast<size_t>(length & 0x3f) << 8 | message_[at + 1];
        if (!jumped) at_ = at + 2;
        jumped = true;
        if (target >= limit) return Fail();
        at = limit = target;
        continue;
      }
      if ((length & 0xc0) != 0 || at + 1 + length > message_.size()) return Fail();
      if (length == 0) {
        if (!jumped) at_ = at + 1;
        return name;
      }
      if (!name.empty()) name += '.';
      for (size_t i = 0; i < length; ++i)
        name += static_cast<char>(std::tolower(message_[at + 1 + i]));
      if (name.size() > 255) return Fail();
      at += 1 + static_cast<size_t>(length);
    }
  }

 private:
  bool Has(size_t count) {
    ok_ = ok_ && count <= message_.size() - at_;
    return ok_;
  }
  std::string Fail() {
    ok_ = false;
    return {};
  }

  std::span<const uint8_t> message_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace

std::string MakeQuery(uint16_t id, const std::string& name, uint16_t type) {
  std::string query;
  Put16(&query, id);
  Put16(&query, 0x0100);  // recursion desired
  // One question, no answer, no authority, one record beside: OPT.
  for (const bool count : {true, false, false, true}) Put16(&query, count ? 1 : 0);
  for (size_t at = 0; at < name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    query.push_back(static_cast<char>(end - at));
    query.append(name, at, end - at);
    at = end + 1;
  }
  query.push_back('\0');
  Put16(&query, type);
  Put16(&query, kClassIn);
  query.push_back('\0');  // OPT, of the root
  Put16(&query, kTypeOpt);
  Put16(&query, kMaxDnsMessage);
  query.append(6, '\0');  // no extended code, version 0, no flags, no options
  return query;
}

std::optional<DnsAnswer> ParseAnswer(std::span<const uint8_t> message, uint16_t id,
                                     const std::string& name, uint16_t type) {
  if (message.size() < kHeader) return std::nullopt;
  Reader reader(message);
  const uint16_t got_id = reader.U16(), flags = reader.U16();
  const uint16_t questions = reader.U16(), records = reader.U16();
  (void)reader.Bytes(4);
  if (got_id != id || (flags & 0x8000) == 0 || (flags & 0x7800) != 0) return std::nullopt;
  const int code = flags & 0xf;
  DnsAnswer answer;
  if (questions != 1) return std::nullopt;
  const bool ours = reader.Name() == name && reader.U16() == type && reader.U16() == kClassIn;
  if (!reader.ok() || !ours) return std::nullopt;
  if (code == 3) {
    answer.code = DnsAnswer::Code::kNoSuchName;
    return answer;
  }
  if (code != 0) return answer;
  for (uint16_t i = 0; i < std::min(records, kMaxRecords); ++i) {
    (void)reader.Name();
    const uint16_t of_type = reader.U16(), of_class = reader.U16();
    (void)reader.Bytes(4);
    const auto data = reader.Bytes(reader.U16());
    if (!reader.ok()) break;  // cut: what came before is as good as it was
    const size_t length = type == kTypeA ? 4 : 16;
    if (of_type != type || of_class != kClassIn || data.size() != length) continue;
    Address address{.v4 = type == kTypeA};
    std::copy(data.begin(), data.end(), address.bytes.begin());
    // An IPv4 address in IPv6's clothes is judged as what it is.
    if (const auto plain = ParseAddress(ToText(address)))
      if (answer.addresses.size() < kMaxAddresses) answer.addresses.push_back(*plain);
  }
  const bool cut = (flags & 0x0200) != 0 || !reader.ok();
  answer.code = !answer.addresses.empty() ? DnsAnswer::Code::kAddresses
                : cut                     ? DnsAnswer::Code::kCut
                                          : DnsAnswer::Code::kNone;
  return answer;
}

}  // namespace spore::egress
