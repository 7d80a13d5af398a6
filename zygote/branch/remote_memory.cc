#include "zygote/branch/remote_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

namespace spore {

Result<RemoteMemory> RemoteMemory::Open(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/mem", pid);
  UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) return SysError("open", path);
  return RemoteMemory(pid, std::move(file));
}

// First the quick way, which heeds the protection of the pages.
Result<> RemoteMemory::Read(uintptr_t at, void* to, size_t bytes) const {
  const iovec here{to, bytes}, there{reinterpret_cast<void*>(at), bytes};
  if (process_vm_readv(pid_, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes)) return {};
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = pread(file_.get(), static_cast<char*>(to) + done, bytes - done,
                              static_cast<off_t>(at + done));
    if (got <= 0) return SysError("read memory of a process", fmt::format("{:x}", at + done));
    done += static_cast<size_t>(got);
  }
  return {};
}

Result<> RemoteMemory::Write(uintptr_t at, const void* from, size_t bytes) const {
  const iovec here{const_cast<void*>(from), bytes}, there{reinterpret_cast<void*>(at), bytes};
  if (process_vm_writev(pid_, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes)) return {};
  for (size_t done = 0; done < bytes;) {
    const ssize_t put = pwrite(file_.get(), static_cast<const char*>(from) + done, bytes - done,
                               static_cast<off_t>(at + done));
    if (put <= 0) return SysError("write memory of a process", fmt::format("{:x}", at + done));
    done += static_cast<size_t>(put);
  }
  return {};
}

namespace {

// Gives the bytes of all.
size_t Gather(std::span<const Piece> pieces, iovec (&parts)[kMostPieces]) {
  size_t bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    parts[i] = {reinterpret_cast<void*>(pieces[i].begin), pieces[i].bytes};
    bytes += pieces[i].bytes;
  }
  return bytes;
}

}  // namespace

Result<> RemoteMemory::Read(std::span<const Piece> pieces, char* to) const {
  iovec there[kMostPieces] = {};
  const size_t bytes = Gather(pieces, there);
  const iovec here{to, bytes};
  if (process_vm_readv(pid_, &here, 1, there, pieces.size(), 0) == static_cast<ssize_t>(bytes))
    return {};
  for (const Piece& piece : pieces) {
    SPORE_TRY(Read(piece.begin, to, piece.bytes));
    to += piece.bytes;
  }
  return {};
}

Result<> RemoteMemory::Write(std::span<const Piece> pieces, const char* from) const {
  iovec there[kMostPieces] = {};
  const size_t bytes = Gather(pieces, there);
  const iovec here{const_cast<char*>(from), bytes};
  if (process_vm_writev(pid_, &here, 1, there, pieces.size(), 0) == static_cast<ssize_t>(bytes))
    return {};
  for (const Piece& piece : pieces) {
    SPORE_TRY(Write(piece.begin, from, piece.bytes));
    from += piece.bytes;
  }
  return {};
}

}  // namespace spore
