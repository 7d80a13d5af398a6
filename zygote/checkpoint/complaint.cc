#include "zygote/checkpoint/complaint.h"

#include <string>

#include "zygote/checkpoint/await_criu.h"

namespace spore {
namespace {

constexpr struct {
  std::string_view words, message, hint;
} kKnown[] = {
    {"Connected TCP socket", "a TCP connection is open in it",
     "connections cannot be put on disk: close it"},
    {"overmounted", "a file of /proc is open in it, or a working directory is there", "close it"},
    {"link-remap", "a file is open in it whose name was removed, and which has other names",
     "close it, or remove the others"},
    {"link remap", "a file is open in it whose name was removed, and which has other names",
     "close it, or remove the others"},
    {"No space left on device", "there was not enough room for its memory and its files", ""},
};

}  // namespace

Error DumpComplaint(std::string_view log) {
  const std::string complaint = FirstComplaint(log);
  for (const auto& known : kKnown) {
    if (complaint.find(known.words) == complaint.npos) continue;
    return {ErrorKind::kPrecondition, 0, std::string(known.message), {}, std::string(known.hint)};
  }
  return {ErrorKind::kPrecondition, 0, "CRIU failed: " + complaint, {}, {}};
}

}  // namespace spore
