#include "daemon/recovery.h"

#include <sys/mount.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "daemon/common/log.h"

namespace spore {
namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string Unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const auto digit = [&](size_t at) { return text[i + at] - '0'; };
      plain += static_cast<char>(digit(1) * 64 + digit(2) * 8 + digit(3));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::vector<std::string> MountPointsBelow(const std::string& mountinfo,
                                          const std::string& directory) {
  std::vector<std::string> points;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    std::string point = Unescape(field);
    if (point.starts_with(directory + "/")) points.push_back(std::move(point));
  }
  // Later mounts lie on top of or below earlier ones.
  std::reverse(points.begin(), points.end());
  return points;
}

Result<size_t> RemoveStaleMounts(const std::string& runtime_dir) {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return SysError("read", "/proc/self/mountinfo");
  const std::vector<std::string> points = MountPointsBelow(text.str(), runtime_dir);
  for (const std::string& point : points) {
    if (umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      return SysError("unmount", point, "left by an earlier spored");
    }
  }
  if (!points.empty()) {
    Log(LogLevel::kWarning,
        "unmounted " + std::to_string(points.size()) + " mounts that an earlier spored left");
  }
  return points.size();
}

Result<size_t> SweepCgroups(CgroupTree& cgroups) {
  SPORE_ASSIGN(const size_t killed, cgroups.Sweep());
  if (killed > 0) {
    Log(LogLevel::kWarning,
        "ended " + std::to_string(killed) + " processes that an earlier spored left");
  }
  return killed;
}

}  // namespace spore
