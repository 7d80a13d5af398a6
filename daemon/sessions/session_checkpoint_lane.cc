#include "daemon/sessions/session_checkpoint_lane.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "daemon/checkpoints/checkpoint_ties.h"
#include "daemon/common/directory_tree.h"
#include "daemon/sessions/session_archive.h"
#include "zygote/checkpoint_protocol.h"

namespace spore {
namespace {

// Of the files of a checkpoint, beyond what is in them.
constexpr uint64_t kSlack = 64ull << 20;
constexpr uint64_t kMostCopied = 16ull << 30;
constexpr mode_t kPassable = 0711;  // CRIU, who is not root, comes to its folder through the root's

// Compares checkpoints with what this host is now; of each image that is found out once.
class Judge {
 public:
  Judge(const std::map<std::string, ImageManifest>& images, std::string host_directory)
      : images_(images), host_directory_(std::move(host_directory)) {}

  void Look(v1::SessionCheckpointRecord* record) {
    v1::SessionCheckpoint& checkpoint = *record->mutable_checkpoint();
    if (checkpoint.unusable().empty()) checkpoint.set_unusable(Why(*record));
  }

 private:
  std::string Why(const v1::SessionCheckpointRecord& record) {
    const std::string& name = record.checkpoint().image();
    const auto image = images_.find(name);
    if (image == images_.end()) return "there is no image " + name + " here";
    auto known = here_.find(name);
    if (known == here_.end()) {
      v1::Checkpoint ties;
      auto tied = TieCheckpoint(image->second, host_directory_, &ties);
      known =
          here_.emplace(name, tied ? Result<v1::Checkpoint>(ties) : tl::unexpected(tied.error()))
              .first;
    }
    if (!known->second) return known->second.error().Message();
    return DifferenceOf(record.made_on(), *known->second);
  }

  const std::map<std::string, ImageManifest>& images_;
  std::string host_directory_;
  std::map<std::string, Result<v1::Checkpoint>> here_;
};

Result<CheckpointFiles> MakeFiles(uint64_t bytes) {
  SPORE_ASSIGN(CheckpointFiles files, MakeCheckpointFiles(0, bytes));
  if (fchmod(files.directory.get(), kPassable) != 0) return SysError("chmod", "tmpfs");
  return files;
}

Result<> MakeFolders(int directory, uid_t uid) {
  SPORE_ASSIGN(const UniqueFd images, MakeDirectory(directory, wire::kCheckpointImages, 0700));
  if (fchown(images.get(), uid, uid) != 0) return SysError("chown", wire::kCheckpointImages);
  for (const char* name : {"files", wire::kCheckpointTmp, wire::kCheckpointShm})
    SPORE_TRY(MakeDirectory(directory, name, 0700));
  return {};
}

// To another tenant than the one that has dumped into it, who is not there any more.
Result<> GiveImages(int directory, uid_t uid) {
  const UniqueFd images(
      openat(directory, wire::kCheckpointImages, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!images || fchown(images.get(), uid, uid) != 0)
    return SysError("chown", wire::kCheckpointImages);
  SPORE_ASSIGN(const std::vector<std::string> names, ListNames(images.get()));
  for (const std::string& name : names) {
    if (fchownat(images.get(), name.c_str(), uid, uid, AT_SYMLINK_NOFOLLOW) != 0)
      return SysError("chown", name);
  }
  return {};
}

}  // namespace

SessionCheckpointLane::SessionCheckpointLane(EventLoop& loop, Options options,
                                             std::unique_ptr<SessionCheckpointStore> store)
    : options_(std::move(options)),
      store_(std::move(store)),
      lane_(std::make_unique<BlockingLane>(loop)),
      packing_(std::make_unique<BlockingLane>(loop)),
      unpacking_(std::make_unique<BlockingLane>(loop)) {}

Result<std::unique_ptr<SessionCheckpointLane>> SessionCheckpointLane::Open(EventLoop& loop,
                                                                           const Options& options) {
  SPORE_ASSIGN(auto store, SessionCheckpointStore::Open(options.state_dir, options.limits));
  return std::unique_ptr<SessionCheckpointLane>(
      new SessionCheckpointLane(loop, options, std::move(store)));
}

template <typename T>
void SessionCheckpointLane::Submit(BlockingLane& lane, std::function<Result<T>()> work,
                                   std::function<void(Result<T>)> done) {
  auto result = std::make_shared<std::optional<Result<T>>>();
  lane.Submit([result, work = std::move(work)] { result->emplace(work()); },
              [result, done = std::move(done)] { done(std::move(**result)); });
}

void SessionCheckpointLane::PrepareDump(const DumpOrder& order, const ImageManifest& image,
                                        Prepared done) {
  const auto prepare = [store = store_, options = options_, order, image]() -> Result<MaterialPtr> {
    auto material = std::make_shared<Material>();
    v1::SessionCheckpoint& checkpoint = *material->record.mutable_checkpoint();
    checkpoint.set_owner_uid(order.owner);
    checkpoint.set_session(order.session);
    checkpoint.set_image(image.name);
    SPORE_TRY(TieCheckpoint(image, options.host_directory, material->record.mutable_made_on()));
    material->record.mutable_made_on()->clear_clock_ns();
    SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
    SPORE_ASSIGN(material->files, MakeFiles(order.max_bytes));
    SPORE_TRY(MakeFolders(material->files.directory.get(), order.uid));
    SPORE_ASSIGN(*checkpoint.mutable_name(),
                 store->Reserve(order.owner, order.name, order.session));
    return material;
  };
  Submit<MaterialPtr>(*lane_, prepare, std::move(done));
}

void SessionCheckpointLane::Keep(const MaterialPtr& material, Found done) {
  Submit<v1::SessionCheckpointRecord>(
      *packing_,
      [store = store_, material] {
        auto kept = store->Keep(material->record, material->files.directory.get());
        material->files = {};
        return kept;
      },
      std::move(done));
}

void SessionCheckpointLane::Abandon(const MaterialPtr& material) {
  lane_->Submit(
      [store = store_, material] {
        const v1::SessionCheckpoint& checkpoint = material->record.checkpoint();
        store->Release(checkpoint.owner_uid(), checkpoint.name());
        material->files = {};
      },
      [] {});
}

void SessionCheckpointLane::PrepareCopy(uid_t uid, uint64_t max_bytes, Prepared done) {
  Submit<MaterialPtr>(
      *lane_,
      [options = options_, uid, max_bytes]() -> Result<MaterialPtr> {
        auto material = std::make_shared<Material>();
        SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
        SPORE_ASSIGN(material->files, MakeFiles(max_bytes));
        SPORE_TRY(MakeFolders(material->files.directory.get(), uid));
        // A mount is used up by who attaches it. Before Linux 6.15 one that is nowhere cannot be
        // cloned.
        material->again.Reset(open_tree(material->files.mount.get(), "",
                                        AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
        return material;
      },
      std::move(done));
}

void SessionCheckpointLane::CopyFor(const MaterialPtr& material, uid_t uid, Prepared done) {
  Submit<MaterialPtr>(
      *unpacking_,
      [options = options_, material, uid]() -> Result<MaterialPtr> {
        const UniqueFd parcel(memfd_create("session", MFD_CLOEXEC));
        if (!parcel) return SysError("memfd_create");
        SPORE_ASSIGN(const CheckpointArchive archive,
                     PackSession(material->files.directory.get(), parcel.get(), kMostCopied));
        auto copy = std::make_shared<Material>();
        copy->record = material->record;
        SPORE_ASSIGN(copy->criu, OpenCriu(options.criu));
        SPORE_ASSIGN(copy->files, MakeFiles(archive.unpacked_bytes + kSlack));
        if (lseek(parcel.get(), 0, SEEK_SET) != 0) return SysError("lseek", "memfd");
        SPORE_TRY(UnpackSession(parcel.get(), archive, copy->files.directory.get(), uid));
        return copy;
      },
      std::move(done));
}

void SessionCheckpointLane::HandOver(const MaterialPtr& material, uid_t uid, Prepared done) {
  if (!material->again) return CopyFor(material, uid, std::move(done));
  Submit<MaterialPtr>(
      *lane_,
      [options = options_, material, uid]() -> Result<MaterialPtr> {
        SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
        SPORE_TRY(GiveImages(material->files.directory.get(), uid));
        material->files.mount = std::move(material->again);
        return material;
      },
      std::move(done));
}

void SessionCheckpointLane::Find(uid_t peer, const std::string& name, const Images& images,
                                 Found done) {
  Submit<v1::SessionCheckpointRecord>(
      *lane_,
      [store = store_, options = options_, peer, name,
       images]() -> Result<v1::SessionCheckpointRecord> {
        SPORE_ASSIGN(v1::SessionCheckpointRecord record, store->Find(peer, name));
        Judge(images, options.host_directory).Look(&record);
        return record;
      },
      std::move(done));
}

void SessionCheckpointLane::PrepareRestore(const v1::SessionCheckpointRecord& record,
                                           const ImageManifest& image, uid_t uid, Prepared done) {
  const auto prepare = [store = store_, options = options_, record, image,
                        uid]() -> Result<MaterialPtr> {
    const v1::SessionCheckpoint& checkpoint = record.checkpoint();
    const std::string which = "session checkpoint \"" + checkpoint.name() + "\"";
    auto material = std::make_shared<Material>();
    material->record = record;
    v1::Checkpoint here;
    SPORE_TRY(TieCheckpoint(image, options.host_directory, &here));
    const std::string difference = DifferenceOf(record.made_on(), here);
    if (!difference.empty()) return MakeError(ErrorKind::kPrecondition, which + ": " + difference);
    SPORE_ASSIGN(material->criu, OpenCriu(options.criu));
    SPORE_ASSIGN(material->files, MakeFiles(checkpoint.unpacked_bytes() + kSlack));
    auto unpacked = store->Unpack(record, material->files.directory.get(), uid);
    if (!unpacked) return tl::unexpected(std::move(unpacked).error().Wrap(which));
    return material;
  };
  Submit<MaterialPtr>(*unpacking_, prepare, std::move(done));
}

void SessionCheckpointLane::List(uid_t peer, const Images& images, Listed done) {
  auto all = std::make_shared<std::vector<v1::SessionCheckpointRecord>>();
  lane_->Submit(
      [all, store = store_, options = options_, peer, images] {
        *all = store->List(peer == 0 ? std::nullopt : std::optional(peer));
        Judge judge(images, options.host_directory);
        for (v1::SessionCheckpointRecord& record : *all) judge.Look(&record);
      },
      [all, done = std::move(done)] { done(std::move(*all)); });
}

void SessionCheckpointLane::Remove(uid_t peer, const std::string& name, Found done) {
  Submit<v1::SessionCheckpointRecord>(
      *lane_, [store = store_, peer, name] { return store->Remove(peer, name); }, std::move(done));
}

}  // namespace spore
