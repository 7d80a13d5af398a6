// spored's configuration: TOML, spore.toml(5). Unknown keys, wrong types and values out of range
// are errors that name file, line and key.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sandbox/sys/result.h"
#include "spore.pb.h"

namespace spore {

// An image (its manifest: TOML, spore-image(5)).
struct ImageManifest {
  std::string name;
  std::string path;                                // of the manifest
  std::string runtime;                             // "python", "node": daemon/runtimes.h
  std::string interpreter;                         // path inside the image's root
  std::vector<std::string> preload;                // modules loaded by the zygote
  std::vector<std::string> options;                // of the interpreter's command line
  std::map<std::string, std::string> environment;  // of the zygote and its children
  std::vector<std::string> packages;  // Debian packages that bring them, for error hints
  bool eager = false;                 // start its zygote with the daemon
  bool threads = false;               // its preloads may start threads, which each fork has again
};

// [limits-per-client]: what one uid may take of the host. Root (uid 0) may take all of it.
struct ClientLimits {
  uint32_t max_instances = 250;  // live at once, of its functions and runs
  uint32_t max_queue = 256;      // of its invocations, waiting
  uint32_t max_functions = 1000;
  uint64_t payload_memory = 256u << 20;  // bytes of its requests in progress
};

struct Config {
  std::string socket = "/run/spore/spored.sock";
  std::string socket_group = "spore";  // owner group of the socket if it exists; mode 0660
  std::string state_dir = "/var/lib/spore";
  std::string runtime_dir = "/run/spore";  // lock, pid file, private mounts
  std::string cgroup_name = "spore";
  std::string cgroup_root;  // empty: detect
  bool favordynmods = false;
  uint32_t uid_base = 0x70000000;           // host uids [base, base + count) belong to Spore
  uint32_t uid_count = 64 * 65536;          // 65536 an image; the last block is for helpers
  uint32_t ready_sandboxes = 8;             // made ahead, an image
  uint64_t zygote_max_age_ms = 86'400'000;  // a zygote is replaced after; 0: never
  uint64_t zygote_max_forks = 100'000;      // likewise
  std::string criu;                         // the /usr that CRIU lies in; empty: looked for
  uint64_t checkpoint_after_ms = 2000;      // after a cold start that took as long; 0: never
  uint32_t max_instances = 1000;            // live at once on the host
  uint32_t max_queue = 1024;                // invocations waiting
  uint64_t max_queue_ms = 10000;            // the longest wait in it
  uint64_t payload_memory = 512u << 20;     // bytes of requests in progress
  uint32_t dead_kept = 256;                 // ended instances that inspect still finds
  ClientLimits client;                      // [limits-per-client]
  v1::Limits default_limits;                // [limits]
  v1::Limits max_limits;                    // [max-limits]
  std::vector<std::string> image_dirs;      // *.toml; later ones win by name
};

std::string DefaultConfigPath();  // /etc/spore/spore.toml
Config DefaultConfig();
// Only at the default path a missing file is fine.
Result<Config> LoadConfig(const std::string& path);
// Manifests in the files *.toml of each directory, by name; directories that do not exist have
// none.
Result<std::map<std::string, ImageManifest>> LoadImages(const std::vector<std::string>& dirs);

}  // namespace spore
