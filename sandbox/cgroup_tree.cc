#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <thread>

#include "sandbox/cgroup.h"
#include "sandbox/cgroup_favor_dynmods.h"
#include "sandbox/cgroup_file.h"
#include "sandbox/cgroup_impl.h"
#include "sandbox/cgroup_kill.h"

namespace spore {
namespace {

constexpr char kDaemonGroup[] = "daemon";

// A hierarchy and the directory in it that is ours.
struct Base {
  CgroupHierarchy hierarchy;
  std::string root;         // where `path` was made
  std::string path;         // <root>/<name>
  bool moved_here = false;  // the caller is in <path>/daemon, and was in <root>
};

Result<> MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return SysError("mkdir", path);
}

Result<> CheckName(std::string_view what, const std::string& name) {
  if (name.empty() || name.size() > 200 || name.front() == '.' ||
      name.find_first_of("/\n") != name.npos || name.starts_with("cgroup.") || name == kDaemonGroup)
    return MakeError(ErrorKind::kInvalid,
                     "cgroup " + std::string(what) + " '" + name + "' is not a usable name");
  return {};
}

// systemd marks what it has delegated (Delegate= in systemd.resource-control(5)).
bool IsDelegated(const std::string& path) {
  char value[2];
  for (const char* name : {"user.delegate", "trusted.delegate"})
    if (getxattr(path.c_str(), name, value, sizeof value) == 1 && value[0] == '1') return true;
  return false;
}

std::string EnableText(const CgroupRoles& roles, char sign) {
  std::string text;
  if (roles.memory) text += std::string(1, sign) + "memory ";
  if (roles.cpu) text += std::string(1, sign) + "cpu ";
  if (roles.pids) text += std::string(1, sign) + "pids ";
  return text;
}

Result<> EnableControllers(const std::string& path, const CgroupRoles& roles) {
  const std::string text = EnableText(roles, '+');
  if (text.empty()) return {};
  return WriteFileAt(AT_FDCWD, (path + "/cgroup.subtree_control").c_str(), text);
}

// v2: a cgroup other than the root has either processes or children with controllers
// (cgroups(7), "no internal processes"). Being in the way, the caller steps aside.
Result<> OpenV2(Base& base) {
  SPORE_TRY(MakeDirectory(base.path));
  auto enabled = EnableControllers(base.root, base.hierarchy.roles);
  if (!enabled && enabled.error().errno_value == EBUSY) {
    const std::string daemon = base.path + "/" + kDaemonGroup;
    SPORE_TRY(MakeDirectory(daemon));
    SPORE_TRY(WriteFileAt(AT_FDCWD, (daemon + "/cgroup.procs").c_str(), "0"));
    base.moved_here = true;
    enabled = EnableControllers(base.root, base.hierarchy.roles);
    if (!enabled)
      enabled.error().hint = "other processes are in " + base.root +
                             "; start the daemon in a cgroup of its own (systemd: Delegate=yes)";
  }
  SPORE_TRY(std::move(enabled));
  return EnableControllers(base.path, base.hierarchy.roles);
}

Result<Base> OpenV2Base(const CgroupHierarchy& hierarchy, const CgroupTreeOptions& options) {
  Base base{.hierarchy = hierarchy};
  if (options.root)
    base.root = *options.root;
  else if (!hierarchy.own_path.empty() && IsDelegated(hierarchy.own_path))
    base.root = hierarchy.own_path;
  else
    base.root = hierarchy.mount_point;
  base.path = base.root + "/" + options.name;
  SPORE_TRY(OpenV2(base));
  return base;
}

Result<Base> OpenV1Base(const CgroupHierarchy& hierarchy, const CgroupTreeOptions& options) {
  Base base{.hierarchy = hierarchy, .root = hierarchy.mount_point};
  base.path = base.root + "/" + options.name;
  auto made = MakeDirectory(base.path);
  if (!made && !hierarchy.own_path.empty() && hierarchy.own_path != base.root) {
    base.root = hierarchy.own_path;  // a container that shows more than it allows
    base.path = base.root + "/" + options.name;
    made = MakeDirectory(base.path);
  }
  SPORE_TRY(std::move(made));
  // Always so since 5.11; before, limits of a parent did not hold for its children.
  if (hierarchy.roles.memory)
    static_cast<void>(WriteFileAt(AT_FDCWD, (base.path + "/memory.use_hierarchy").c_str(), "1"));
  return base;
}

Result<> RequireControllers(const CgroupHost& host) {
  const std::pair<const char*, bool CgroupRoles::*> needed[] = {
      {"memory", &CgroupRoles::memory}, {"cpu", &CgroupRoles::cpu}, {"pids", &CgroupRoles::pids}};
  for (const auto& [name, role] : needed)
    if (!host.Find(role))
      return MakeError(ErrorKind::kPrecondition,
                       "no cgroup hierarchy offers the " + std::string(name) + " controller",
                       "enable it in the kernel (cgroup_enable=" + std::string(name) +
                           " on its command line) or delegate it");
  return {};
}

}  // namespace

struct CgroupTree::Impl {
  ~Impl();
  Result<> MakePlaces(std::span<const Base> where, Cgroup::Impl& made);
  Result<CgroupPlace> MakePlace(const Base& base, const std::string& group, const std::string& id,
                                uid_t owner);
  void KillGroup(const Base& base, const std::string& group, std::set<pid_t>& killed);

  CgroupLayout layout = CgroupLayout::kV1;
  std::vector<Base> bases;  // v2 first
  std::map<std::string, uid_t> groups;
  bool use_cgroup_kill = true;
  std::shared_ptr<PendingRemovals> pending = std::make_shared<PendingRemovals>();
  UniqueFd favor_dynmods;
};

CgroupTree::CgroupTree(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CgroupTree::~CgroupTree() = default;
CgroupTree::CgroupTree(CgroupTree&&) noexcept = default;
CgroupTree& CgroupTree::operator=(CgroupTree&&) noexcept = default;

CgroupTree::Impl::~Impl() {
  for (const std::string& path : pending->paths) rmdir(path.c_str());
  for (const Base& base : bases) {
    for (const auto& [group, uid] : groups) rmdir((base.path + "/" + group).c_str());
    if (base.moved_here) {
      const std::string off = EnableText(base.hierarchy.roles, '-');
      for (const std::string& path : {base.path, base.root})
        static_cast<void>(WriteFileAt(AT_FDCWD, (path + "/cgroup.subtree_control").c_str(), off));
      static_cast<void>(WriteFileAt(AT_FDCWD, (base.root + "/cgroup.procs").c_str(), "0"));
      rmdir((base.path + "/" + kDaemonGroup).c_str());
    }
    rmdir(base.path.c_str());
  }
}

Result<CgroupTree> CgroupTree::Open(const CgroupTreeOptions& options) {
  SPORE_TRY(CheckName("name", options.name));
  SPORE_ASSIGN(CgroupHost host, DetectCgroupHost());
  SPORE_TRY(RequireControllers(host));
  auto impl = std::make_unique<Impl>();
  impl->layout = host.layout;
  impl->use_cgroup_kill = options.use_cgroup_kill;
  for (const CgroupHierarchy& hierarchy : host.hierarchies) {
    auto base = hierarchy.v2 ? OpenV2Base(hierarchy, options) : OpenV1Base(hierarchy, options);
    if (!base)
      return tl::unexpected(
          std::move(base).error().Wrap("set up cgroups in " + hierarchy.mount_point));
    impl->bases.push_back(std::move(*base));
  }
  // Without it everything works, only slower: not worth a failure.
  if (options.favordynmods && host.layout != CgroupLayout::kV2)
    if (auto mount = MountFavorDynmods()) impl->favor_dynmods = std::move(*mount);
  return CgroupTree(std::move(impl));
}

CgroupLayout CgroupTree::layout() const {
  return impl_->layout;
}
bool CgroupTree::favors_dynmods() const {
  return impl_->favor_dynmods.valid();
}

Result<CgroupPlace> CgroupTree::Impl::MakePlace(const Base& base, const std::string& group,
                                                const std::string& id, uid_t owner) {
  CgroupPlace place{.v2 = base.hierarchy.v2, .roles = base.hierarchy.roles};
  const std::string path = base.path + "/" + group + (id.empty() ? "" : "/" + id);
  if (mkdir(path.c_str(), 0755) < 0) return SysError("mkdir", path);
  place.path = path;
  auto directory = OpenDirectory(path);
  if (!directory) {
    pending->RemoveOrKeep(path);
    return tl::unexpected(std::move(directory).error());
  }
  place.directory = std::move(*directory);
  // Who may clone into it: see the head of cgroup.h.
  if (place.v2 && owner != 0 &&
      fchownat(place.directory.get(), "cgroup.procs", owner, static_cast<gid_t>(-1), 0) < 0) {
    auto error = SysError("chown", path + "/cgroup.procs");
    pending->RemoveOrKeep(path);
    return error;
  }
  return place;
}

Result<> CgroupTree::AddGroup(const std::string& group, uid_t zygote_uid) {
  SPORE_TRY(CheckName("group", group));
  if (impl_->groups.contains(group))
    return MakeError(ErrorKind::kExists, "cgroup group '" + group + "' exists");
  std::vector<std::string> made;
  for (const Base& base : impl_->bases) {
    auto place = impl_->MakePlace(base, group, "", zygote_uid);
    Result<> result;
    if (place) {
      made.push_back(place->path);
      if (base.hierarchy.v2) result = EnableControllers(place->path, base.hierarchy.roles);
    } else {
      result = tl::unexpected(std::move(place).error());
    }
    if (!result) {
      for (const std::string& path : made) impl_->pending->RemoveOrKeep(path);
      return result;
    }
  }
  impl_->groups.emplace(group, zygote_uid);
  return {};
}

Result<> CgroupTree::RemoveGroup(const std::string& group) {
  if (impl_->groups.erase(group) == 0)
    return MakeError(ErrorKind::kNotFound, "no cgroup group '" + group + "'");
  for (const Base& base : impl_->bases) impl_->pending->RemoveOrKeep(base.path + "/" + group);
  return {};
}

Result<> CgroupTree::Impl::MakePlaces(std::span<const Base> where, Cgroup::Impl& made) {
  const auto owner = groups.find(made.group);
  if (owner == groups.end())
    return MakeError(ErrorKind::kNotFound, "no cgroup group '" + made.group + "'");
  for (const Base& base : where) {
    SPORE_ASSIGN(CgroupPlace place, MakePlace(base, made.group, made.id, owner->second));
    made.places.push_back(std::move(place));
    const CgroupPlace& added = made.places.back();
    if (added.v2) continue;
    UniqueFd tasks(openat(added.directory.get(), "tasks", O_WRONLY | O_CLOEXEC));
    if (!tasks) return SysError("open", added.path + "/tasks");
    made.v1_procs.push_back(std::move(tasks));
  }
  return {};
}

Result<Cgroup> CgroupTree::Create(const std::string& group, const std::string& id,
                                  const CgroupLimits& limits) {
  SPORE_ASSIGN(Cgroup cgroup, CreateBare(group, id, limits));
  if (cgroup.bare()) SPORE_TRY(Complete(cgroup, limits, {}));
  return cgroup;
}

Result<Cgroup> CgroupTree::CreateBare(const std::string& group, const std::string& id,
                                      const CgroupLimits& limits) {
  SPORE_TRY(CheckName("id", id));
  auto made = std::make_unique<Cgroup::Impl>();
  made->group = group;
  made->id = id;
  made->pending = impl_->pending;
  made->use_cgroup_kill = impl_->use_cgroup_kill;
  std::span<const Base> where(impl_->bases);
  made->bare = impl_->layout == CgroupLayout::kHybrid && where.front().hierarchy.v2;
  if (made->bare) where = where.first(1);
  SPORE_TRY(impl_->MakePlaces(where, *made));
  Cgroup cgroup(std::move(made));
  if (!cgroup.bare()) SPORE_TRY(cgroup.SetLimits(limits));
  return cgroup;
}

Result<> CgroupTree::Complete(Cgroup& cgroup, const CgroupLimits& limits,
                              std::span<const pid_t> processes) {
  Cgroup::Impl& made = *cgroup.impl_;
  SPORE_TRY(impl_->MakePlaces(std::span<const Base>(impl_->bases).subspan(1), made));
  made.bare = false;
  SPORE_TRY(cgroup.SetLimits(limits));
  for (const UniqueFd& tasks : made.v1_procs) {
    for (const pid_t pid : processes) {
      const std::string text = std::to_string(pid);
      if (write(tasks.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return SysError("move a process into cgroup " + made.id);
    }
  }
  return {};
}

size_t CgroupTree::RetryRemovals() {
  std::vector<std::string> paths = std::move(impl_->pending->paths);
  impl_->pending->paths.clear();
  for (const std::string& path : paths) {
    impl_->pending->RemoveOrKeep(path);
    if (impl_->pending->paths.empty() || impl_->pending->paths.back() != path) continue;
    // Usually still exiting; but somebody may have been moved in late.
    std::set<pid_t> killed;
    if (auto directory = OpenDirectory(path))
      static_cast<void>(KillMembers(directory->get(), killed));
  }
  return impl_->pending->paths.size();
}

void CgroupTree::Impl::KillGroup(const Base& base, const std::string& group,
                                 std::set<pid_t>& killed) {
  const std::string top = base.path + "/" + group;
  const std::vector<std::string> paths = DeepestFirst(top);
  if (base.hierarchy.v2 && use_cgroup_kill) {
    std::set<pid_t> members;
    for (const std::string& path : paths)
      if (auto directory = OpenDirectory(path))
        for (pid_t pid : Members(directory->get())) members.insert(pid);
    auto directory = OpenDirectory(top);
    if (directory && !members.contains(getpid()) && KillByFile(directory->get()))
      killed.merge(members);
  }
  for (const std::string& path : paths) {
    pending->paths.push_back(path);
    auto directory = OpenDirectory(path);
    if (!directory) continue;
    if (base.hierarchy.roles.pids)
      static_cast<void>(WriteFileAt(directory->get(), "pids.max", "0"));
    // Who outruns this is met again by RetryRemovals.
    static_cast<void>(KillMembers(directory->get(), killed));
  }
}

Result<size_t> CgroupTree::Sweep() {
  constexpr auto kPatience = std::chrono::seconds(5);
  std::set<pid_t> killed;
  // First where forks can be stopped.
  for (const bool pids : {true, false})
    for (const Base& base : impl_->bases)
      for (const std::string& group : Subgroups(base.path))
        if (base.hierarchy.roles.pids == pids && !(base.hierarchy.v2 && group == kDaemonGroup))
          impl_->KillGroup(base, group, killed);
  impl_->groups.clear();
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (RetryRemovals() > 0) {
    if (std::chrono::steady_clock::now() > give_up)
      return MakeError(ErrorKind::kInternal,
                       "cgroup " + impl_->pending->paths.front() + " cannot be removed",
                       "a process in it does not end; see its cgroup.procs");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return killed.size();
}

}  // namespace spore
