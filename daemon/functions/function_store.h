// Deployed functions, kept durably.
//
//   <state>/functions/<name>/v<N>/function.pb   spore.v1.Function, serialized
//   <state>/functions/<name>/v<N>/code/         the unpacked archive, mode a+rX, nothing writable
//   <state>/functions/<name>/current            symlink to v<N>, replaced by rename(2)
//   <state>/functions/<name>/facts.pb           spore.v1.FunctionFacts, likewise; none: all empty
//   <state>/staging/                            what a crash may leave; emptied at Open
//
// A version becomes visible by one rename after everything below it has been synced, so a crash at
// any point leaves the old version or the new one. v<N> of a published version is kept for it; the
// others are removed when they are not current and no instance uses them (Release).
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

#include "daemon/common/validate.h"
#include "daemon/functions/function_store_unpack.h"
#include "daemon/loop/event_loop.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"
#include "spore/v1/spore.pb.h"
#include "spore/v1/versions.pb.h"

namespace spore {

// One immutable version of a function: what the working copy once was, or a published one.
// Instances hold it by shared_ptr; when the last holder of one that nobody can ask for any more
// lets go, its directory is removed on the blocking lane.
struct FunctionVersion {
  v1::Function function;  // every default filled in; `instances` unused
  std::string code_path;  // <state>/functions/<name>/v<N>/code
};

// All that is in force of one function.
struct DeployedFunction {
  std::shared_ptr<const FunctionVersion> latest;  // the working copy
  std::shared_ptr<const v1::FunctionFacts> facts;
  // By number; one that is damaged on disk is in the facts only.
  std::map<uint64_t, std::shared_ptr<const FunctionVersion>> published;
};

// What a change of the facts can look at.
struct FunctionState {
  const v1::Function& current;
  const std::map<uint64_t, v1::Function>& published;  // by number, as frozen
  const v1::FunctionFacts& facts;
};

// Tells one state of a function from any other.
std::string RevisionId(const v1::Function& working_copy, const v1::FunctionFacts& facts);

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

  // Changes what is kept of the function beside its code. `change` runs on the lane, after all that
  // was asked for before: it must own what it uses. What it refuses changes nothing.
  using ChangeFacts = std::function<Result<>(const FunctionState& state, v1::FunctionFacts* facts)>;
  virtual void Change(const std::string& name, ChangeFacts change,
                      std::function<void(Result<>)> done) = 0;

  virtual std::shared_ptr<const FunctionVersion> Find(const std::string& name) const = 0;
  virtual const DeployedFunction* FindDeployed(const std::string& name) const = 0;
  // The working copies.
  virtual std::vector<std::shared_ptr<const FunctionVersion>> List() const = 0;
  // By name, those after `after`, until `each` says false.
  virtual void ForEach(const std::string& after,
                       const std::function<bool(const DeployedFunction&)>& each) const = 0;
};

}  // namespace spore
