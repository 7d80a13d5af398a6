#include "zygote/checkpoint/confined_criu.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "zygote/checkpoint/edit_images.h"
#include "zygote/checkpoint_protocol.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

namespace spore {
namespace {

constexpr uint64_t kRestoring = 1ull << CAP_CHECKPOINT_RESTORE;
constexpr uint64_t kSettingUp = kRestoring | 1ull << CAP_SETPCAP;

Result<> Try(const StepResult& step) {
  if (step.ok()) return {};
  return SysErrorOf(step.errno_value, step.operation);
}

Result<> SetSets(uint64_t held) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].permitted = data[i].effective = static_cast<uint32_t>(held >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(kRestoring >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) < 0) return SysError("capset");
  return {};
}

// What is ambient outlives execve(2) of a program that is nothing special, and needs no bounding
// set.
Result<> TakeRights(uid_t uid) {
  SPORE_TRY(Try(KeepCapabilities()));
  SPORE_TRY(Try(TakeIdentity(uid, /*dumpable=*/true)));
  SPORE_TRY(SetSets(kSettingUp));
  SPORE_TRY(Try(LimitBoundingSet(0)));
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHECKPOINT_RESTORE, 0, 0) < 0)
    return SysError("prctl PR_CAP_AMBIENT_RAISE");
  SPORE_TRY(Try(LockSecurebits()));
  SPORE_TRY(SetSets(kRestoring));
  return Try(SetNoNewPrivs());
}

void DefaultSignals() {
  for (int number = 1; number < NSIG; ++number) (void)signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
}

Result<> EditAll(const CheckpointOptions& options) {
  const int securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
  if (securebits < 0) return SysError("prctl PR_GET_SECUREBITS");
  const std::string folder = std::string(kCheckpointPlace) + "/" + wire::kCheckpointImages;
  return EditImages(folder, {options.uid, static_cast<uint32_t>(securebits), options.agent});
}

void Execute(const char* images) {
  // Through its own loader: it may be of another Debian than the image is.
  const std::string usr = kCriuPlace, place = kCheckpointPlace;
  std::string words[] = {usr + "/lib64/ld-linux-x86-64.so.2",
                         "--library-path",
                         usr + "/lib/x86_64-linux-gnu",
                         usr + "/sbin/criu",
                         "restore",
                         "--unprivileged",
                         "--restore-detached",
                         "--leave-stopped",
                         "--manage-cgroups=ignore",
                         "--images-dir",
                         place + "/" + images,
                         "-v1"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char path[] = "PATH=/usr/sbin:/usr/bin";
  std::string facts = "XDG_RUNTIME_DIR=" + place + "/" + kKernelFacts;
  char* environment[] = {path, facts.data(), nullptr};
  execve(argv[0], argv.data(), environment);
}

Result<> BecomeTenant(const ConfinedCriu& criu) {
  DefaultSignals();
  umask(0077);
  std::vector<int> procs;
  for (const UniqueFd& fd : criu.cgroup_procs) procs.push_back(fd.get());
  SPORE_TRY(Try(
      EnterCgroups(procs.data(), static_cast<uint32_t>(procs.size()), /*make_namespace=*/false)));
  if (setsid() < 0) return SysError("setsid");
  if (setns(criu.user_namespace.get(), CLONE_NEWUSER) < 0)
    return SysError("setns to the image's user namespace");
  SPORE_TRY(Try(LimitFixedResources()));
  SPORE_TRY(Try(LimitResources({criu.options.open_files, criu.options.file_size_bytes})));
  SPORE_TRY(TakeRights(criu.options.uid));
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return SysError("prctl PR_SET_PDEATHSIG");
  if (chdir("/") < 0) return SysError("chdir", "/");
  return {};
}

Result<> BecomeCriu(const ConfinedCriu& criu, const SeccompProgram& program, const char* images,
                    int log) {
  const int places[] = {criu.null.get(), log, log};
  SPORE_TRY(Try(PlaceDescriptors(places, 3)));
  if (const int error = LoadSeccompProgram(program); error < 0)
    return SysErrorOf(-error, "load CRIU's filter");
  Execute(images);
  return SysError("execute CRIU", {}, "spore.toml(5), `criu`, says where it is looked for");
}

}  // namespace

Result<> BecomeConfinedCriu(const ConfinedCriu& criu, int ruleset, int log) {
  SPORE_TRY(BecomeTenant(criu));
  SPORE_TRY(EditAll(criu.options));
  if (ruleset >= 0) SPORE_TRY(Try(RestrictWithLandlock(ruleset)));
  return BecomeCriu(criu, criu.program, wire::kCheckpointImages, log);
}

Result<> BecomeCriuForKernel(const ConfinedCriu& criu, int log) {
  SPORE_TRY(BecomeTenant(criu));
  return BecomeCriu(criu, criu.probe_program, kKernelFacts, log);
}

}  // namespace spore
