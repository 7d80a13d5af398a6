#include "zygote/checkpoint/edit_images.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>

#include "sandbox/sys/unique_fd.h"
#include "zygote/checkpoint/edit_owners.h"
#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

// Fields of CRIU's images/core.proto and images/creds.proto.
namespace core {
constexpr uint32_t kTask = 3, kThread = 5;
}  // namespace core
namespace task {
constexpr uint32_t kState = 1, kCgroup = 9, kSeccompMode = 11, kSeccompFilter = 12, kLoginUid = 13,
                   kOomScore = 14;
constexpr uint64_t kStopped = 3;  // of compel/include/uapi/task-state.h
constexpr std::array kLeftOut = {kCgroup, kSeccompMode, kSeccompFilter, kLoginUid, kOomScore};
}  // namespace task
namespace thread {
constexpr uint32_t kParentDeath = 8, kCredentials = 10, kSeccompMode = 11, kSeccompFilter = 12,
                   kCgroup = 14;
constexpr std::array kLeftOut = {kSeccompMode, kSeccompFilter, kCgroup};
}  // namespace thread
namespace credentials {
constexpr uint32_t kFirstId = 1, kLastId = 8, kInheritable = 9, kPermitted = 10, kEffective = 11,
                   kBounding = 12, kSecurebits = 13, kNoNewPrivs = 18, kAmbient = 19;
}  // namespace credentials

constexpr size_t kHeader = 8;            // two magic numbers
constexpr size_t kMostBytes = 64 << 20;  // of one image
constexpr std::string_view kThreads = "core-";
constexpr std::string_view kFiles = "files.img", kMemfds = "memfd.img";

std::optional<std::string_view> TakeEntry(std::string_view& image) {
  uint32_t size = 0;
  if (image.size() < sizeof size) return std::nullopt;
  memcpy(&size, image.data(), sizeof size);
  image.remove_prefix(sizeof size);
  if (size > image.size()) return std::nullopt;
  const std::string_view entry = image.substr(0, size);
  image.remove_prefix(size);
  return entry;
}

void PutEntry(std::string& image, std::string_view entry) {
  const auto size = static_cast<uint32_t>(entry.size());
  image.append(reinterpret_cast<const char*>(&size), sizeof size);
  image += entry;
}

std::string Credentials(const EditOrder& order) {
  std::string made;
  for (uint32_t id = credentials::kFirstId; id <= credentials::kLastId; ++id)
    PutNumber(made, id, order.uid);
  for (const uint32_t set : {credentials::kInheritable, credentials::kPermitted,
                             credentials::kEffective, credentials::kAmbient}) {
    for (int word = 0; word < 2; ++word) PutNumber(made, set, 0);
  }
  // What is not in it CRIU drops, which has been done, and which it may not.
  for (int word = 0; word < 2; ++word) PutNumber(made, credentials::kBounding, 0xffffffff);
  PutNumber(made, credentials::kSecurebits, order.securebits);
  PutNumber(made, credentials::kNoNewPrivs, 1);
  return made;
}

template <size_t Count>
bool Has(const std::array<uint32_t, Count>& numbers, uint32_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

std::optional<std::string> EditTask(std::string_view message) {
  std::string made;
  const bool whole = ForEachField(message, [&](const ProtobufField& field) {
    if (!Has(task::kLeftOut, field.number)) made += field.whole;
    return true;
  });
  return whole ? std::optional(made) : std::nullopt;
}

std::optional<std::string> EditThread(std::string_view message, const EditOrder& order,
                                      bool first) {
  std::string made;
  const bool whole = ForEachField(message, [&](const ProtobufField& field) {
    const bool ends_with_parent = first && field.number == thread::kParentDeath;
    if (Has(thread::kLeftOut, field.number) || field.number == thread::kCredentials ||
        ends_with_parent) {
      return true;
    }
    made += field.whole;
    return true;
  });
  if (!whole) return std::nullopt;
  PutBytes(made, thread::kCredentials, Credentials(order));
  return made;
}

std::optional<std::string> EditEntry(std::string_view message, const EditOrder& order, bool first) {
  std::string made;
  const bool whole = ForEachField(message, [&](const ProtobufField& field) {
    if (field.number != core::kTask && field.number != core::kThread) {
      made += field.whole;
      return true;
    }
    if (!field.bytes) return false;
    const auto part = field.number == core::kTask ? EditTask(*field.bytes)
                                                  : EditThread(*field.bytes, order, first);
    if (part) PutBytes(made, field.number, *part);
    return part.has_value();
  });
  return whole ? std::optional(made) : std::nullopt;
}

// Calls `edit` for each message of an image, which are behind a header and have a length each.
template <typename Edit>
std::optional<std::string> EditEach(std::string_view image, const Edit& edit) {
  if (image.size() < kHeader) return std::nullopt;
  std::string made(image.substr(0, kHeader));
  image.remove_prefix(kHeader);
  while (!image.empty()) {
    const std::optional<std::string_view> entry = TakeEntry(image);
    const std::optional<std::string> edited = entry ? edit(*entry) : std::nullopt;
    if (!edited) return std::nullopt;
    PutEntry(made, *edited);
  }
  return made;
}

Result<std::string> ReadImage(int file, size_t most, bool whole) {
  struct stat status {};
  if (fstat(file, &status) < 0) return SysError("stat");
  const auto bytes = static_cast<size_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || (whole && bytes > most))
    return MakeError(ErrorKind::kPrecondition, "an image of the checkpoint is too large");
  std::string image(std::min(bytes, most), '\0');
  if (pread(file, image.data(), image.size(), 0) != static_cast<ssize_t>(image.size()))
    return SysError("read");
  return image;
}

enum class Kind { kOther, kCore, kOwners, kGhost };

Kind KindOf(std::string_view name) {
  if (!name.ends_with(".img")) return Kind::kOther;
  if (name.starts_with(kThreads)) return Kind::kCore;
  if (name.starts_with("ghost-file-")) return Kind::kGhost;
  return name == kFiles || name == kMemfds ? Kind::kOwners : Kind::kOther;
}

// Of core-NUMBER.img; 0: it has none.
pid_t NumberIn(std::string_view name) {
  pid_t number = 0;
  name.remove_prefix(kThreads.size());
  (void)std::from_chars(name.data(), name.data() + name.size(), number);
  return number;
}

Result<> EditFile(int folder, const std::string& name, Kind kind, const EditOrder& order,
                  std::vector<pid_t>& stopped) {
  const UniqueFd file(openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return SysError("open", name);
  const bool whole = kind != Kind::kGhost;
  SPORE_ASSIGN(const std::string image,
               ReadImage(file.get(), whole ? kMostBytes : kGhostHead, whole));
  if (kind == Kind::kCore && SaysStopped(image)) stopped.push_back(NumberIn(name));
  std::optional<std::string> edited;
  if (kind == Kind::kCore)
    edited = EditCore(image, order, name == "core-" + std::to_string(order.agent) + ".img");
  else
    edited = whole ? EditOwners(name, image, order.uid) : EditGhostHead(image, order.uid);
  if (!edited) return MakeError(ErrorKind::kPrecondition, "the checkpoint is damaged: " + name);
  const auto bytes = static_cast<ssize_t>(edited->size());
  if (pwrite(file.get(), edited->data(), edited->size(), 0) != bytes ||
      (whole && ftruncate(file.get(), bytes) < 0)) {
    return SysError("write", name);
  }
  return {};
}

}  // namespace

std::optional<std::string> EditCore(std::string_view image, const EditOrder& order, bool first) {
  return EditEach(image, [&](std::string_view entry) { return EditEntry(entry, order, first); });
}

std::optional<std::string> EditOwners(std::string_view name, std::string_view image, uid_t uid) {
  return EditEach(image, [&](std::string_view entry) {
    return name == kFiles ? EditFilesEntry(entry, uid) : EditMemfdEntry(entry, uid);
  });
}

std::optional<std::string> EditGhostHead(std::string_view head, uid_t uid) {
  if (head.size() < kHeader) return std::nullopt;
  std::string made(head.substr(0, kHeader));
  head.remove_prefix(kHeader);
  const std::optional<std::string_view> entry = TakeEntry(head);
  const auto edited = entry ? EditGhostEntry(*entry, uid) : std::nullopt;
  if (!edited) return std::nullopt;
  PutEntry(made, *edited);
  return made + std::string(head);
}

bool SaysStopped(std::string_view image) {
  std::string state;
  PutNumber(state, task::kState, task::kStopped);
  bool stopped = false;
  (void)EditEach(image, [&](std::string_view entry) {
    ForEachField(entry, [&](const ProtobufField& field) {
      if (field.number != core::kTask || !field.bytes) return true;
      return ForEachField(*field.bytes, [&](const ProtobufField& part) {
        stopped = stopped || part.whole == state;
        return true;
      });
    });
    return std::optional<std::string>("");
  });
  return stopped;
}

Result<std::vector<pid_t>> EditImages(const std::string& folder, const EditOrder& order) {
  const UniqueFd opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened) return SysError("open", folder);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(folder.c_str()), closedir);
  if (!list) return SysError("list", folder);
  size_t threads = 0;
  std::vector<pid_t> stopped;
  while (const dirent* entry = readdir(list.get())) {
    const std::string name = entry->d_name;
    const Kind kind = KindOf(name);
    if (kind != Kind::kOther) SPORE_TRY(EditFile(opened.get(), name, kind, order, stopped));
    if (kind == Kind::kCore) ++threads;
  }
  if (threads > 0) return stopped;
  return MakeError(ErrorKind::kPrecondition, "the checkpoint is damaged: it has no threads");
}

}  // namespace spore
