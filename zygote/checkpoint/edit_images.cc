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
#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

// Fields of CRIU's images/core.proto and images/creds.proto.
namespace core {
constexpr uint32_t kTask = 3, kThread = 5;
}  // namespace core
namespace task {
constexpr uint32_t kCgroup = 9, kSeccompMode = 11, kSeccompFilter = 12, kLoginUid = 13,
                   kOomScore = 14;
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

constexpr size_t kHeader = 8;           // two magic numbers
constexpr off_t kMostBytes = 16 << 20;  // of one image
constexpr std::string_view kBegin = "core-", kEnd = ".img";

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

Result<std::string> ReadImage(int file) {
  struct stat status {};
  if (fstat(file, &status) < 0) return SysError("stat");
  if (!S_ISREG(status.st_mode) || status.st_size > kMostBytes)
    return MakeError(ErrorKind::kPrecondition, "an image of the checkpoint is too large");
  std::string image(static_cast<size_t>(status.st_size), '\0');
  if (pread(file, image.data(), image.size(), 0) != status.st_size) return SysError("read");
  return image;
}

Result<> EditFile(int folder, const std::string& name, const EditOrder& order) {
  const UniqueFd file(openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return SysError("open", name);
  SPORE_ASSIGN(const std::string image, ReadImage(file.get()));
  const bool first = name == std::string(kBegin) + std::to_string(order.agent) + std::string(kEnd);
  const std::optional<std::string> edited = EditCore(image, order, first);
  if (!edited) return MakeError(ErrorKind::kPrecondition, "the checkpoint is damaged: " + name);
  const auto bytes = static_cast<ssize_t>(edited->size());
  if (pwrite(file.get(), edited->data(), edited->size(), 0) != bytes ||
      ftruncate(file.get(), bytes) < 0) {
    return SysError("write", name);
  }
  return {};
}

}  // namespace

std::optional<std::string> EditCore(std::string_view image, const EditOrder& order, bool first) {
  if (image.size() < kHeader) return std::nullopt;
  std::string made(image.substr(0, kHeader));
  image.remove_prefix(kHeader);
  while (!image.empty()) {
    uint32_t size = 0;
    if (image.size() < sizeof size) return std::nullopt;
    memcpy(&size, image.data(), sizeof size);
    image.remove_prefix(sizeof size);
    if (size > image.size()) return std::nullopt;
    const std::optional<std::string> entry = EditEntry(image.substr(0, size), order, first);
    if (!entry) return std::nullopt;
    image.remove_prefix(size);
    size = static_cast<uint32_t>(entry->size());
    made.append(reinterpret_cast<const char*>(&size), sizeof size);
    made += *entry;
  }
  return made;
}

Result<> EditImages(const std::string& folder, const EditOrder& order) {
  const UniqueFd opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened) return SysError("open", folder);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(folder.c_str()), closedir);
  if (!list) return SysError("list", folder);
  size_t edited = 0;
  while (const dirent* entry = readdir(list.get())) {
    const std::string name = entry->d_name;
    if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) continue;
    SPORE_TRY(EditFile(opened.get(), name, order));
    ++edited;
  }
  if (edited > 0) return {};
  return MakeError(ErrorKind::kPrecondition, "the checkpoint is damaged: it has no threads");
}

}  // namespace spore
