// FunctionDisk's start: directories, and making sense of what the last run left.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "daemon/common/directory_tree.h"
#include "daemon/functions/function_store_disk.h"

namespace spore {
namespace {

constexpr size_t kMaxRecord = 4u << 20;

// The N of "v<N>", or 0.
uint64_t VersionOf(std::string_view name) {
  uint64_t version = 0;
  if (!name.starts_with('v') || name.size() < 2 || name[1] == '0') return 0;
  auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), version);
  return error == std::errc() && end == name.data() + name.size() ? version : 0;
}

}  // namespace

Result<std::unique_ptr<FunctionDisk>> FunctionDisk::Open(const FunctionStore::Options& options) {
  if (options.unpack_uid == 0) {
    return MakeError(ErrorKind::kInvalid, "the unpack uid must not be 0");
  }
  std::unique_ptr<FunctionDisk> disk(new FunctionDisk(options));
  SPORE_TRY(disk->Prepare());
  SPORE_TRY(disk->Recover());
  return disk;
}

Result<> FunctionDisk::Prepare() {
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) return SysError("make eventfd");
  if (mkdir(options_.state_dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return SysError("make folder", options_.state_dir);
  }
  UniqueFd state(open(options_.state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!state) return SysError("open folder", options_.state_dir);
  SPORE_ASSIGN(functions_, MakeDirectory(state.get(), "functions", 0700, true));
  SPORE_ASSIGN(staging_, MakeDirectory(state.get(), "staging", 0700, true));
  // Code is reached by mounts that spored makes, never along this path: nobody else has to pass.
  for (int fd : {functions_.get(), staging_.get()}) {
    if (fchown(fd, 0, 0) != 0 || fchmod(fd, 0700) != 0) {
      return SysError("close to others", options_.state_dir);
    }
  }
  return SyncDirectory(state.get(), options_.state_dir);
}

Result<> FunctionDisk::Recover() {
  SPORE_ASSIGN(std::vector<std::string> staged, EntryNames(staging_.get()));
  for (const std::string& name : staged) {
    if (auto gone = RemoveTree(staging_.get(), name); !gone) {
      Report(fmt::format("staging/{} stays: {}", name, gone.error().Message()));
    }
    // Names of what stays are not used again.
    uint64_t number = 0;
    std::from_chars(name.data(), name.data() + name.size(), number);
    next_staged_ = std::max(next_staged_, number + 1);
  }
  SPORE_ASSIGN(std::vector<std::string> functions, EntryNames(functions_.get()));
  for (const std::string& name : functions) {
    if (!ValidateFunctionName(name)) {
      Report(fmt::format("functions/: skipped {}, which is no function's name", name));
      continue;
    }
    if (auto recovered = RecoverFunction(name); !recovered) {
      damaged_[name] = recovered.error().Message();
      Report(fmt::format("function {} is damaged and skipped: {}", name, damaged_[name]));
    }
  }
  return {};
}

Result<v1::Function> FunctionDisk::Load(int folder, const std::string& name,
                                        const std::string& version) const {
  auto damaged = [&](std::string_view why) {
    return MakeError(ErrorKind::kInternal, fmt::format("{}: {}", version, why));
  };
  struct stat info = {};
  std::string code = version + "/code";
  if (fstatat(folder, code.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return SysError("stat", code);
  if (!S_ISDIR(info.st_mode)) return damaged("code is no folder");
  SPORE_ASSIGN(std::string bytes, ReadSmallFile(folder, version + "/function.pb", kMaxRecord));
  v1::Function function;
  if (!function.ParseFromString(bytes)) return damaged("function.pb does not parse");
  if (function.name() != name || function.version() != VersionOf(version) ||
      function.code_digest().empty() || function.settings().handler().empty()) {
    return damaged("function.pb is not this function's");
  }
  return function;
}

// The version that `current` names. Without one (no crash does that; a hand or a damaged file
// system may), the newest whole version is taken back into force.
Result<std::string> FunctionDisk::CurrentTarget(int folder, const std::string& name) {
  std::array<char, 64> target = {};
  ssize_t n = readlinkat(folder, "current", target.data(), target.size());
  if (n > 0) {
    std::string version(target.data(), static_cast<size_t>(n));
    if (VersionOf(version) != 0) return version;
    return MakeError(ErrorKind::kInternal, "current names no version");
  }
  if (errno != ENOENT) return SysError("read link", "current");
  SPORE_ASSIGN(std::vector<std::string> entries, EntryNames(folder));
  std::string newest;
  for (const std::string& entry : entries) {
    if (VersionOf(entry) > VersionOf(newest) && Load(folder, name, entry)) newest = entry;
  }
  if (newest.empty()) return newest;
  SPORE_ASSIGN(StagedFolder staged, Stage());
  SPORE_TRY(PointTo(staged, folder, newest));
  Report(fmt::format("function {} had no current version; took back {}", name, newest));
  return newest;
}

Result<> FunctionDisk::RecoverFunction(const std::string& name) {
  SPORE_ASSIGN(UniqueFd folder, OpenDirectory(functions_.get(), name));
  SPORE_ASSIGN(std::string version, CurrentTarget(folder.get(), name));
  SPORE_ASSIGN(std::vector<std::string> entries, EntryNames(folder.get()));
  if (version.empty()) {
    if (!entries.empty()) return MakeError(ErrorKind::kInternal, "it has no whole version");
    Report(fmt::format("function {} was empty; dropped", name));
    return MoveAway(functions_.get(), name);
  }
  SPORE_ASSIGN(v1::Function function, Load(folder.get(), name, version));
  SPORE_TRY(RecoverFacts(folder.get(), name));
  for (const std::string& entry : entries) {
    if (entry == version || entry == "current" || entry == "facts.pb") continue;
    if (IsKept(name, VersionOf(entry))) continue;
    // Superseded and nobody's: no instance outlives its daemon.
    if (auto gone = MoveAway(folder.get(), entry); !gone) {
      Report(fmt::format("functions/{}/{} stays: {}", name, entry, gone.error().Message()));
    }
  }
  current_[name] = std::move(function);
  return {};
}

}  // namespace spore
