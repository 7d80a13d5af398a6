// Memory of another process, as the kernel lets a tracer read and write it, whatever its
// protection.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

struct Piece {
  uintptr_t begin = 0;
  size_t bytes = 0;
};

class RemoteMemory {
 public:
  static Result<RemoteMemory> Open(pid_t pid);
  Result<> Read(uintptr_t at, void* to, size_t bytes) const;
  Result<> Write(uintptr_t at, const void* from, size_t bytes) const;
  // Of several pieces, at most kMostPieces, one after the other in the buffer.
  Result<> Read(std::span<const Piece> pieces, char* to) const;
  Result<> Write(std::span<const Piece> pieces, const char* from) const;

 private:
  RemoteMemory(pid_t pid, UniqueFd file) : pid_(pid), file_(std::move(file)) {}
  pid_t pid_;
  UniqueFd file_;
};

constexpr size_t kMostPieces = 256;

}  // namespace spore
