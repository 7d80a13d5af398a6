// spore image build: a root made from Debian packages, which is then imported like any other.
//
// The work is mmdebstrap's, run by whoever calls: no package manager runs in spored, and none of a
// package's scripts as root of the host, since mmdebstrap unshares a user namespace for them.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tools/spore/context.h"
#include "tools/spore/image.h"
#include "tools/spore/image_manifest.h"
#include "tools/spore/output.h"

namespace spore::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  ImageArguments image;
  std::vector<std::string> packages;
  std::string suite;
  std::vector<std::string> sources;
  bool minimal = false;
};

// What brings each runtime.
constexpr struct {
  const char* runtime;
  const char* packages;
} kRuntimePackages[] = {{"java", "default-jre-headless"},
                        {"native", "libstdc++6"},
                        {"node", "nodejs"},
                        {"provided", "libstdc++6"},
                        {"python", "python3"}};

// Removed with everything in it; on disk, because a root may not fit into memory.
class ScratchFolder {
 public:
  static Expected<ScratchFolder> Make() {
    const char* top = std::getenv("TMPDIR");
    std::string path =
        std::string(top != nullptr && *top == '/' ? top : "/var/tmp") + "/spore-image-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
      return Fail(kRefused, "cannot make a folder " + path + ": " + std::strerror(errno));
    return ScratchFolder(path);
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ScratchFolder(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

std::string HostSuite() {
  std::ifstream file("/etc/os-release");
  constexpr std::string_view kKey = "VERSION_CODENAME=";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kKey)) return line.substr(kKey.size());
  }
  return {};
}

// Where the host's own apt takes packages from.
std::vector<std::string> HostSources() {
  std::vector<std::string> files;
  std::error_code error;
  if (fs::file_size("/etc/apt/sources.list", error) > 0 && !error)
    files.emplace_back("/etc/apt/sources.list");
  std::vector<std::string> more;
  for (const auto& entry : fs::directory_iterator("/etc/apt/sources.list.d", error)) {
    const std::string name = entry.path().string();
    if (name.ends_with(".list") || name.ends_with(".sources")) more.push_back(name);
  }
  std::sort(more.begin(), more.end());
  files.insert(files.end(), more.begin(), more.end());
  return files;
}

// Debian's names (deb-control(5)), and what apt takes behind them.
bool IsPackage(const std::string& name) {
  return !name.empty() && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || std::strchr("+-.:=~", c) != nullptr;
         });
}

Expected<std::string> PackageList(const Arguments& arguments, const ManifestFacts& manifest) {
  const std::string runtime =
      arguments.image.runtime.empty() ? manifest.runtime : arguments.image.runtime;
  std::string list;
  for (const auto& known : kRuntimePackages) {
    if (runtime == known.runtime) list = known.packages;
  }
  if (list.empty())
    return Fail(kUsage, "--runtime: '" + runtime + "' is not one of java, native, node, python");
  for (const auto* packages : {&manifest.packages, &arguments.packages}) {
    for (const std::string& package : *packages) {
      if (!IsPackage(package)) return Fail(kUsage, "'" + package + "' is no package's name");
      list += "," + package;
    }
  }
  return list;
}

// "debian" or "debian:SUITE" of the manifest.
Expected<std::string> SuiteOf(const Arguments& arguments, const ManifestFacts& manifest) {
  std::string suite = arguments.suite;
  const std::string& root = manifest.root;
  if (!root.empty() && root != "debian" && !root.starts_with("debian:"))
    return Fail(kUsage, "the manifest's root is '" + root +
                            "'; expected debian or debian:SUITE, or use `spore image import`");
  if (suite.empty() && root.starts_with("debian:")) suite = root.substr(7);
  if (suite.empty()) suite = HostSuite();
  if (!IsPackage(suite)) return Fail(kUsage, "--suite: '" + suite + "' is no suite's name");
  return suite;
}

// Its messages go to standard error; standard output is ours.
Expected<int> RunProgram(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (failed == ENOENT)
    return Fail(kRefused, words[0] + " is not installed: it is in the Debian package of this name");
  if (failed != 0) return Fail(kRefused, "cannot start " + words[0] + ": " + std::strerror(failed));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return Fail(kRefused, "cannot wait for " + words[0]);
  }
  return status;
}

Outcome Build(const Context& context, const Arguments& arguments) {
  auto manifest = ReadManifest(arguments.image.manifest);
  if (!manifest) return tl::unexpected(manifest.error());
  auto packages = PackageList(arguments, *manifest);
  if (!packages) return tl::unexpected(packages.error());
  auto suite = SuiteOf(arguments, *manifest);
  if (!suite) return tl::unexpected(suite.error());
  const std::vector<std::string> sources =
      arguments.sources.empty() ? HostSources() : arguments.sources;
  if (sources.empty()) return Fail(kRefused, "this host's apt has no sources; name one: --sources");
  // Early: it would be a pity after minutes of work.
  auto connection = context.Connect();
  if (!connection) return tl::unexpected(connection.error());
  auto scratch = ScratchFolder::Make();
  if (!scratch) return tl::unexpected(scratch.error());
  const std::string tar = scratch->path() + "/root.tar";
  // The variant that runs nothing in the root has an earlier last moment.
  const std::string hook = arguments.minimal ? "--extract-hook=" : "--customize-hook=";
  // What nothing reads at run time, and what differs from one build to the next.
  std::vector<std::string> words = {
      "mmdebstrap",
      "--mode=unshare",
      arguments.minimal ? "--variant=extract" : "--variant=essential",
      "--quiet",
      "--include=" + *packages,
      "--dpkgopt=path-exclude=/usr/share/man/*",
      "--dpkgopt=path-exclude=/usr/share/locale/*",
      "--dpkgopt=path-exclude=/usr/share/doc/*",
      "--dpkgopt=path-include=/usr/share/doc/*/copyright",
      hook +
          "rm -rf \"$1\"/etc/hostname \"$1\"/etc/resolv.conf \"$1\"/etc/machine-id "
          "\"$1\"/var/log/* \"$1\"/var/cache/* \"$1\"/var/lib/apt/* \"$1\"/usr/share/doc-base",
      hook + "find \"$1\"/usr -name __pycache__ -prune -exec rm -rf {} +",
      *suite,
      tar};
  words.insert(words.end(), sources.begin(), sources.end());
  // Alternatives of manual pages are made there, though the pages are left out.
  if (!arguments.minimal)
    words.insert(words.begin() + 1, "--essential-hook=mkdir -p \"$1\"/usr/share/man/man1");
  auto status = RunProgram(std::move(words));
  if (!status) return tl::unexpected(status.error());
  if (*status != 0)
    return Fail(kRefused, "mmdebstrap could not make the root; it has said why above");
  ImageArguments made = arguments.image;
  made.root = tar;
  made.source = fmt::format("Debian {}: {}", *suite, *packages);
  return ImportImage(context, made);
}

}  // namespace

void AddImageBuild(CLI::App& image, Context& context) {
  CLI::App* build =
      AddCommand(image, context, "build", "Make a version of an image from Debian packages");
  auto made = std::make_shared<Arguments>();
  build->add_option("NAME", made->image.name, "Name of the image")->required();
  build->add_option("--runtime", made->image.runtime, "Language runtime, unless the manifest says");
  build->add_option("--packages", made->packages, "Debian packages beside the runtime's")
      ->delimiter(',')
      ->type_name("NAME,...");
  build->add_option("--suite", made->suite, "Debian release (default: the host's)");
  build->add_option("--sources", made->sources, "Sources of packages (default: the host's apt's)")
      ->type_name("FILE");
  build->add_flag("--minimal", made->minimal,
                  "Unpack the packages only, and run none of their scripts");
  build->add_option("--manifest", made->image.manifest, "Manifest, spore-image(5)")
      ->type_name("FILE");
  build->add_flag("-q,--quiet", made->image.quiet, "Print the name only");
  build->callback(
      [&context, made] { context.command = [&context, made] { return Build(context, *made); }; });
}

}  // namespace spore::cli
