// The zygotes of library sets of one generation: a tree below the runtime's own zygote.
//
// Nothing waits for them: whatever one of them could serve, the one above it can, only later.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/zygotes/library_zygote.h"

namespace spore {

class LibraryZygotes {
 public:
  // What becomes of the zygote of a set, in words for whoever decides which there shall be.
  struct Handlers {
    std::function<void(const LibraryZygote& zygote)> on_ready;
    // Nobody is served by it any more; `failed`: that was not asked for.
    std::function<void(const std::string& set, const std::string& reason, bool failed)> on_gone;
  };
  using Done = std::function<void(Result<>)>;

  // The manifest is borrowed.
  LibraryZygotes(const LibraryZygote::Parts& parts, const ImageManifest& manifest,
                 Handlers handlers);
  ~LibraryZygotes();
  LibraryZygotes(const LibraryZygotes&) = delete;
  LibraryZygotes& operator=(const LibraryZygotes&) = delete;

  // The runtime's own zygote is ready, and has not been forked yet.
  void StartStem();

  // Makes the zygote of a set, and first those above it that are not there; `done` when it serves,
  // or why it does not. One that is there is done.
  void Grow(const std::string& set, Done done);
  // Ends it and those made from it. `done` (may be null) when they and their sandboxes are gone;
  // their instances must be.
  void Shrink(const std::string& set, const std::string& reason, std::function<void()> done);
  // Ends all; `empty` when they and their sandboxes are gone.
  void Retire(std::function<void()> empty);

  // The zygote that serves a set now: its own or the nearest above; null: the runtime's own.
  LibraryZygote* Serving(const std::string& set) const;
  // The one of that set, in any state but ending; null: there is none.
  LibraryZygote* Find(const std::string& set) const;
  std::vector<std::string> ReadySets() const;  // parents before children
  // Taken and not yet given back, of all and of `set` with what is below it.
  size_t in_use() const;
  size_t in_use_below(const std::string& set) const;
  const std::list<std::unique_ptr<LibraryZygote>>& all() const { return all_; }

 private:
  void Begin(const LibrarySet& set);
  void Ready(LibraryZygote& zygote);
  void Gone(LibraryZygote& zygote, const std::string& reason);
  void Failed(const std::string& set, const std::string& reason);
  void Finished(LibraryZygote& zygote);
  bool IsBelow(const std::string& name, const std::string& set) const;
  void SettleBelow(const std::string& set, const std::string& reason);
  void Settle(const std::string& set, const Result<>& result);
  void TellIfEmpty();

  Result<> Copy(const LibrarySet& set, LibraryZygote& zygote);

  LibraryZygote::Parts parts_;
  const ImageManifest& manifest_;
  Handlers handlers_;
  bool retired_ = false;
  bool ending_ = false;  // on request
  std::function<void()> empty_;
  std::unique_ptr<CopiedZygote> stem_;             // of the runtime's own zygote
  std::list<std::unique_ptr<LibraryZygote>> all_;  // the ending ones too
  std::map<std::string, std::vector<Done>> awaiting_;
  struct Shrinking {
    std::vector<LibraryZygote*> left;
    std::function<void()> done;
  };
  std::list<Shrinking> shrinking_;
  std::shared_ptr<bool> alive_;
};

}  // namespace spore
