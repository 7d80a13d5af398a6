#include "zygote/hosts/common/session_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "sandbox/sys/step_log.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kMostFiles = 4096;
constexpr size_t kMostWatches = 16;
constexpr int kDeepest = 32;
constexpr uint64_t kUnusedNs = 120'000'000'000;
constexpr uint64_t kLookEveryNs = 200'000'000;

std::string Failed(int error, const char* what) {
  return Writer(Op::kFailed)
      .PutNumber(Tag::kErrno, static_cast<uint64_t>(error))
      .Put(Tag::kText, what)
      .Take();
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

}  // namespace

void SessionWatches::LookInto(Watch& watch, const std::string& folder, int depth,
                              std::map<std::string, Seen>& seen) {
  const std::string path = folder.empty() ? watch.path : watch.path + "/" + folder;
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return;
  const std::unique_ptr<DIR, CloseFolder> stream(fdopendir(fd.get()));
  if (!stream) return;
  (void)fd.Release();
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (seen.size() >= kMostFiles) {
      watch.overflow = true;
      return;
    }
    struct stat status {};
    if (fstatat(dirfd(stream.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
    const std::string below = folder.empty() ? name : folder + "/" + name;
    const bool is_folder = S_ISDIR(status.st_mode);
    // A folder changes with each entry, of which each is told by itself.
    seen[below] = {status.st_ino, is_folder ? 0 : static_cast<uint64_t>(status.st_size),
                   is_folder ? 0 : Nanoseconds(status.st_mtim),
                   is_folder ? 0 : Nanoseconds(status.st_ctim)};
    if (is_folder && watch.recursive && depth < kDeepest) LookInto(watch, below, depth + 1, seen);
  }
}

void SessionWatches::Look(Watch& watch, std::map<std::string, Seen>& seen) {
  watch.overflow = false;
  watch.looked_ns = StepLog::Now();
  LookInto(watch, "", 0, seen);
}

void SessionWatches::ForgetUnused(uint64_t now) {
  std::erase_if(watches_,
                [now](const auto& watch) { return watch.second.used_ns + kUnusedNs < now; });
}

std::string SessionWatches::Begin(Reader& ask) {
  if (watches_.size() >= kMostWatches) return Failed(EMFILE, "watch");
  Watch watch;
  watch.path = std::string(ask.Get(Tag::kPath));
  watch.recursive = ask.Has(session::kRecursive);
  watch.used_ns = StepLog::Now();
  struct stat status {};
  if (stat(watch.path.c_str(), &status) < 0) return Failed(errno, "watch");
  if (!S_ISDIR(status.st_mode)) return Failed(ENOTDIR, "watch");
  Look(watch, watch.seen);
  const uint32_t id = next_++;
  const bool overflow = watch.overflow;
  watches_[id] = std::move(watch);
  return Writer(Op::kDone)
      .PutNumber(Tag::kWatch, id)
      .PutNumber(Tag::kFlags, overflow ? session::kOverflow : 0)
      .Take();
}

std::optional<std::string> SessionWatches::Serve(Reader& ask, bool now) {
  const uint64_t now_ns = StepLog::Now();
  ForgetUnused(now_ns);
  const auto id = static_cast<uint32_t>(ask.GetNumber(Tag::kWatch));
  if (id == 0) return Begin(ask);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return Failed(ENOENT, "watch");
  Watch& watch = found->second;
  watch.used_ns = now_ns;
  if (!now && watch.looked_ns + kLookEveryNs > now_ns) return std::nullopt;
  std::map<std::string, Seen> seen;
  Look(watch, seen);
  Writer body(Op::kDone);
  bool any = false;
  const auto put = [&](const std::string& path, session::Change change) {
    any = true;
    if (body.size() > session::kMaxChunk) {
      watch.overflow = true;
      return;
    }
    Writer entry;
    entry.Put(Tag::kPath, path).PutNumber(Tag::kKind, static_cast<uint64_t>(change));
    body.Put(Tag::kEntry, entry.body());
  };
  for (const auto& [path, is] : seen) {
    const auto was = watch.seen.find(path);
    if (was == watch.seen.end())
      put(path, session::Change::kCreated);
    else if (was->second != is)
      put(path, session::Change::kChanged);
  }
  for (const auto& [path, was] : watch.seen)
    if (!seen.contains(path)) put(path, session::Change::kRemoved);
  if (!any && !now) return std::nullopt;
  watch.seen = std::move(seen);
  return body.PutNumber(Tag::kWatch, id)
      .PutNumber(Tag::kFlags, watch.overflow ? session::kOverflow : 0)
      .Take();
}

}  // namespace spore
