#include "daemon/images/image_listing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nettle/sha2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <map>
#include <memory>

#include "daemon/common/directory_tree.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr size_t kToldDifferences = 100;

class Hash {
 public:
  Hash() { sha256_init(&context_); }
  void Add(const void* data, size_t size) {
    sha256_update(&context_, size, static_cast<const uint8_t*>(data));
  }
  std::string Hex() {
    std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
    sha256_digest(&context_, digest.size(), digest.data());
    std::string text;
    for (const uint8_t byte : digest) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  sha256_ctx context_;
};

std::string Escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c > ' ' && c < 0x7f && c != '%') {
      text += c;
    } else {
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

class Lister {
 public:
  explicit Lister(const std::atomic<bool>& stop) : stop_(stop) {}

  Result<> Folder(int folder, const std::string& path) {
    SPORE_ASSIGN(std::vector<std::string> names, EntryNames(folder));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names)
      SPORE_TRY(Entry(folder, name, path.empty() ? name : path + "/" + name));
    return {};
  }

  TreeListing listing;

 private:
  Result<> Entry(int folder, const std::string& name, const std::string& path) {
    if (stop_) return MakeError(ErrorKind::kUnavailable, "spored is stopping");
    struct stat info = {};
    if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("stat", path);
    ++listing.entries;
    std::string mode = fmt::format("{:o}", info.st_mode & 07777);
    if (info.st_uid != 0 || info.st_gid != 0)
      mode += fmt::format(":{}:{}", info.st_uid, info.st_gid);
    if (S_ISDIR(info.st_mode)) {
      Line("d " + mode, path);
      SPORE_ASSIGN(const UniqueFd inner, OpenDirectory(folder, name));
      return Folder(inner.get(), path);
    }
    if (S_ISLNK(info.st_mode)) {
      std::array<char, PATH_MAX> target;
      const ssize_t size = readlinkat(folder, name.c_str(), target.data(), target.size());
      if (size < 0) return SysError("read link", path);
      Line("l " + Escaped({target.data(), static_cast<size_t>(size)}), path);
      return {};
    }
    if (!S_ISREG(info.st_mode)) {
      Line("other " + mode, path);  // nothing that an import leaves
      return {};
    }
    SPORE_ASSIGN(const std::string digest, Contents(folder, name, path));
    listing.bytes += static_cast<uint64_t>(info.st_size);
    Line(fmt::format("f {} {} {}", mode, info.st_size, digest), path);
    return {};
  }

  Result<std::string> Contents(int folder, const std::string& name, const std::string& path) {
    const UniqueFd file(
        openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return SysError("open", path);
    Hash hash;
    for (;;) {
      const ssize_t got = read(file.get(), buffer_.data(), buffer_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return SysError("read", path);
      if (got == 0) return hash.Hex();
      if (stop_) return MakeError(ErrorKind::kUnavailable, "spored is stopping");
      hash.Add(buffer_.data(), static_cast<size_t>(got));
    }
  }

  void Line(const std::string& facts, const std::string& path) {
    listing.text += facts + " " + Escaped(path) + "\n";
  }

  const std::atomic<bool>& stop_;
  std::array<char, 256 * 1024> buffer_;
};

// By path, what a listing says of it.
std::map<std::string_view, std::string_view> ByPath(std::string_view listing) {
  std::map<std::string_view, std::string_view> entries;
  while (!listing.empty()) {
    const size_t end = std::min(listing.find('\n'), listing.size());
    const std::string_view line = listing.substr(0, end);
    const size_t space = line.rfind(' ');
    if (space != line.npos) entries[line.substr(space + 1)] = line.substr(0, space);
    listing.remove_prefix(std::min(end + 1, listing.size()));
  }
  return entries;
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) {
  Hash hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

Result<TreeListing> ListTree(int root, const std::atomic<bool>& stop) {
  const auto lister = std::make_unique<Lister>(stop);
  SPORE_TRY(lister->Folder(root, ""));
  return std::move(lister->listing);
}

ListingDifferences CompareListings(std::string_view expected, std::string_view found) {
  ListingDifferences differences;
  const auto tell = [&](std::string_view path, std::string_view what) {
    if (++differences.count <= kToldDifferences)
      differences.first.push_back(fmt::format("/{}: {}", path, what));
  };
  auto left = ByPath(found);
  for (const auto& [path, facts] : ByPath(expected)) {
    const auto there = left.find(path);
    if (there == left.end()) {
      tell(path, "missing");
      continue;
    }
    if (there->second != facts)
      tell(path, fmt::format("is \"{}\"; was \"{}\"", there->second, facts));
    left.erase(there);
  }
  for (const auto& [path, facts] : left) tell(path, "added");
  return differences;
}

}  // namespace spore
