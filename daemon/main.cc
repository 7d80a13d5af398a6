// spored(8): the arguments, and what becomes of them.
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/common/log.h"
#include "daemon/config/config.h"
#include "daemon/daemon.h"
#include "sandbox/kernel_features.h"
#include "sandbox/sys/fault_point.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
// Blocks from here on are given back as soon as they are free. Left alone, glibc raises this to the
// largest block there has been, and would keep what the rewriting of a log took (mallopt(3)).
constexpr int kLargeBlock = 512 << 10;

struct Arguments {
  std::string config = spore::DefaultConfigPath();
  std::string socket;
  std::string state;
  bool check = false;
  bool json = false;
};

int Report(const spore::Error& error, int code) {
  spore::Log(spore::LogLevel::kError, error.Message());
  return code;
}

const char* VerdictName(spore::HostCheck::Verdict verdict) {
  switch (verdict) {
    case spore::HostCheck::Verdict::kOk:
      return "ok";
    case spore::HostCheck::Verdict::kWarning:
      return "warning";
    case spore::HostCheck::Verdict::kFailure:
      return "failure";
  }
  return "failure";
}

// What this host can and cannot do; fails when Spore cannot run on it.
int Check(const spore::Config& config, bool json) {
  const auto checks =
      spore::CheckHost(spore::ProbeKernelFeatures(), config.uid_base, config.uid_count);
  int code = 0;
  auto list = nlohmann::json::array();
  for (const spore::HostCheck& check : checks) {
    if (check.verdict == spore::HostCheck::Verdict::kFailure) code = kFailed;
    const char* verdict = VerdictName(check.verdict);
    if (json) {
      list.push_back({{"name", check.name},
                      {"verdict", verdict},
                      {"finding", check.finding},
                      {"advice", check.advice}});
      continue;
    }
    std::printf("%-8s %s: %s\n", verdict, check.name.c_str(), check.finding.c_str());
    if (!check.advice.empty()) std::printf("         %s\n", check.advice.c_str());
  }
  if (json) {
    const auto replace = nlohmann::json::error_handler_t::replace;
    std::printf("%s\n", list.dump(2, ' ', false, replace).c_str());
  }
  return std::fflush(stdout) == 0 ? code : kFailed;
}

// As the configuration file's values are: absolute and short enough.
spore::Result<> ApplyArguments(const Arguments& arguments, spore::Config* config) {
  for (const auto& [option, value, target] :
       {std::tuple("--socket", &arguments.socket, &config->socket),
        std::tuple("--state", &arguments.state, &config->state_dir)}) {
    if (value->empty()) continue;
    if (value->front() != '/') {
      return spore::MakeError(spore::ErrorKind::kInvalid,
                              std::string(option) + ": \"" + *value + "\" is not an absolute path");
    }
    *target = *value;
  }
  return {};
}

int Run(const Arguments& arguments) {
  if (const char* fault = std::getenv("SPORE_FAULT"); fault != nullptr) {
    if (auto armed = spore::ArmFaultPoint(fault); !armed) return Report(armed.error(), kUsage);
  }
  auto config = spore::LoadConfig(arguments.config);
  if (!config) return Report(config.error(), kUsage);
  if (auto applied = ApplyArguments(arguments, &*config); !applied) {
    return Report(applied.error(), kUsage);
  }
  if (arguments.check) return Check(*config, arguments.json);
  if (geteuid() != 0) {
    return Report({spore::ErrorKind::kDenied,
                   0,
                   "spored must run as root: it makes namespaces, mounts and control groups",
                   {},
                   {}},
                  kFailed);
  }
  mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  auto images = spore::LoadImages(config->image_dirs);
  if (!images) return Report(images.error(), kUsage);
  if (auto result = spore::RunDaemon(*config, *images); !result) {
    return Report(result.error(), kFailed);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Runs untrusted code in fresh, confined sandboxes. See spored(8).", "spored");
  app.add_option("--config", arguments.config, "Configuration file, spore.toml(5)")
      ->type_name("FILE");
  app.add_option("--socket", arguments.socket, "Where to listen")->type_name("PATH");
  app.add_option("--state", arguments.state, "Where functions and logs are kept")->type_name("DIR");
  auto* check =
      app.add_flag("--check", arguments.check, "Say what this host can and cannot do, and end");
  app.add_flag("--json", arguments.json, "With --check: as JSON")->needs(check);
  app.set_version_flag("--version", "spored " SPORE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return Run(arguments);
}
