// Deployed functions, kept durably.
//
//   <state>/functions/<name>/v<N>/function.pb   spore.v1.Function, serialized
//   <state>/functions/<name>/v<N>/code/         the unpacked archive, mode a+rX, nothing writable
//   <state>/functions/<name>/current            symlink to v<N>, replaced by rename(2)
//   <state>/staging/                            what a crash may leave; emptied at Open
//
// A version becomes visible by one rename after everything below it has been synced, so a crash at
// any point leaves the old version or the new one. Old versions are removed when no instance uses
// them (Release).
//
// Threads: all calls from the loop's thread. Deploy and Update work on the blocking lane and call
// back on the loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/event_loop.h"
#include "daemon/function_store_unpack.h"
#include "daemon/validate.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// One immutable version of a function. Instances hold it by shared_ptr; when the last holder of a
// superseded version lets go, its directory is removed on the blocking lane.
struct FunctionVersion {
  v1::Function function;  // every default filled in; `instances` unused
  std::string code_path;  // <state>/functions/<name>/v<N>/code
};

class FunctionStore {
 public:
  struct Options {
    std::string state_dir;
    std::string unpack_program;  // path of spore-unpack
    uid_t unpack_uid = 0;        // an unprivileged uid no sandbox ever has
    UnpackLimits unpack;
    // Told at Open, a line each, of what recovery dropped, repaired or had to skip. A damaged
    // function does not stop the daemon: it is left on disk, cannot be found, and can be removed.
    std::function<void(const std::string&)> report;
  };
  static Result<std::unique_ptr<FunctionStore>> Open(EventLoop& loop, BlockingLane& lane,
                                                     const Options& options);
  virtual ~FunctionStore() = default;

  using Done = std::function<void(Result<std::shared_ptr<const FunctionVersion>>)>;
  // `function` complete but for version, digest and sizes. kExists when the name is taken.
  // The archive: a sealed memfd (CheckArchive). `done` never runs inside the call.
  virtual void Deploy(v1::Function function, UniqueFd archive, Done done) = 0;
  // New version; without an archive the code of the current one is kept (hard links or a copy).
  // Concurrent updates of one name are applied in order.
  virtual void Update(v1::Function function, UniqueFd archive, Done done) = 0;
  virtual void Remove(const std::string& name, std::function<void(Result<>)> done) = 0;

  virtual std::shared_ptr<const FunctionVersion> Find(const std::string& name) const = 0;
  virtual std::vector<std::shared_ptr<const FunctionVersion>> List() const = 0;
};

}  // namespace spore
