// What came of invocations: how long they and their phases took and how they failed, of all
// together and of the functions that were invoked most recently, and the traces of the last of
// each. All in bounded memory, which is allocated with a function's first invocations; nothing is
// formatted before it is asked for.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/common/cause.h"
#include "daemon/common/trace.h"
#include "daemon/history/latency_histogram.h"
#include "spore/v1/observability.pb.h"
#include "spore/v1/spore.pb.h"

namespace spore {

struct Work;
struct WorkResult;

// What the ledger needs of an answer, taken before that is given away.
struct Finished {
  Finished(const WorkResult& result, uint64_t total);

  uint64_t total_us;
  v1::StartKind start_kind;
  bool loaded_ahead;
  Cause failure;
  std::array<char, 12> instance_id{};
};

class InvocationLedger {
 public:
  // Those of this many functions are kept. Of the owner of most of them the one whose last
  // invocation is the longest ago goes first.
  static constexpr size_t kFunctions = 256;
  static constexpr size_t kTraces = 32;  // of a function

  // Of an invocation that was answered; `work` is one of a function.
  void Record(const Work& work, const Finished& finished);
  // It got no instance.
  void RecordRefusal(const Work& work, Cause cause);
  // The function was removed, and its name may be the next owner's.
  void Forget(const std::string& function);

  // Of all together.
  v1::Figures Total() const;
  // Of one that this uid owns; empty figures when there was nothing yet.
  v1::Figures Of(const std::string& function, uid_t owner) const;
  // By name.
  using Visible = std::function<bool(const std::string& function, uid_t owner)>;
  std::vector<v1::Figures> ByFunction(const Visible& visible) const;
  // The most recent first.
  std::vector<v1::InvocationTrace> Traces(const std::string& function, uid_t owner,
                                          size_t most) const;

 private:
  enum Start : uint8_t { kWarm, kAhead, kFork, kRestore, kCold, kStarts };
  enum Phase : uint8_t { kQueue, kSandbox, kStart, kLoad, kHandler, kPhases };
  static constexpr std::array<const char*, kStarts> kStartNames = {"warm", "ahead", "fork",
                                                                   "restore", "cold"};
  static constexpr std::array<const char*, kPhases> kPhaseNames = {"queue", "sandbox", "start",
                                                                   "load", "handler"};
  struct PhaseTimes {
    explicit PhaseTimes(std::span<const KeptStep> steps);
    std::array<uint64_t, kPhases> us{};
    std::array<bool, kPhases> there{};
  };
  struct Counts {
    uint64_t invocations = 0;
    uint64_t failures = 0;
    std::array<std::unique_ptr<CoarseHistogram>, kStarts> total;  // null: none yet
    std::array<std::unique_ptr<CoarseHistogram>, kPhases> phases;
    std::array<uint64_t, kCauses> causes{};
    void Add(const Finished& finished, const PhaseTimes& times);
    v1::Figures Describe(const std::string& function) const;
  };
  struct KeptTrace {
    std::array<char, 36> request_id{};
    std::array<char, 12> instance_id{};
    uint64_t base_ns = 0;
    uint64_t total_us = 0;
    uint64_t version = 0;
    uint64_t published_version = 0;
    v1::StartKind start_kind = v1::START_KIND_UNSPECIFIED;
    bool loaded_ahead = false;
    Cause failure = Cause::kNone;
    std::vector<KeptStep> steps;  // its space is used again
  };
  struct Function {
    std::string name;
    uid_t owner = 0;
    Counts counts;
    std::vector<KeptTrace> traces;  // a ring
    size_t next = 0;                // in it
  };

  static Start StartOf(const Finished& finished);
  Function& FunctionOf(const std::string& name, uid_t owner);
  void DropOne();
  const Function* Find(const std::string& name, uid_t owner) const;
  static void KeepTrace(Function& function, const Work& work, const Finished& finished);

  Counts all_;
  std::list<Function> functions_;  // the most recently invoked first
  std::unordered_map<std::string, std::list<Function>::iterator> by_name_;
};

}  // namespace spore
