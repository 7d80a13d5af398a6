#include "daemon/checkpoints/checkpoint_import.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/checkpoints/checkpoint_files.h"
#include "daemon/checkpoints/checkpoint_parcel.h"
#include "daemon/checkpoints/checkpoint_ties.h"
#include "daemon/common/directory_tree.h"
#include "daemon/functions/function_store_unpack.h"

namespace spore {
namespace {

constexpr size_t kChunk = 1u << 20;
constexpr int kSilenceMs = 60'000;
constexpr uint32_t kMaxSeconds = 600;
constexpr uint32_t kMaxFiles = 1000;

tl::unexpected<Error> Refuse(const std::string& what, const char* hint = "") {
  return MakeError(ErrorKind::kInvalid, what, hint);
}

// Up to `size` bytes, as they come; 0 at the end.
Result<size_t> ReadSome(const CheckpointImport& import, char* buffer, size_t size) {
  pollfd waiting[] = {{import.source, POLLIN, 0}, {import.stop, POLLIN, 0}};
  const auto ready = TEMP_FAILURE_RETRY(poll(waiting, 2, kSilenceMs));
  if (ready < 0) return SysError("wait for the checkpoint's file");
  if (ready == 0) return Refuse("the checkpoint's file did not go on for 60 s");
  if (waiting[1].revents != 0) return MakeError(ErrorKind::kUnavailable, "spored is stopping");
  const ssize_t n = TEMP_FAILURE_RETRY(read(import.source, buffer, size));
  if (n < 0) return SysError("read the checkpoint's file");
  return static_cast<size_t>(n);
}

Result<std::string> ReadExactly(const CheckpointImport& import, size_t size) {
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    SPORE_ASSIGN(const size_t n, ReadSome(import, bytes.data() + done, size - done));
    if (n == 0) return Refuse("this is no checkpoint's file: it ends before its archive");
    done += n;
  }
  return bytes;
}

Result<> ReceiveArchive(const CheckpointImport& import, const v1::Checkpoint& checkpoint,
                        int file) {
  std::vector<char> buffer(kChunk);
  const uint64_t expected = checkpoint.archive_bytes();
  for (uint64_t done = 0; done < expected;) {
    const size_t most = std::min<uint64_t>(buffer.size(), expected - done);
    SPORE_ASSIGN(const size_t n, ReadSome(import, buffer.data(), most));
    if (n == 0) {
      return Refuse("the checkpoint's file is cut short: its archive has " + std::to_string(done) +
                    " of " + std::to_string(expected) + " bytes");
    }
    for (size_t written = 0; written < n;) {
      const ssize_t m = TEMP_FAILURE_RETRY(write(file, buffer.data() + written, n - written));
      if (m < 0) return SysError("write the checkpoint's archive");
      written += static_cast<size_t>(m);
    }
    done += n;
  }
  SPORE_ASSIGN(const size_t more, ReadSome(import, buffer.data(), 1));
  if (more != 0) return Refuse("the checkpoint's file goes on behind its archive");
  const CheckpointArchive digest{checkpoint.archive_digest(), expected, checkpoint.memory_bytes()};
  auto same = VerifyCheckpoint(file, digest);
  if (!same && same.error().kind == ErrorKind::kPrecondition)
    return Refuse("the checkpoint's file was altered: the digest of its archive differs");
  return same;
}

Result<UniqueFd> UnpackReceived(const CheckpointImport& import, const v1::Checkpoint& checkpoint,
                                int folder) {
  UniqueFd archive(openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!archive) return SysError("make a file for the checkpoint's archive");
  SPORE_TRY(ReceiveArchive(import, checkpoint, archive.get()));
  SPORE_ASSIGN(UniqueFd files, MakeDirectory(folder, "files", 0700));
  if (fchown(files.get(), import.unpack_uid, import.unpack_uid) != 0)
    return SysError("chown to the unpack uid", std::to_string(import.unpack_uid));
  UnpackLimits limits;
  limits.unpacked_bytes = checkpoint.memory_bytes();
  limits.files = kMaxFiles;
  limits.path_bytes = 255;
  limits.depth = 1;
  limits.seconds = kMaxSeconds;
  auto unpacked = RunUnpack({.program = import.unpack_program,
                             .uid = import.unpack_uid,
                             .archive = archive.get(),
                             .directory = files.get(),
                             .stop = import.stop,
                             .plain = true,
                             .limits = limits});
  if (!unpacked)
    return tl::unexpected(std::move(unpacked).error().Wrap("the checkpoint's archive"));
  SPORE_TRY(TakeOverTree(files.get(), {.owner = import.unpack_uid,
                                       .max_bytes = checkpoint.memory_bytes(),
                                       .max_entries = kMaxFiles,
                                       .max_depth = 1}));
  return files;
}

// It is unpacked onto the disk now, and into memory when it is restored.
Result<> CheckSize(const v1::Checkpoint& checkpoint, uint64_t max_bytes) {
  const auto refuse = [](uint64_t has, uint64_t most, const std::string& whose) {
    return Refuse("the checkpoint has " + std::to_string(has) + " bytes; expected at most " +
                  std::to_string(most) + ", " + whose);
  };
  const uint64_t largest = std::max(checkpoint.archive_bytes(), checkpoint.memory_bytes());
  if (largest > max_bytes) return refuse(largest, max_bytes, "max-image-bytes of spore.toml(5)");
  struct sysinfo host {};
  if (sysinfo(&host) != 0) return SysError("sysinfo");
  const uint64_t half = static_cast<uint64_t>(host.totalram) * host.mem_unit / 2;
  if (checkpoint.memory_bytes() > half)
    return refuse(checkpoint.memory_bytes(), half, "half of this host's memory");
  return {};
}

// The image here that it is of. An imported one has the same digest under any name and version.
const ImageManifest* FindImage(const CheckpointImport& import, const v1::Checkpoint& checkpoint) {
  const auto named = import.images.find(checkpoint.image());
  const auto tie = checkpoint.ties().find("image");
  const auto is_it = [&](const ImageManifest& image) {
    return tie != checkpoint.ties().end() && !tie->second.empty() &&
           image.root.digest == tie->second;
  };
  if (named != import.images.end() && is_it(named->second)) return &named->second;
  for (const auto& [name, image] : import.images) {
    if (is_it(image)) return &image;
  }
  return named == import.images.end() ? nullptr : &named->second;
}

Result<std::string> WhyUnusable(const CheckpointImport& import, const ImageManifest* image,
                                const v1::Checkpoint& checkpoint) {
  if (image == nullptr) return "there is no image " + checkpoint.image() + " here";
  v1::Checkpoint here;
  SPORE_TRY(TieCheckpoint(*image, import.host_directory, &here));
  return DifferenceOf(checkpoint, here);
}

}  // namespace

Result<v1::Checkpoint> ImportCheckpoint(CheckpointStore& store, const CheckpointImport& import) {
  SPORE_ASSIGN(const std::string start, ReadExactly(import, kParcelPrefix));
  SPORE_ASSIGN(const ParcelPrefix prefix, ParseParcelPrefix(start));
  SPORE_ASSIGN(const std::string record, ReadExactly(import, prefix.record_bytes));
  SPORE_ASSIGN(v1::Checkpoint checkpoint, ParseParcelRecord(prefix, record));
  SPORE_TRY(CheckSize(checkpoint, import.max_bytes));
  const ImageManifest* image = FindImage(import, checkpoint);
  SPORE_ASSIGN(const std::string unusable, WhyUnusable(import, image, checkpoint));
  if (!unusable.empty() && !import.keep_unusable) {
    return MakeError(ErrorKind::kPrecondition,
                     "checkpoint " + checkpoint.id() + " cannot be restored here: " + unusable,
                     "--force keeps it all the same");
  }
  if (image != nullptr) checkpoint.set_image(image->name);
  SPORE_ASSIGN(checkpoint, store.Adopt(checkpoint, [&](int folder) {
    return UnpackReceived(import, checkpoint, folder);
  }));
  checkpoint.set_unusable(unusable);
  return checkpoint;
}

}  // namespace spore
