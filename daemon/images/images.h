// The images by name: manifests of the host, and versions of imported images, NAME@VERSION. Each
// has its zygote; an imported one from its first use on, which is when it takes a block of uids.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/history/history.h"
#include "daemon/loop/event_loop.h"
#include "daemon/zygotes/tree_keeper.h"
#include "daemon/zygotes/zygote_image.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

class Images {
 public:
  // Gives every image of the host its block of uids, in the order of names; the last block of the
  // configured range is for helpers. Starts no zygote.
  static Result<std::unique_ptr<Images>> Create(
      EventLoop& loop, BlockingLane& lane, CgroupTree& cgroups, Checkpoints& checkpoints,
      History& history, const Config& config, const std::map<std::string, ImageManifest>& manifests,
      const std::vector<ImageManifest>& imported);

  void StartEager();
  // The image `name`, or, when that is empty, the one named like the runtime. Of an imported image
  // the newest version, unless `name` says which. The error tells which there are.
  Result<ZygoteImage*> Find(const std::string& runtime, const std::string& name);
  // The same, of whatever runtime.
  Result<ZygoteImage*> FindNamed(const std::string& name);
  // The very one that the function was deployed with.
  Result<ZygoteImage*> FindPinned(const v1::Function& function);
  // Those that may have a zygote.
  const std::map<std::string, std::unique_ptr<ZygoteImage>>& all() const { return images_; }
  // Ends at most so many zygotes that nobody needs, for their memory; how many it did.
  size_t EvictForMemory(size_t most, const std::string& reason);

  std::vector<v1::Image> Describe() const;
  // Of all images and versions, by name or NAME@VERSION.
  std::map<std::string, ImageManifest> Manifests() const;
  Result<v1::Image> Describe(const std::string& name) const;

  // ---- imported images ----
  // An error when an image cannot be imported by this name, or not now.
  Result<> CheckNewName(const std::string& name) const;
  void Add(const ImageManifest& imported);
  // `name` is NAME or NAME@VERSION; all that it names. kNotFound when there is none.
  Result<std::vector<ImageManifest>> Imported(const std::string& name) const;
  // Null unless it may have a zygote.
  ZygoteImage* FindStarted(const std::string& key) const;
  // While it is held, a deployment that has chosen this version is on its way to the store.
  std::shared_ptr<void> Hold(const std::string& key);
  bool IsHeld(const std::string& key) const;
  // Nobody finds it any more; `done` runs when its zygotes and sandboxes have ended.
  void Remove(const std::string& key, std::function<void()> done);

  // Ends every zygote and supervisor; `done` runs when the last has been reaped.
  void ShutDown(std::function<void()> done);

 private:
  Images(EventLoop& loop, BlockingLane& lane, CgroupTree& cgroups, Checkpoints& checkpoints,
         History& history, const Config& config);
  Result<ZygoteImage*> Make(const ImageManifest& manifest);
  Result<v1::Limits> LimitsOf(const ImageManifest& manifest) const;
  const ImageManifest* FindImported(const std::string& name) const;
  v1::Image DescribeUnstarted(const ImageManifest& manifest) const;
  std::string Names(const std::string& runtime) const;

  EventLoop& loop_;
  BlockingLane& lane_;
  CgroupTree& cgroups_;
  Checkpoints& checkpoints_;
  History& history_;
  const Config& config_;
  TreeKeeper keeper_;  // outlives the images, which tell it of their sets
  std::map<std::string, std::unique_ptr<ZygoteImage>> images_;
  std::map<std::string, std::map<uint64_t, ImageManifest>> imported_;
  std::map<std::string, std::weak_ptr<void>> held_;
  std::vector<uint32_t> free_uids_;  // first uids of blocks, the next one last
  std::map<ZygoteImage*, std::unique_ptr<ZygoteImage>> leaving_;
};

}  // namespace spore
