#include "tools/gateway/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "tools/client/fd.h"
#include "tools/client/memfd.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;

client::Result<std::string> Read(const std::string& path, mode_t forbidden) {
  client::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return client::LocalError("cannot read " + path, errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return client::LocalError("stat " + path, errno);
  if (!S_ISREG(status.st_mode)) return client::LocalError(path + ": not a file");
  if ((status.st_mode & forbidden) != 0) {
    return client::LocalError(path + ": others than its owner may use it; chmod 0600 " + path);
  }
  return client::ReadAll(fd.get(), kMaxFile, path);
}

}  // namespace

client::Result<std::string> ReadSmallFile(const std::string& path) {
  return Read(path, 0);
}

client::Result<std::string> ReadSecretFile(const std::string& path) {
  return Read(path, 077);
}

}  // namespace spore::gateway
