#include "daemon/checkpoints/checkpoint_parcel.h"

#include <nettle/sha2.h>

#include <algorithm>
#include <cctype>

#include "daemon/common/validate.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr std::string_view kMagic = "SPORECP1";
constexpr size_t kHashBytes = SHA256_DIGEST_SIZE;
constexpr int kMaxTies = 32;
constexpr size_t kMaxText = 512;
constexpr char kDigestPrefix[] = "sha256:";
constexpr size_t kIdDigits = 12;
constexpr size_t kDigestDigits = 64;

static_assert(kParcelPrefix == kMagic.size() + sizeof(uint32_t) + kHashBytes);

std::string Hash(std::string_view bytes) {
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  std::array<uint8_t, kHashBytes> digest;
  sha256_digest(&context, digest.size(), digest.data());
  return {digest.begin(), digest.end()};
}

bool IsHex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

bool IsText(const std::string& text) {
  return text.size() <= kMaxText && Printable(text) == text;
}

// NAME, or NAME@VERSION of an imported image.
bool IsImage(const std::string& name) {
  const size_t at = std::min(name.find('@'), name.size());
  const std::string version = at == name.size() ? "1" : name.substr(at + 1);
  return ValidateFunctionName(name.substr(0, at)).has_value() && !version.empty() &&
         version.size() <= 19 && version[0] != '0' &&
         version.find_first_not_of("0123456789") == version.npos;
}

tl::unexpected<Error> Refuse(const std::string& what) {
  return MakeError(ErrorKind::kInvalid, "this is no checkpoint's file: " + what);
}

Result<> CheckFields(const v1::Checkpoint& checkpoint) {
  if (!IsHex(checkpoint.id(), kIdDigits)) return Refuse("its id is not 12 hexadecimal digits");
  if (!IsImage(checkpoint.image())) return Refuse("its image has no valid name");
  const std::string_view digest = checkpoint.archive_digest();
  if (!digest.starts_with(kDigestPrefix) ||
      !IsHex(digest.substr(sizeof kDigestPrefix - 1), kDigestDigits))
    return Refuse("its archive's digest is no SHA-256");
  if (checkpoint.archive_bytes() == 0 || checkpoint.memory_bytes() == 0)
    return Refuse("it has no archive");
  if (checkpoint.created_unix_ms() <= 0) return Refuse("it does not say when it was made");
  bool shown = IsText(checkpoint.runtime_version()) && IsText(checkpoint.boot_id()) &&
               checkpoint.ties_size() <= kMaxTies;
  for (const auto& [name, value] : checkpoint.ties())
    shown = shown && IsText(name) && IsText(value);
  if (!shown) return Refuse("a text of its record is too long, or cannot be shown");
  return {};
}

}  // namespace

Result<std::string> MakeParcelHead(const v1::Checkpoint& checkpoint) {
  v1::Checkpoint sent = checkpoint;
  sent.clear_unusable();
  sent.clear_imported_unix_ms();
  const std::string record = sent.SerializeAsString();
  if (record.size() > kMaxParcelRecord)
    return MakeError(ErrorKind::kInternal, "a checkpoint's record is too long to be sent");
  std::string head(kMagic);
  for (size_t i = 0; i < sizeof(uint32_t); ++i)
    head += static_cast<char>((record.size() >> (8 * i)) & 0xff);
  return head + Hash(record) + record;
}

Result<ParcelPrefix> ParseParcelPrefix(std::string_view bytes) {
  if (bytes.size() != kParcelPrefix || !bytes.starts_with(kMagic))
    return Refuse("it does not begin like one");
  ParcelPrefix prefix;
  for (size_t i = 0; i < sizeof(uint32_t); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[kMagic.size() + i]);
    prefix.record_bytes |= static_cast<uint32_t>(byte) << (8 * i);
  }
  if (prefix.record_bytes == 0 || prefix.record_bytes > kMaxParcelRecord)
    return Refuse("its record would be " + std::to_string(prefix.record_bytes) + " bytes long");
  prefix.record_hash = bytes.substr(kMagic.size() + sizeof(uint32_t));
  return prefix;
}

Result<v1::Checkpoint> ParseParcelRecord(const ParcelPrefix& prefix, std::string_view record) {
  if (record.size() != prefix.record_bytes || Hash(record) != prefix.record_hash)
    return Refuse("its record was altered: the digest differs");
  v1::Checkpoint checkpoint;
  if (!checkpoint.ParseFromArray(record.data(), static_cast<int>(record.size())))
    return Refuse("its record cannot be read");
  checkpoint.DiscardUnknownFields();
  checkpoint.clear_unusable();
  checkpoint.clear_automatic();  // spored removes such by itself
  checkpoint.clear_imported_unix_ms();
  SPORE_TRY(CheckFields(checkpoint));
  return checkpoint;
}

}  // namespace spore
