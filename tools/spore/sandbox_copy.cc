// spore sandbox cp: files and folders into a sandbox and out of it.
//
// What comes out is whatever the sandbox says. Names are checked, nothing is written through a
// link, devices, pipes and sockets are left out, set-ID bits are dropped, and sizes and numbers are
// bounded.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "tools/client/memfd.h"
#include "tools/spore/output.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr int kMaxDepth = 64;
constexpr uint64_t kMaxFiles = 100'000;
constexpr uint64_t kDefaultMost = uint64_t{1} << 30;
constexpr mode_t kPermissions = 0777;

using Done = Expected<void>;

tl::unexpected<Failure> FailHere(const std::string& what, const std::string& name) {
  const int error = errno;
  return Fail(kRefused, fmt::format("{} {}: {}", what, Visible(name), std::strerror(error)));
}

void Note(const std::string& text) {
  fmt::print(stderr, "spore: {}\n", ForTerminal(text, STDERR_FILENO));
}

// "/a/b/" is "b", in "/a".
std::string LastPart(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}
std::string FolderOf(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}
bool IsName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

class Copy {
 public:
  Copy(const Context& context, client::Connection& connection, std::string id, uint64_t most)
      : context_(context), connection_(connection), id_(std::move(id)), most_(most) {}

  Done In(const std::string& source, std::string target);
  Done Out(const std::string& source, const std::string& target);

 private:
  template <typename Response, typename Request>
  Expected<Response> Call(const char* method, Request& request) {
    request.set_id(id_);
    return CallSandbox<Response>(context_, connection_, method, request);
  }
  Expected<v1::FileInfo> Stat(const std::string& path, bool follow) {
    v1::StatFileRequest request;
    request.set_path(path);
    request.set_follow(follow);
    return Call<v1::FileInfo>("StatFile", request);
  }
  Done Count(uint64_t bytes, const std::string& name);

  // sandbox <- here
  Done PutEntry(int folder, const std::string& name, const std::string& target, int depth);
  Done PutFile(const client::Fd& file, const struct stat& info, const std::string& target);
  Done PutFolder(client::Fd folder, const struct stat& info, const std::string& target, int depth);
  Done PutLink(int folder, const std::string& name, const std::string& target);
  Done SetAttributes(const struct stat& info, const std::string& target);

  // here <- sandbox
  Done GetEntry(const v1::FileInfo& info, const std::string& source, int folder,
                const std::string& name, int depth);
  Done GetFile(const v1::FileInfo& info, const std::string& source, int folder,
               const std::string& name);
  Done GetFolder(const v1::FileInfo& info, const std::string& source, int folder,
                 const std::string& name, int depth);
  Done GetLink(const v1::FileInfo& info, int folder, const std::string& name);
  static void KeepTime(const v1::FileInfo& info, int folder, const std::string& name);

  const Context& context_;
  client::Connection& connection_;
  std::string id_;
  uint64_t most_;
  uint64_t bytes_ = 0, files_ = 0;
};

Done Copy::Count(uint64_t bytes, const std::string& name) {
  bytes_ += bytes;
  if (bytes_ > most_) {
    return Fail(kRefused, fmt::format("{}: more than {} would be copied (see --max-size)",
                                      Visible(name), HumanBytes(most_)));
  }
  if (files_ > kMaxFiles) return Fail(kRefused, fmt::format("more than {} files", kMaxFiles));
  return {};
}

// ---- into the sandbox ----

Done Copy::In(const std::string& source, std::string target) {
  const bool contents = source.ends_with("/.");
  const auto there = Stat(target, true);
  const bool into = (there && there->kind() == v1::FileInfo::DIRECTORY) || target.ends_with('/');
  if (into && !contents) {
    const std::string name = LastPart(source);
    if (!IsName(name))
      return Fail(kUsage, "'" + source + "' names no file; add /. for what it holds");
    target += (target.ends_with('/') ? "" : "/") + name;
  }
  // The place itself may be named through a link; nothing below it is followed.
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0) return FailHere("cannot read", source);
  if (!S_ISDIR(info.st_mode)) return PutEntry(AT_FDCWD, source, target, 0);
  client::Fd folder(::open(source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return FailHere("cannot read", source);
  return PutFolder(std::move(folder), info, target, 0);
}

Done Copy::PutEntry(int folder, const std::string& name, const std::string& target, int depth) {
  ++files_;
  struct stat info {};
  const int follow = depth == 0 ? 0 : AT_SYMLINK_NOFOLLOW;
  if (::fstatat(folder, name.c_str(), &info, follow) != 0) return FailHere("cannot read", name);
  if (S_ISLNK(info.st_mode)) return PutLink(folder, name, target);
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    Note(fmt::format("{} is left out: neither a file, a folder nor a link", Visible(name)));
    return {};
  }
  // It may be another one by now: looked at again.
  const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (depth == 0 ? 0 : O_NOFOLLOW);
  client::Fd file(::openat(folder, name.c_str(), flags | O_CLOEXEC));
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return FailHere("cannot read", name);
  if (S_ISDIR(info.st_mode)) return PutFolder(std::move(file), info, target, depth);
  if (!S_ISREG(info.st_mode)) return Fail(kRefused, Visible(name) + ": it has just been replaced");
  return PutFile(file, info, target);
}

Done Copy::PutFile(const client::Fd& file, const struct stat& info, const std::string& target) {
  v1::WriteFileRequest request;
  request.set_path(target);
  request.set_create(true);
  request.set_truncate(true);
  std::string data(kChunk, '\0');
  for (bool first = true;; first = false) {
    const ssize_t got = ::read(file.get(), data.data(), data.size());
    if (got < 0) return FailHere("cannot read what is for", target);
    if (got == 0 && !first) break;
    const auto bytes = static_cast<std::size_t>(got);
    if (auto counted = Count(bytes, target); !counted) return counted;
    request.set_data(data.data(), bytes);
    auto written = Call<v1::WriteFileResponse>("WriteFile", request);
    if (!written) return tl::unexpected(written.error());
    request.set_truncate(false);
    request.set_offset(request.offset() + bytes);
  }
  return SetAttributes(info, target);
}

Done Copy::SetAttributes(const struct stat& info, const std::string& target) {
  v1::SetAttributesRequest request;
  request.set_path(target);
  request.set_mode(info.st_mode & kPermissions);
  request.set_modified_unix_ns(int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec);
  auto set = Call<v1::SetAttributesResponse>("SetAttributes", request);
  if (!set) return tl::unexpected(set.error());
  return {};
}

Done Copy::PutLink(int folder, const std::string& name, const std::string& target) {
  std::string text(4096, '\0');
  const ssize_t length = ::readlinkat(folder, name.c_str(), text.data(), text.size());
  if (length < 0) return FailHere("cannot read link", name);
  text.resize(static_cast<std::size_t>(length));
  v1::RemoveFileRequest old;
  old.set_path(target);
  old.set_missing_ok(true);
  if (auto removed = Call<v1::RemoveFileResponse>("RemoveFile", old); !removed)
    return tl::unexpected(removed.error());
  v1::MakeSymlinkRequest request;
  request.set_target(text);
  request.set_path(target);
  auto made = Call<v1::MakeSymlinkResponse>("MakeSymlink", request);
  if (!made) return tl::unexpected(made.error());
  return {};
}

Done Copy::PutFolder(client::Fd folder, const struct stat& info, const std::string& target,
                     int depth) {
  if (depth > kMaxDepth) return Fail(kRefused, Visible(target) + ": folders are nested too deep");
  if (auto counted = Count(0, target); !counted) return counted;
  v1::MakeDirectoryRequest request;
  request.set_path(target);
  request.set_parents(true);
  auto made = Call<v1::MakeDirectoryResponse>("MakeDirectory", request);
  if (!made) return tl::unexpected(made.error());
  const int fd = folder.get();
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 0)),
                                                   ::closedir);
  if (!stream) return FailHere("cannot read what is for", target);
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (auto put = PutEntry(fd, name, target + "/" + name, depth + 1); !put) return put;
  }
  // /tmp itself is not ours to change.
  return target == "/tmp" || target == "/tmp/" ? Done() : SetAttributes(info, target);
}

// ---- out of the sandbox ----

Done Copy::Out(const std::string& source, const std::string& target) {
  const bool contents = source.ends_with("/.");
  auto info = Stat(source, true);
  if (!info) return tl::unexpected(info.error());
  struct stat there {};
  const bool exists = ::stat(target.c_str(), &there) == 0;
  const bool into = exists && S_ISDIR(there.st_mode);
  // The place that was named may be a link of the user's own: that is followed, nothing below.
  std::string above = into ? target : FolderOf(target);
  std::string name = into ? LastPart(source) : LastPart(target);
  if (into && contents) {
    above = FolderOf(target);
    name = LastPart(target);
  }
  if (name == "." || name == ".." || name.empty()) {
    if (!contents) return Fail(kUsage, "'" + source + "' names no file");
    above = target + "/..";
    char* resolved = ::realpath(target.c_str(), nullptr);
    if (resolved == nullptr) return FailHere("cannot open", target);
    name = LastPart(resolved);
    ::free(resolved);
  }
  const client::Fd folder(::open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return FailHere("cannot open", above);
  return GetEntry(*info, source, folder.get(), name, 0);
}

Done Copy::GetEntry(const v1::FileInfo& info, const std::string& source, int folder,
                    const std::string& name, int depth) {
  ++files_;
  switch (info.kind()) {
    case v1::FileInfo::FILE:
      return GetFile(info, source, folder, name);
    case v1::FileInfo::DIRECTORY:
      return GetFolder(info, source, folder, name, depth);
    case v1::FileInfo::SYMLINK:
      return GetLink(info, folder, name);
    default:
      Note(fmt::format("{} is left out: neither a file, a folder nor a link", Visible(source)));
      return {};
  }
}

Done Copy::GetFile(const v1::FileInfo& info, const std::string& source, int folder,
                   const std::string& name) {
  const client::Fd file(::openat(
      folder, name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
      static_cast<mode_t>(info.mode() & kPermissions)));
  struct stat here {};
  if (!file.valid() || ::fstat(file.get(), &here) != 0) return FailHere("cannot write", name);
  if (!S_ISREG(here.st_mode)) return Fail(kRefused, Visible(name) + " is there and is no file");
  if (::ftruncate(file.get(), 0) != 0) return FailHere("cannot write", name);
  v1::ReadFileRequest request;
  request.set_path(source);
  for (;;) {
    auto part = Call<v1::ReadFileResponse>("ReadFile", request);
    if (!part) return tl::unexpected(part.error());
    if (auto counted = Count(part->data().size(), source); !counted) return counted;
    if (auto written = client::WriteAll(file.get(), part->data(), name); !written)
      return Fail(kRefused, written.error().message);
    request.set_offset(request.offset() + part->data().size());
    if (part->end() || part->data().empty()) break;
  }
  KeepTime(info, folder, name);
  return {};
}

void Copy::KeepTime(const v1::FileInfo& info, int folder, const std::string& name) {
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t ns = std::max<int64_t>(0, info.modified_unix_ns());
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                             {.tv_sec = ns / kSecond, .tv_nsec = ns % kSecond}};
  (void)::utimensat(folder, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

Done Copy::GetLink(const v1::FileInfo& info, int folder, const std::string& name) {
  struct stat here {};
  if (::fstatat(folder, name.c_str(), &here, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISLNK(here.st_mode)) return Fail(kRefused, Visible(name) + " is there and is no link");
    if (::unlinkat(folder, name.c_str(), 0) != 0) return FailHere("cannot replace", name);
  }
  // Wherever it leads: it is made, not followed.
  if (::symlinkat(info.target().c_str(), folder, name.c_str()) != 0)
    return FailHere("cannot make link", name);
  return {};
}

Done Copy::GetFolder(const v1::FileInfo& info, const std::string& source, int folder,
                     const std::string& name, int depth) {
  if (depth > kMaxDepth) return Fail(kRefused, Visible(source) + ": folders are nested too deep");
  if (auto counted = Count(0, source); !counted) return counted;
  if (::mkdirat(folder, name.c_str(), 0700) != 0 && errno != EEXIST)
    return FailHere("cannot make folder", name);
  const client::Fd here(
      ::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!here.valid()) return FailHere("cannot open folder", name);
  v1::ListFilesRequest request;
  request.set_path(source);
  do {
    auto list = Call<v1::ListFilesResponse>("ListFiles", request);
    if (!list) return tl::unexpected(list.error());
    for (const v1::FileInfo& file : list->files()) {
      if (!IsName(file.path()))
        return Fail(kRefused, fmt::format("the sandbox has a file \"{}\" in {}, which is no name",
                                          Visible(file.path()), Visible(source)));
      if (auto got = GetEntry(file, source + "/" + file.path(), here.get(), file.path(), depth + 1);
          !got)
        return got;
    }
    request.set_cursor(list->cursor());
    ++files_;  // pages without end are files without end
  } while (request.cursor() != 0 && files_ <= kMaxFiles);
  (void)::fchmod(here.get(), static_cast<mode_t>((info.mode() & kPermissions) | S_IRWXU));
  KeepTime(info, folder, name);
  return Count(0, source);
}

Outcome Run(const Context& context, const std::string& source, const std::string& target,
            uint64_t most) {
  if (IsSandboxPath(source) == IsSandboxPath(target)) {
    return Fail(kUsage,
                "one of the two must be a place in a sandbox, ID:/PATH, and the other a file here");
  }
  const bool out = IsSandboxPath(source);
  auto path = ParseSandboxPath(out ? source : target);
  if (!path) return tl::unexpected(path.error());
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  Copy copy(context, *connection, path->id, most);
  const Done done = out ? copy.Out(path->path, target) : copy.In(source, path->path);
  if (!done) return tl::unexpected(done.error());
  return kDone;
}

}  // namespace

void AddSandboxCopy(CLI::App& sandbox, Context& context) {
  CLI::App* copy = AddCommand(sandbox, context, "cp", "Copy files into a sandbox, or out of it");
  auto names = std::make_shared<std::pair<std::string, std::string>>();
  auto most = std::make_shared<uint64_t>(kDefaultMost);
  copy->add_option("SOURCE", names->first, "A file or folder here, or ID:/PATH")
      ->required()
      ->type_name("");
  copy->add_option("TARGET", names->second, "The other of the two")->required()->type_name("");
  copy->add_option_function<std::string>(
          "--max-size",
          [most](const std::string& text) {
            const auto value = ParseSize(text);
            if (!value || *value == 0) {
              throw CLI::ValidationError("--max-size",
                                         "'" + text + "' is not a size such as 64K, 128M or 1.5G");
            }
            *most = *value;
          },
          "Copy no more than this (default 1G)")
      ->type_name("SIZE");
  copy->callback([&context, names, most] {
    context.command = [&context, names, most] {
      return Run(context, names->first, names->second, *most);
    };
  });
}

}  // namespace spore::cli
