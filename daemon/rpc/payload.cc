#include "daemon/rpc/payload.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace spore {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

}  // namespace

Error PayloadTooLarge(uint64_t bytes, uint64_t max_bytes) {
  return Error{ErrorKind::kInvalid,
               0,
               "payload: " + std::to_string(bytes) + " bytes; expected at most " +
                   std::to_string(max_bytes) + " (limits.payload_bytes)",
               {},
               {}};
}

Result<uint64_t> SealedBytes(int memfd, const std::string& what) {
  const int seals = fcntl(memfd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return MakeError(ErrorKind::kInvalid,
                     what +
                         ": the descriptor is not a memfd sealed against shrinking, growing and "
                         "writing");
  }
  struct stat status {};
  if (fstat(memfd, &status) != 0) return SysError("fstat", what);
  return static_cast<uint64_t>(status.st_size);
}

Result<std::string> ReadPayload(int memfd, uint64_t max_bytes) {
  SPORE_ASSIGN(const uint64_t size, SealedBytes(memfd, "payload"));
  if (size > max_bytes) return tl::unexpected(PayloadTooLarge(size, max_bytes));
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t got = pread(memfd, bytes.data() + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return SysError("read", "payload");
    done += static_cast<size_t>(got);
  }
  return bytes;
}

Result<UniqueFd> MakePayload(std::string_view bytes) {
  UniqueFd memfd(memfd_create("spore-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return SysError("memfd_create");
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put = write(memfd.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return SysError("write", "payload");
    done += static_cast<size_t>(put);
  }
  if (lseek(memfd.get(), 0, SEEK_SET) != 0) return SysError("lseek", "payload");
  if (fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return SysError("seal", "payload");
  return memfd;
}

}  // namespace spore
