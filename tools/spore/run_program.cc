#include "tools/spore/run_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <vector>

#include "tools/client/memfd.h"

namespace spore::cli {
namespace {

// No sandbox has room for more; noticing here saves filling memory with it.
constexpr std::size_t kMaxProgram = std::size_t{4} << 30;
constexpr std::size_t kPiece = std::size_t{256} << 10;

tl::unexpected<Failure> CannotRun(const std::string& path, const std::string& why) {
  return Fail(kCannotRun, "cannot run " + path + ": " + why);
}

Expected<client::Fd> Copy(const std::string& path, int from) {
  auto memfd = client::MakeMemfd("spore-program");
  if (!memfd) return Fail(kSporeFailed, memfd.error().message);
  std::vector<char> piece(kPiece);
  for (std::size_t bytes = 0;;) {
    const ssize_t got = ::read(from, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return CannotRun(path, std::strerror(errno));
    if (got == 0) break;
    bytes += static_cast<std::size_t>(got);
    if (bytes > kMaxProgram)
      return CannotRun(path, fmt::format("it is larger than {} GiB", kMaxProgram >> 30));
    auto written = client::WriteAll(memfd->get(), {piece.data(), static_cast<std::size_t>(got)},
                                    "the copy of " + path);
    if (!written) return Fail(kSporeFailed, written.error().message);
  }
  if (auto sealed = client::SealMemfd(*memfd); !sealed)
    return Fail(kSporeFailed, sealed.error().message);
  return std::move(*memfd);
}

}  // namespace

bool IsProgramOfImage(const std::string& word) {
  if (word.find('/') == std::string::npos) return true;
  constexpr const char* kFolders[] = {"/usr/",   "/bin/",   "/sbin/",  "/lib/",
                                      "/lib32/", "/lib64/", "/libx32/"};
  return std::any_of(std::begin(kFolders), std::end(kFolders),
                     [&](const char* folder) { return word.starts_with(folder); });
}

Expected<client::Fd> LoadProgram(const std::string& path, bool executed) {
  // O_NONBLOCK: a named pipe must not hang us before it is refused.
  const client::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Fail(kNotFound, "cannot run " + path + ": " + std::strerror(errno));
    return CannotRun(path, errno == EACCES ? "it cannot be read, so it cannot be sent to a sandbox"
                                           : std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return CannotRun(path, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return CannotRun(path, "it is a directory");
  if (!S_ISREG(info.st_mode)) return CannotRun(path, "it is not a regular file");
  if (executed && ::access(path.c_str(), X_OK) != 0) {
    return CannotRun(path,
                     "it is not executable (chmod +x), and its name tells no runtime (--runtime)");
  }
  if (info.st_size == 0) return CannotRun(path, "it is empty");
  return Copy(path, file.get());
}

}  // namespace spore::cli
