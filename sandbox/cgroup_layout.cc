#include "sandbox/cgroup_layout.h"

#include <algorithm>
#include <map>

#include "sandbox/cgroup_file.h"

namespace spore {
namespace {

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool Contains(const std::vector<std::string_view>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

CgroupRoles RolesOf(const std::vector<std::string_view>& controllers) {
  return {Contains(controllers, "memory"), Contains(controllers, "cpu"),
          Contains(controllers, "cpuacct"), Contains(controllers, "pids")};
}

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The directory of cgroup `path` when the mount shows the hierarchy from `root` on.
std::string Below(const std::string& mount_point, std::string_view root, std::string_view path) {
  if (root != "/" && path.substr(0, root.size()) == root) path.remove_prefix(root.size());
  if (path.empty() || path == "/") return mount_point;
  return mount_point + (path.front() == '/' ? "" : "/") + std::string(path);
}

// Controller (or "" for v2) to the path of this process.
std::map<std::string_view, std::string_view> OwnPaths(std::string_view self_cgroup) {
  std::map<std::string_view, std::string_view> paths;
  for (std::string_view line : Split(self_cgroup, '\n')) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string_view names = line.substr(first + 1, second - first - 1);
    const std::string_view path = line.substr(second + 1);
    if (names.empty()) paths[""] = path;
    for (std::string_view name : Split(names, ',')) paths[name] = path;
  }
  return paths;
}

}  // namespace

const CgroupHierarchy* CgroupHost::Find(bool CgroupRoles::*role) const {
  for (const CgroupHierarchy& hierarchy : hierarchies)
    if (hierarchy.roles.*role) return &hierarchy;
  return nullptr;
}

const CgroupHierarchy* CgroupHost::v2() const {
  return !hierarchies.empty() && hierarchies.front().v2 ? &hierarchies.front() : nullptr;
}

CgroupHost ParseCgroupHost(std::string_view mountinfo, std::string_view self_cgroup,
                           std::string_view v2_controllers) {
  const auto own_paths = OwnPaths(self_cgroup);
  CgroupHost host;
  std::vector<CgroupHierarchy> v1;
  CgroupRoles taken;
  for (std::string_view line : Split(mountinfo, '\n')) {
    // 36 35 0:31 /root /mount/point options... - type source super-options
    const size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    const auto left = Split(line.substr(0, dash), ' ');
    const auto right = Split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    CgroupHierarchy hierarchy;
    hierarchy.mount_point = Unescape(left[4]);
    const std::string root = Unescape(left[3]);
    if (right[0] == "cgroup2") {
      if (host.v2()) continue;
      hierarchy.v2 = true;
      hierarchy.roles =
          RolesOf(Split(v2_controllers, '\n').empty() ? std::vector<std::string_view>{}
                                                      : Split(Split(v2_controllers, '\n')[0], ' '));
      if (auto at = own_paths.find(""); at != own_paths.end())
        hierarchy.own_path = Below(hierarchy.mount_point, root, at->second);
      host.hierarchies.insert(host.hierarchies.begin(), hierarchy);
    } else if (right[0] == "cgroup") {
      const auto options = Split(right[2], ',');
      hierarchy.roles = RolesOf(options);
      for (bool CgroupRoles::*role :
           {&CgroupRoles::memory, &CgroupRoles::cpu, &CgroupRoles::cpuacct, &CgroupRoles::pids}) {
        if (taken.*role) hierarchy.roles.*role = false;  // mounted a second time elsewhere
        taken.*role |= hierarchy.roles.*role;
      }
      if (!hierarchy.roles.any()) continue;
      for (std::string_view option : options)
        if (auto at = own_paths.find(option); at != own_paths.end())
          hierarchy.own_path = Below(hierarchy.mount_point, root, at->second);
      v1.push_back(std::move(hierarchy));
    }
  }
  const bool v1_limits = taken.memory || taken.cpu || taken.pids;
  for (CgroupHierarchy& hierarchy : v1) {
    const CgroupRoles& roles = hierarchy.roles;
    const bool only_cpuacct = roles.cpuacct && !roles.cpu && !roles.memory && !roles.pids;
    if (only_cpuacct && host.v2()) continue;
    host.hierarchies.push_back(std::move(hierarchy));
  }
  host.layout = !host.v2()  ? CgroupLayout::kV1
                : v1_limits ? CgroupLayout::kHybrid
                            : CgroupLayout::kV2;
  return host;
}

Result<CgroupHost> DetectCgroupHost() {
  SPORE_ASSIGN(const std::string mountinfo, ReadFile("/proc/self/mountinfo"));
  SPORE_ASSIGN(const std::string self_cgroup, ReadFile("/proc/self/cgroup"));
  CgroupHost host = ParseCgroupHost(mountinfo, self_cgroup, "");
  if (const CgroupHierarchy* v2 = host.v2()) {
    SPORE_ASSIGN(const std::string controllers, ReadFile(v2->mount_point + "/cgroup.controllers"));
    host = ParseCgroupHost(mountinfo, self_cgroup, controllers);
  }
  if (host.hierarchies.empty())
    return MakeError(ErrorKind::kPrecondition, "no cgroup hierarchy is mounted",
                     "mount -t cgroup2 none /sys/fs/cgroup");
  return host;
}

}  // namespace spore
