#include "zygote/hosts/common/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/common/channel.h"

namespace spore {

std::optional<std::string> ReadWholeFile(const std::string& path) {
  constexpr off_t kMostBytes = 256 << 20;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || fstat(file.get(), &status) < 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (status.st_size > kMostBytes) return std::nullopt;
  std::string content(static_cast<size_t>(status.st_size), '\0');
  if (!ReadExactly(file.get(), content.data(), content.size())) return std::nullopt;
  return content;
}

}  // namespace spore
