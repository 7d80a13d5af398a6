#include "daemon/history/invocation_ledger.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <map>

#include "daemon/common/text.h"
#include "daemon/functions/function_facts.h"
#include "daemon/functions/work.h"
#include "daemon/loop/event_loop.h"

namespace spore {
namespace {

template <size_t kSize>
void CopyInto(std::array<char, kSize>& to, std::string_view from) {
  to = {};
  std::copy_n(from.data(), std::min(kSize, from.size()), to.data());
}

template <size_t kSize>
std::string TextOf(const std::array<char, kSize>& kept) {
  return {kept.data(), strnlen(kept.data(), kSize)};
}

v1::Histogram Describe(const CoarseHistogram& kept) {
  v1::Histogram histogram;
  histogram.set_count(kept.count());
  histogram.set_sum_us(kept.sum_us());
  histogram.set_max_us(kept.max_us());
  constexpr size_t kLast = CoarseHistogram::kBuckets - 1;
  for (size_t i = 0; i <= kLast; ++i) {
    if (kept.bucket(i) == 0) continue;
    v1::HistogramBucket& bucket = *histogram.add_buckets();
    const uint64_t bound = CoarseHistogram::UpperBound(i);
    bucket.set_up_to_us(i == kLast ? std::max(bound, kept.max_us()) : bound);
    bucket.set_count(kept.bucket(i));
  }
  return histogram;
}

void AddTo(std::unique_ptr<CoarseHistogram>& histogram, uint64_t us) {
  if (!histogram) histogram = std::make_unique<CoarseHistogram>();
  histogram->Add(us);
}

}  // namespace

Finished::Finished(const WorkResult& result, uint64_t total)
    : total_us(total),
      start_kind(result.start_kind),
      loaded_ahead(result.loaded_ahead),
      failure(result.error ? CauseOf(*result.error) : Cause::kNone) {
  CopyInto(instance_id, result.instance_id);
}

InvocationLedger::Start InvocationLedger::StartOf(const Finished& finished) {
  switch (finished.start_kind) {
    case v1::START_KIND_WARM:
      return kWarm;
    case v1::START_KIND_RESTORE:
      return kRestore;
    case v1::START_KIND_COLD:
      return kCold;
    default:
      return finished.loaded_ahead ? kAhead : kFork;
  }
}

InvocationLedger::PhaseTimes::PhaseTimes(std::span<const KeptStep> steps) {
  int64_t start_began_us = 0;
  bool started = false;
  const auto add = [this](Phase phase, uint64_t duration_us) {
    us.at(phase) += duration_us;
    there.at(phase) = true;
  };
  for (const KeptStep& step : steps) {
    switch (step.name) {
      case StepName::kQueue:
        add(kQueue, step.duration_us);
        break;
      case StepName::kTakeSandbox:
        add(kSandbox, step.duration_us);
        break;
      case StepName::kPrepare:
        started = true;
        start_began_us = step.start_us;
        break;
      case StepName::kLoad:
        // Its confinement, which several processes have a part in, lies between the two.
        if (started && step.start_us >= start_began_us)
          add(kStart, static_cast<uint64_t>(step.start_us - start_began_us));
        add(kLoad, step.duration_us);
        break;
      case StepName::kHandler:
        add(kHandler, step.duration_us);
        break;
      default:
        break;
    }
  }
}

void InvocationLedger::Counts::Add(const Finished& finished, const PhaseTimes& times) {
  ++invocations;
  if (finished.failure != Cause::kNone) {
    ++failures;
    ++causes.at(static_cast<size_t>(finished.failure));
  }
  AddTo(total.at(StartOf(finished)), finished.total_us);
  for (size_t i = 0; i < kPhases; ++i) {
    if (times.there.at(i)) AddTo(phases.at(i), times.us.at(i));
  }
}

v1::Figures InvocationLedger::Counts::Describe(const std::string& function) const {
  v1::Figures figures;
  figures.set_function(function);
  figures.set_invocations(invocations);
  figures.set_failures(failures);
  for (size_t i = 0; i < kStarts; ++i) {
    if (total.at(i)) (*figures.mutable_total())[kStartNames.at(i)] = spore::Describe(*total.at(i));
  }
  for (size_t i = 0; i < kPhases; ++i) {
    if (phases.at(i))
      (*figures.mutable_phases())[kPhaseNames.at(i)] = spore::Describe(*phases.at(i));
  }
  for (size_t i = 0; i < kCauses; ++i) {
    if (causes.at(i) == 0) continue;
    const auto cause = static_cast<Cause>(i);
    auto& map = IsRefusal(cause) ? *figures.mutable_refusals_by_cause()
                                 : *figures.mutable_failures_by_cause();
    map[NameOf(cause)] = causes.at(i);
  }
  return figures;
}

InvocationLedger::Function& InvocationLedger::FunctionOf(const std::string& name, uid_t owner) {
  const auto found = by_name_.find(name);
  if (found != by_name_.end() && found->second->owner == owner) {
    functions_.splice(functions_.begin(), functions_, found->second);
    return functions_.front();
  }
  // An answer may come after the function was removed: what follows is another's.
  Forget(name);
  if (functions_.size() == kFunctions) DropOne();
  functions_.emplace_front();
  functions_.front().name = name;
  functions_.front().owner = owner;
  by_name_[name] = functions_.begin();
  return functions_.front();
}

// Of whoever has the most: nobody's functions are pushed out by the many of somebody else.
void InvocationLedger::DropOne() {
  std::map<uid_t, size_t> counts;
  for (const Function& function : functions_) ++counts[function.owner];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const auto oldest = std::find_if(functions_.rbegin(), functions_.rend(),
                                   [&](const Function& f) { return f.owner == most->first; });
  by_name_.erase(oldest->name);
  functions_.erase(std::next(oldest).base());
}

const InvocationLedger::Function* InvocationLedger::Find(const std::string& name,
                                                         uid_t owner) const {
  const auto found = by_name_.find(name);
  return found != by_name_.end() && found->second->owner == owner ? &*found->second : nullptr;
}

void InvocationLedger::Record(const Work& work, const Finished& finished) {
  const v1::Function& deployed = work.version->function;
  Function& function = FunctionOf(deployed.name(), deployed.owner_uid());
  const PhaseTimes times(work.trace.steps());
  all_.Add(finished, times);
  function.counts.Add(finished, times);
  KeepTrace(function, work, finished);
}

void InvocationLedger::KeepTrace(Function& function, const Work& work, const Finished& finished) {
  if (function.traces.size() < kTraces) function.traces.emplace_back();
  KeptTrace& trace = function.traces[function.next];
  function.next = (function.next + 1) % kTraces;
  CopyInto(trace.request_id, work.request_id);
  trace.instance_id = finished.instance_id;
  trace.base_ns = work.trace.base_ns();
  trace.total_us = finished.total_us;
  trace.version = work.version->function.version();
  trace.published_version = work.version->function.published_version();
  trace.start_kind = finished.start_kind;
  trace.loaded_ahead = finished.loaded_ahead;
  trace.failure = finished.failure;
  const std::span<const KeptStep> steps = work.trace.steps();
  trace.steps.assign(steps.begin(), steps.end());
}

void InvocationLedger::RecordRefusal(const Work& work, Cause cause) {
  const auto index = static_cast<size_t>(cause);
  ++all_.causes.at(index);
  if (!work.version) return;
  const v1::Function& function = work.version->function;
  ++FunctionOf(function.name(), function.owner_uid()).counts.causes.at(index);
}

void InvocationLedger::Forget(const std::string& function) {
  const auto found = by_name_.find(function);
  if (found == by_name_.end()) return;
  functions_.erase(found->second);
  by_name_.erase(found);
}

v1::Figures InvocationLedger::Total() const {
  return all_.Describe("");
}

v1::Figures InvocationLedger::Of(const std::string& function, uid_t owner) const {
  const Function* const found = Find(function, owner);
  return found != nullptr ? found->counts.Describe(function) : Counts().Describe(function);
}

std::vector<v1::Figures> InvocationLedger::ByFunction(const Visible& visible) const {
  std::vector<v1::Figures> list;
  for (const Function& function : functions_) {
    if (visible(function.name, function.owner))
      list.push_back(function.counts.Describe(function.name));
  }
  std::sort(list.begin(), list.end(),
            [](const v1::Figures& a, const v1::Figures& b) { return a.function() < b.function(); });
  return list;
}

std::vector<v1::InvocationTrace> InvocationLedger::Traces(const std::string& function, uid_t owner,
                                                          size_t most) const {
  std::vector<v1::InvocationTrace> list;
  const Function* const found = Find(function, owner);
  if (found == nullptr) return list;
  const auto unix_us = std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
  const uint64_t now_ns = MonotonicNs();
  const size_t count = found->traces.size();
  for (size_t i = 1; i <= std::min(count, most); ++i) {
    const KeptTrace& kept = found->traces[(found->next + count - i) % count];
    v1::InvocationTrace& trace = list.emplace_back();
    trace.set_request_id(ValidUtf8(TextOf(kept.request_id), kept.request_id.size()));
    trace.set_instance_id(TextOf(kept.instance_id));
    trace.set_received_unix_us(unix_us - static_cast<int64_t>((now_ns - kept.base_ns) / 1000));
    trace.set_start_kind(kept.start_kind);
    trace.set_loaded_ahead(kept.loaded_ahead);
    trace.set_function_version(kept.version);
    v1::Function version;
    version.set_published_version(kept.published_version);
    trace.set_executed_version(VersionLabel(version));
    trace.set_failure(NameOf(kept.failure));
    *trace.mutable_trace() = BuildTrace(kept.steps, kept.total_us);
  }
  return list;
}

}  // namespace spore
