// The host's images by name, each with its zygote.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "daemon/config.h"
#include "daemon/event_loop.h"
#include "daemon/zygote_image.h"
#include "sandbox/cgroup.h"
#include "sandbox/sys/result.h"

namespace spore {

class Images {
 public:
  // Gives every image its block of uids, in the order of names; the last block of the configured
  // range is for helpers. Starts no zygote.
  static Result<std::unique_ptr<Images>> Create(
      EventLoop& loop, CgroupTree& cgroups, Checkpoints& checkpoints, const Config& config,
      const std::map<std::string, ImageManifest>& manifests);

  void StartEager();
  // The image `name`, or, when that is empty, the one named like the runtime. The error tells which
  // there are.
  Result<ZygoteImage*> Find(const std::string& runtime, const std::string& name) const;
  // The same, of whatever runtime.
  Result<ZygoteImage*> FindNamed(const std::string& name) const;
  const std::map<std::string, std::unique_ptr<ZygoteImage>>& all() const { return images_; }
  // Ends every zygote and supervisor; `done` runs when the last has been reaped.
  void ShutDown(std::function<void()> done);

 private:
  std::map<std::string, std::unique_ptr<ZygoteImage>> images_;
};

}  // namespace spore
