#include "zygote/checkpoint/confined_criu.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "zygote/checkpoint/criu_rights.h"
#include "zygote/checkpoint/edit_images.h"
#include "zygote/checkpoint/try_step.h"
#include "zygote/checkpoint_protocol.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

namespace spore {
namespace {

constexpr uint64_t kOpenFiles = 65536;
constexpr uint64_t kRestoring = 1ull << CAP_CHECKPOINT_RESTORE;

Result<> EditAll(const ConfinedCriu& criu) {
  const CheckpointOptions& options = criu.options;
  const int securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
  if (securebits < 0) return SysError("prctl PR_GET_SECUREBITS");
  const std::string folder = std::string(kCheckpointPlace) + "/" + wire::kCheckpointImages;
  SPORE_ASSIGN(const std::vector<pid_t> stopped,
               EditImages(folder, {options.uid, static_cast<uint32_t>(securebits), options.agent}));
  // A pipe that blocks nobody takes more of them than a session may have processes.
  (void)!write(criu.stopped.get(), stopped.data(), stopped.size() * sizeof stopped[0]);
  return {};
}

Result<> BecomeTenant(const ConfinedCriu& criu) {
  umask(0077);
  std::vector<int> procs;
  for (const UniqueFd& fd : criu.cgroup_procs) procs.push_back(fd.get());
  SPORE_TRY(Try(
      EnterCgroups(procs.data(), static_cast<uint32_t>(procs.size()), /*make_namespace=*/false)));
  if (setsid() < 0) return SysError("setsid");
  if (setns(criu.user_namespace.get(), CLONE_NEWUSER) < 0)
    return SysError("setns to the image's user namespace");
  if (criu.clocks.any()) SPORE_TRY(EnterTimeNamespace(criu.clocks));
  // More descriptors than the session may have: it gets its own limit afterwards (LimitFiles).
  SPORE_TRY(Try(LimitResources({.open_files = kOpenFiles})));
  SPORE_TRY(TakeCriuRights(criu.options.uid, kRestoring));
  if (chdir("/") < 0) return SysError("chdir", "/");
  return {};
}

Result<> BecomeCriu(const ConfinedCriu& criu, const SeccompProgram& program, const char* images,
                    int log) {
  const int places[] = {criu.null.get(), log, log};
  SPORE_TRY(Try(PlaceDescriptors(places, 3)));
  if (const int error = LoadSeccompProgram(program); error < 0)
    return SysErrorOf(-error, "load CRIU's filter");
  const std::string place = std::string(kCheckpointPlace) + "/";
  return ExecuteCriu(
      {"restore", "--unprivileged", "--restore-detached", "--leave-stopped",
       "--manage-cgroups=ignore", "--file-locks", "--images-dir", place + images, "-v1"},
      place + kKernelFacts);
}

}  // namespace

Result<> BecomeConfinedCriu(const ConfinedCriu& criu, int ruleset, int log) {
  SPORE_TRY(BecomeTenant(criu));
  SPORE_TRY(EditAll(criu));
  if (ruleset >= 0) SPORE_TRY(Try(RestrictWithLandlock(ruleset)));
  return BecomeCriu(criu, criu.program, wire::kCheckpointImages, log);
}

Result<> BecomeCriuForKernel(const ConfinedCriu& criu, int log) {
  SPORE_TRY(BecomeTenant(criu));
  return BecomeCriu(criu, criu.probe_program, kKernelFacts, log);
}

}  // namespace spore
