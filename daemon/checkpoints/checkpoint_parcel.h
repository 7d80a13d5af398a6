// A checkpoint as a file on its way between hosts: proto/spore/v1/checkpoints.proto has its form.
// What is read here may be anybody's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

constexpr size_t kParcelPrefix = 8 + 4 + 32;
constexpr size_t kMaxParcelRecord = 64 * 1024;

struct ParcelPrefix {
  uint32_t record_bytes = 0;
  std::string record_hash;  // 32 bytes
};

// All of the file that comes before its archive.
Result<std::string> MakeParcelHead(const v1::Checkpoint& checkpoint);

// `bytes`: kParcelPrefix of them. kInvalid, like all errors here, says what was expected.
Result<ParcelPrefix> ParseParcelPrefix(std::string_view bytes);
// Every field is checked: what is returned can be a name of a file and be shown.
Result<v1::Checkpoint> ParseParcelRecord(const ParcelPrefix& prefix, std::string_view record);

}  // namespace spore
