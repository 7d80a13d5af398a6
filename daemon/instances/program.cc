#include "daemon/instances/program.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/rpc/payload.h"

namespace spore {
namespace {

constexpr size_t kMaxFileName = 255;
constexpr const char* kInodes = "4";  // the folder, the file, and a little room

Result<> SetOption(const UniqueFd& context, const char* name, const std::string& value) {
  if (fsconfig(context.get(), FSCONFIG_SET_STRING, name, value.c_str(), 0) < 0)
    return SysError(std::string("fsconfig tmpfs ") + name);
  return {};
}

}  // namespace

Result<> CheckProgramRequest(const v1::RunRequest& request) {
  if (!request.script().empty()) {
    return MakeError(ErrorKind::kInvalid, "script: given, but runtime " + request.runtime() +
                                              " runs programs; expected none");
  }
  if (request.args_size() == 0 || request.args(0).empty())
    return MakeError(ErrorKind::kInvalid, "args: empty; expected the program's name first");
  for (int i = 0; i < request.args_size(); ++i) {
    if (request.args(i).find('\0') != std::string::npos) {
      return MakeError(ErrorKind::kInvalid,
                       "args[" + std::to_string(i) + "]: holds a NUL byte, which no argument can");
    }
  }
  return {};
}

Result<UniqueFd> TakeProgram(ClientFd& fd, const v1::Limits& limits) {
  SPORE_ASSIGN(const uint64_t bytes, SealedBytes(fd.get(), "program"));
  if (bytes == 0) return MakeError(ErrorKind::kInvalid, "program: an empty file");
  if (bytes >= limits.memory_bytes()) {
    return MakeError(ErrorKind::kInvalid,
                     "program: " + std::to_string(bytes) +
                         " bytes; expected fewer than limits.memory_bytes, which is " +
                         std::to_string(limits.memory_bytes()));
  }
  return fd.Take();
}

std::string ProgramName(const v1::RunRequest& request) {
  const std::string& path = request.args(0);
  const std::string name = path.substr(path.rfind('/') + 1);
  const bool fits = !name.empty() && name != "." && name != ".." && name.size() <= kMaxFileName;
  return fits ? name : "program";
}

Result<ProgramMount> MakeProgramMount(const std::string& name, uint64_t bytes, uid_t owner) {
  UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return SysError("fsopen tmpfs");
  SPORE_TRY(SetOption(context, "size", std::to_string(bytes)));
  SPORE_TRY(SetOption(context, "nr_inodes", kInodes));
  SPORE_TRY(SetOption(context, "mode", "0755"));
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return SysError("fsconfig tmpfs create");
  ProgramMount mount;
  mount.tree =
      UniqueFd(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!mount.tree) return SysError("fsmount tmpfs");
  const UniqueFd file(openat(mount.tree.get(), name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700));
  if (!file) return SysError("create the program's file", name);
  if (fchown(file.get(), owner, owner) < 0) return SysError("chown the program's file", name);
  // Not `file` itself: nothing may be open for writing when it is executed (execve(2), ETXTBSY).
  mount.place = UniqueFd(openat(mount.tree.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!mount.place) return SysError("open the program's file", name);
  return mount;
}

}  // namespace spore
