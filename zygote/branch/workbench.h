// A stopped process that is being made a copy of another one: its first thread, its memory, and a
// few pages in it for what system calls are told and give.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "zygote/branch/remote_memory.h"
#include "zygote/branch/tracee.h"

namespace spore {

constexpr size_t kScratchBytes = 64 << 10;

struct Workbench {
  pid_t pid = 0;
  int pidfd = -1;
  Tracee& thread;
  RemoteMemory memory;
  uintptr_t scratch = 0;  // kScratchBytes, of zeros at first

  // Places bytes in the scratch pages, where they stay until the next are placed.
  Result<uintptr_t> Place(std::string_view bytes, size_t at = 0) const {
    if (at + bytes.size() > kScratchBytes)
      return MakeError(ErrorKind::kPrecondition, "a name or a structure of it is too long");
    SPORE_TRY(memory.Write(scratch + at, bytes.data(), bytes.size()));
    return scratch + at;
  }
  Result<uintptr_t> PlaceText(const std::string& text) const {
    return Place({text.c_str(), text.size() + 1});
  }
  template <typename Plain>
  Result<uintptr_t> PlaceStruct(const Plain& plain, size_t at = 0) const {
    return Place({reinterpret_cast<const char*>(&plain), sizeof plain}, at);
  }
  template <typename Plain>
  Result<Plain> TakeStruct(size_t at = 0) const {
    Plain plain{};
    SPORE_TRY(memory.Read(scratch + at, &plain, sizeof plain));
    return plain;
  }
};

}  // namespace spore
