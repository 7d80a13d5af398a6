// The function store on disk: every change of it, one at a time.
//
// Belongs to the blocking lane once Open has returned, but for Stop. Fault points, in order:
//   deploy-staged  deploy-unpacked  deploy-synced  deploy-renamed
//   update-staged  update-unpacked  update-synced  update-placed  update-switched
//   facts-staged  facts-renamed
//   remove-renamed
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/common/directory_tree.h"
#include "daemon/functions/function_store.h"
#include "sandbox/sys/result.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

// Makes `folder`/`name` of these bytes, durably but for its entry in the folder.
Result<> WriteRecord(int folder, const std::string& name, const std::string& bytes);

// A folder below staging/, removed with everything in it by the destructor. What cannot be removed
// then goes at the next start.
class StagedFolder {
 public:
  StagedFolder(int staging, std::string name, UniqueFd folder)
      : staging_(staging), name_(std::move(name)), folder_(std::move(folder)) {}
  StagedFolder(StagedFolder&& other) noexcept
      : staging_(std::exchange(other.staging_, -1)),
        name_(std::move(other.name_)),
        folder_(std::move(other.folder_)) {}
  StagedFolder& operator=(StagedFolder&& other) noexcept {
    std::swap(staging_, other.staging_);
    std::swap(name_, other.name_);
    std::swap(folder_, other.folder_);
    return *this;
  }
  ~StagedFolder() {
    if (staging_ >= 0) (void)RemoveTree(staging_, name_);
  }
  int folder() const { return folder_.get(); }
  const std::string& name() const { return name_; }

 private:
  int staging_;
  std::string name_;
  UniqueFd folder_;
};

class FunctionDisk {
 public:
  // Makes the directories and recovers from whatever a crash left; what is whole is in current().
  static Result<std::unique_ptr<FunctionDisk>> Open(const FunctionStore::Options& options);

  // Each returns once the change is durable; after an error the old state is in force, unless the
  // disk itself refused to go back, which the error then says.
  Result<FunctionVersion> Deploy(v1::Function function, const UniqueFd& archive);
  Result<FunctionVersion> Update(v1::Function function, const UniqueFd& archive);
  Result<> Remove(const std::string& name);
  // function_store_facts.cc
  struct Facts {
    v1::FunctionFacts facts;
    std::vector<FunctionVersion> published;
  };
  Result<Facts> ChangeFacts(const std::string& name, const FunctionStore::ChangeFacts& change);
  Facts DescribeFacts(const std::string& name) const;
  // Drops the directory of a version that is neither current nor kept for a published one. Failures
  // wait for the next Open.
  void Retire(const std::string& name, uint64_t version);

  FunctionVersion Describe(const v1::Function& function) const;
  const std::map<std::string, v1::Function>& current() const { return current_; }
  const std::map<std::string, std::string>& damaged() const { return damaged_; }

  // From any thread: ends a running worker and refuses to start another.
  void Stop();

 private:
  explicit FunctionDisk(const FunctionStore::Options& options) : options_(options) {}

  Result<> Prepare();
  Result<> Recover();
  Result<> RecoverFunction(const std::string& name);
  Result<std::string> CurrentTarget(int folder, const std::string& name);
  Result<v1::Function> Load(int folder, const std::string& name, const std::string& version) const;
  Result<StagedFolder> Stage();
  // Fills <staged>/v<N> completely and syncs it. Code from `archive`, or from `old` without one.
  Result<> BuildVersion(const StagedFolder& staged, const std::string& step,
                        const UniqueFd& archive, const v1::Function* old, v1::Function* function);
  Result<> FillFromArchive(int code, const std::string& step, const UniqueFd& archive,
                           v1::Function* function, bool* small);
  Result<> PointTo(const StagedFolder& staged, int folder, const std::string& version);
  // function_store_facts.cc
  bool IsKept(const std::string& name, uint64_t version) const;
  Result<> RecoverFacts(int folder, const std::string& name);
  Result<> PlaceFacts(int folder, const StagedFolder& staged, const v1::FunctionFacts& facts,
                      const v1::FunctionFacts& old);
  std::string RevisionOf(const std::string& name) const;
  uint64_t NextVersion(const v1::Function& old) const;
  Result<> MoveAway(int parent, const std::string& name);
  void Report(const std::string& line) const;

  FunctionStore::Options options_;
  UniqueFd functions_;
  UniqueFd staging_;
  UniqueFd stop_;
  uint64_t next_staged_ = 1;
  std::map<std::string, v1::Function> current_;
  struct Beside {
    v1::FunctionFacts facts;
    std::map<uint64_t, v1::Function> published;  // by number
  };
  std::map<std::string, Beside> beside_;        // of those that have any
  std::map<std::string, std::string> damaged_;  // name and reason
};

}  // namespace spore
