#include "tools/client/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

namespace spore::client {

Result<Fd> MakeMemfd(const char* name) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return LocalError("memfd_create", errno);
  return fd;
}

Result<> SealMemfd(const Fd& fd) {
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return LocalError("seal memfd", errno);
  }
  return {};
}

Result<Fd> SealedMemfd(const char* name, std::string_view contents) {
  auto fd = MakeMemfd(name);
  if (!fd) return fd;
  if (auto written = WriteAll(fd->get(), contents, "memfd"); !written) {
    return tl::unexpected(written.error());
  }
  if (auto sealed = SealMemfd(*fd); !sealed) return tl::unexpected(sealed.error());
  return fd;
}

Result<std::string> ReadAll(int fd, std::size_t limit, std::string_view what) {
  std::string data;
  for (;;) {
    const std::size_t have = data.size();
    if (have > limit) {
      return LocalError(std::string(what) + " is larger than " + std::to_string(limit) + " bytes");
    }
    data.resize(have + (std::size_t{64} << 10));
    const ssize_t got = ::read(fd, data.data() + have, data.size() - have);
    data.resize(have + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got == 0) return data;
    if (got < 0 && errno != EINTR) return LocalError("cannot read " + std::string(what), errno);
  }
}

Result<std::string> ReadMemfd(const Fd& fd, std::size_t limit) {
  if (::lseek(fd.get(), 0, SEEK_SET) < 0) return LocalError("seek in attached payload", errno);
  return ReadAll(fd.get(), limit, "attached payload");
}

Result<> WriteAll(int fd, std::string_view data, std::string_view what) {
  while (!data.empty()) {
    const ssize_t done = ::write(fd, data.data(), data.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return LocalError("cannot write to " + std::string(what), errno);
    data.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

}  // namespace spore::client
