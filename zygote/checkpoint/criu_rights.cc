#include "zygote/checkpoint/criu_rights.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/root_fs.h"
#include "sandbox/steps/step.h"
#include "zygote/checkpoint/try_step.h"

namespace spore {
namespace {

Result<> SetSets(uint64_t held, uint64_t inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].permitted = data[i].effective = static_cast<uint32_t>(held >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(inheritable >> (32 * i));
  }
  if (syscall(SYS_capset, &header, data) < 0) return SysError("capset");
  return {};
}

Result<> RaiseAmbient(uint64_t capabilities) {
  for (unsigned long number = 0; number < 64; ++number) {
    if ((capabilities & 1ull << number) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0)
      return SysError("prctl PR_CAP_AMBIENT_RAISE");
  }
  return {};
}

void DefaultSignals() {
  for (int number = 1; number < NSIG; ++number) (void)signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

Result<> TakeCriuRights(uid_t uid, uint64_t capabilities) {
  SPORE_TRY(Try(LimitFixedResources()));
  SPORE_TRY(Try(KeepCapabilities()));
  SPORE_TRY(Try(TakeIdentity(uid, /*dumpable=*/true)));
  SPORE_TRY(SetSets(capabilities | 1ull << CAP_SETPCAP, capabilities));
  SPORE_TRY(Try(LimitBoundingSet(0)));  // what is ambient needs none
  SPORE_TRY(RaiseAmbient(capabilities));
  SPORE_TRY(Try(LockSecurebits()));
  SPORE_TRY(SetSets(capabilities, capabilities));
  SPORE_TRY(Try(SetNoNewPrivs()));
  // The change of ids has taken it away.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return SysError("prctl PR_SET_PDEATHSIG");
  return {};
}

std::vector<std::string> CriuCommand(const std::vector<std::string>& arguments) {
  const std::string usr = kCriuPlace;
  std::vector<std::string> words = {usr + "/lib64/ld-linux-x86-64.so.2", "--library-path",
                                    usr + "/lib/x86_64-linux-gnu", usr + "/sbin/criu"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.emplace_back("--no-default-config");
  return words;
}

Result<> ExecuteCriu(const std::vector<std::string>& arguments, const std::string& runtime_folder) {
  DefaultSignals();
  std::vector<std::string> words = CriuCommand(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char path[] = "PATH=/usr/sbin:/usr/bin";
  std::string runtime = "XDG_RUNTIME_DIR=" + runtime_folder;
  char* environment[] = {path, runtime.data(), nullptr};
  execve(argv[0], argv.data(), environment);
  return SysError("execute CRIU", {}, "spore.toml(5), `criu`, says where it is looked for");
}

}  // namespace spore
