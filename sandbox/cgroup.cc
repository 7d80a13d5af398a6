#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/cgroup_controllers.h"
#include "sandbox/cgroup_file.h"
#include "sandbox/cgroup_impl.h"
#include "sandbox/cgroup_kill.h"

namespace spore {

void PendingRemovals::RemoveOrKeep(const std::string& path) {
  if (rmdir(path.c_str()) < 0 && errno != ENOENT) paths.push_back(path);
}

OpenPlace::OpenPlace(const CgroupPlace& place) : place_(place) {
  if (place.directory) return;
  own_.Reset(open(place.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own_) error_ = errno;
}

Result<> OpenPlace::Check() const {
  if (error_ == 0) return {};
  return SysErrorOf(error_, "open", place_.path);
}

Cgroup::Impl::~Impl() {
  const size_t before = pending->paths.size();
  for (const CgroupPlace& place : places) pending->RemoveOrKeep(place.path);
  if (pending->paths.size() == before) return;
  if (!KillAll()) static_cast<void>(StopForks());
  // Whoever is in a v1 hierarchy only.
  std::set<pid_t> killed;
  for (const CgroupPlace& place : places)
    static_cast<void>(KillMembers(OpenPlace(place).fd(), killed));
}

bool Cgroup::Impl::KillAll() {
  const CgroupPlace* place = v2();
  return use_cgroup_kill && place && KillByFile(OpenPlace(*place).fd());
}

const CgroupPlace* Cgroup::Impl::v2() const {
  return !places.empty() && places.front().v2 ? &places.front() : nullptr;
}

Result<> Cgroup::Impl::StopForks() {
  for (const CgroupPlace& place : places) {
    if (!place.roles.pids) continue;
    SPORE_TRY(WriteFileAt(OpenPlace(place).fd(), "pids.max", "0"));
    forks_stopped = true;
  }
  return {};
}

Cgroup::Cgroup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cgroup::~Cgroup() = default;
Cgroup::Cgroup(Cgroup&&) noexcept = default;
Cgroup& Cgroup::operator=(Cgroup&&) noexcept = default;

Result<> Cgroup::SetLimits(const CgroupLimits& limits) {
  CgroupLimits now = impl_->limits;
  if (impl_->forks_stopped) now.pids = ~limits.pids;  // anything else, so that it is written
  if (now == limits) return {};
  for (const CgroupPlace& place : impl_->places) {
    const OpenPlace open(place);
    SPORE_TRY(open.Check());
    auto apply = place.v2 ? ApplyLimitsV2 : ApplyLimitsV1;
    auto applied = apply(open.fd(), place.roles, now, limits);
    if (!applied)
      return tl::unexpected(std::move(applied).error().Wrap("limit cgroup " + place.path));
  }
  impl_->limits = limits;
  impl_->forks_stopped = false;
  return {};
}

const CgroupLimits& Cgroup::limits() const {
  return impl_->limits;
}

Result<CgroupUsage> Cgroup::Usage() const {
  CgroupUsage usage;
  bool v1_cpu_time = false;
  for (const CgroupPlace& place : impl_->places) v1_cpu_time |= !place.v2 && place.roles.cpuacct;
  for (const CgroupPlace& place : impl_->places) {
    const OpenPlace open(place);
    SPORE_TRY(open.Check());
    auto read = place.v2 ? ReadUsageV2(open.fd(), place.roles, !v1_cpu_time, usage)
                         : ReadUsageV1(open.fd(), place.roles, usage);
    if (!read) return tl::unexpected(std::move(read).error().Wrap("usage of " + place.path));
  }
  return usage;
}

uint64_t Cgroup::MemoryPeak() const {
  for (const CgroupPlace& place : impl_->places) {
    if (!place.roles.memory) continue;
    const char* file = place.v2 ? "memory.peak" : "memory.max_usage_in_bytes";
    return ReadNumberAt(OpenPlace(place).fd(), file, 0);
  }
  return 0;
}

int Cgroup::v2_directory() const {
  const CgroupPlace* place = impl_->v2();
  return place ? place->directory.get() : -1;
}

const std::vector<UniqueFd>& Cgroup::v1_procs() const {
  return impl_->v1_procs;
}

bool Cgroup::bare() const {
  return impl_->bare;
}

void Cgroup::Settle() {
  impl_->v1_procs.clear();
  for (CgroupPlace& place : impl_->places) place.directory.Reset();
}

Result<> Cgroup::Attach(pid_t pid) {
  const std::string text = std::to_string(pid);
  for (const CgroupPlace& place : impl_->places) {
    const OpenPlace open(place);
    SPORE_TRY(open.Check());
    auto moved = WriteFileAt(open.fd(), "cgroup.procs", text);
    if (!moved) return tl::unexpected(std::move(moved).error().Wrap("move into " + place.path));
  }
  return {};
}

Result<> Cgroup::Kill() {
  if (impl_->KillAll()) return {};
  SPORE_TRY(impl_->StopForks());
  std::set<pid_t> killed;
  for (const CgroupPlace& place : impl_->places)
    SPORE_TRY(KillMembers(OpenPlace(place).fd(), killed));
  return {};
}

Result<> Cgroup::Freeze(bool freeze) {
  const CgroupPlace* place = impl_->v2();
  if (place == nullptr) {
    return MakeError(ErrorKind::kPrecondition, "this host has no cgroup v2 hierarchy to freeze in",
                     "mount one: spore check");
  }
  const OpenPlace open(*place);
  SPORE_TRY(open.Check());
  return WriteFileAt(open.fd(), "cgroup.freeze", freeze ? "1" : "0");
}

bool Cgroup::IsFrozen() const {
  const CgroupPlace* place = impl_->v2();
  if (place == nullptr) return false;
  const auto events = ReadFileAt(OpenPlace(*place).fd(), "cgroup.events");
  return events && KeyedNumber(*events, "frozen") == 1;
}

bool Cgroup::kills_at_once() const {
  const CgroupPlace* place = impl_->v2();
  return impl_->use_cgroup_kill && place && ExistsAt(OpenPlace(*place).fd(), "cgroup.kill");
}

std::vector<std::string> Cgroup::Paths() const {
  std::vector<std::string> paths;
  for (const CgroupPlace& place : impl_->places) paths.push_back(place.path);
  return paths;
}

}  // namespace spore
