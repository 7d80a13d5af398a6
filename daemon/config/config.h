// spored's configuration: TOML, spore.toml(5). Unknown keys, wrong types and values out of range
// are errors that name file, line and key.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/egress/rules.h"
#include "sandbox/sys/result.h"
#include "spore/v1/spore.pb.h"

namespace spore {

// What an image with a root of its own was imported as (daemon/images/image_store.h).
struct ImageRoot {
  std::string image;  // the name without the version
  uint64_t version = 0;
  std::string path;  // of the root's tree
  std::string digest;
  std::string root_digest;
  std::string source;
  std::string source_digest;
  int64_t created_unix_ms = 0;
  uint64_t bytes = 0;
  uint64_t files = 0;
  std::vector<std::string> environment;  // names of variables that came with its archive
};

// What a zygote of an image may import beyond the image's own preloads: only an operator says so.
struct LibrarySet {
  std::string name;
  std::string parent;  // the set whose zygote it is copied from; empty: the image's own
  std::vector<std::string> modules;
  bool eager = false;  // there whenever the image's zygote is
};

// An image (its manifest: TOML, spore-image(5)).
struct ImageManifest {
  std::string name;                                // of an imported one NAME@VERSION
  std::string path;                                // of the manifest
  std::string runtime;                             // "python", "node": daemon/common/runtimes.h
  std::string interpreter;                         // path inside the image's root
  std::vector<std::string> preload;                // modules loaded by the zygote
  std::vector<std::string> options;                // of the interpreter's command line
  std::map<std::string, std::string> environment;  // of the zygote and its children
  std::vector<std::string> packages;  // Debian packages that bring them, for error hints
  bool eager = false;                 // start its zygote with the daemon
  bool threads = false;               // its preloads may start threads, which each fork has again
  bool flat = true;                   // its zygotes' memory is moved into a file, where it pays
  std::vector<std::string> deny;      // [policy]: calls and groups of sandbox/policy/denied_calls.h
  bool loopback = false;              // [policy]: LoopbackSockets for its sandboxes
  std::string warm_up;                // called when all is preloaded; empty: nothing
  v1::Limits limits;                  // of whoever asks for no others; 0: the configuration's
  std::string root_source;            // "host", or where `spore image import` takes it from
  ImageRoot root;                     // path empty: the host's /usr
  std::vector<LibrarySet> sets;       // parents before children

  const LibrarySet* FindSet(const std::string& name) const;  // null: there is none
  // A set and those above it, the deepest first; nothing of a name that is none.
  std::vector<const LibrarySet*> Chain(const std::string& name) const;
};

// [limits-per-client]: what one uid may take of the host. Root (uid 0) may take all of it.
struct ClientLimits {
  uint32_t max_instances = 250;  // live at once, of its functions and runs
  uint32_t max_queue = 256;      // of its invocations, waiting
  uint32_t max_functions = 1000;
  uint32_t max_reserved = 16;                        // instances kept ready, of all its functions
  uint64_t payload_memory = 256u << 20;              // bytes of its requests in progress
  uint64_t session_checkpoints_bytes = 10ull << 30;  // of the disk, of its sessions' checkpoints
};

// [async]: events, and what of them is kept.
struct AsyncConfig {
  uint64_t max_events = 100'000;  // that wait, run or are dead letters
  uint64_t max_bytes = 1ull << 30;
  uint32_t max_in_flight = 32;      // carried out at once
  uint64_t client_events = 10'000;  // of one uid, but root
  uint64_t client_bytes = 256ull << 20;
  uint32_t client_in_flight = 24;      // root's too
  uint64_t keep_ms = 86'400'000;       // what has been done, or given up
  uint32_t keep_results = 1000;        // likewise, of one uid
  uint64_t dead_keep_ms = 1209600000;  // dead letters
  uint32_t client_schedules = 100;     // of one uid, but root
};

// [sessions]: what clients may ask for of them.
struct SessionsConfig {
  std::vector<egress::Rule> egress;            // none: no session reaches a network
  std::vector<egress::Endpoint> name_servers;  // of proxies; none: those of resolv.conf(5)
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
  uint32_t max_ready_sandboxes = 32;        // as many, where so many were wanted at once lately
  uint32_t spare_sandboxes = 0;             // made ahead beyond these, not warmed up
  uint64_t memory_reserve = 0;              // of the host, to be kept free; DefaultConfig: a 20th
  uint64_t zygote_max_age_ms = 86'400'000;  // a zygote is replaced after; 0: never
  uint64_t zygote_max_forks = 100'000;      // likewise
  uint64_t library_memory = 512u << 20;     // of zygotes of library sets that were not asked for
  uint64_t library_idle_ms = 600'000;       // such a zygote ends when nothing has wanted it so long
  std::string criu;                         // the /usr that CRIU lies in; empty: looked for
  uint64_t checkpoint_after_ms = 2000;      // after a cold start that took as long; 0: never
  bool checkpoint_prefetch = false;         // archives are read ahead of their verification
  uint32_t max_instances = 1000;            // live at once on the host
  uint32_t max_queue = 1024;                // invocations waiting
  uint64_t max_queue_ms = 10000;            // the longest wait in it
  uint64_t payload_memory = 512u << 20;     // bytes of requests in progress
  uint32_t dead_kept = 256;                 // ended instances that inspect still finds
  ClientLimits client;                      // [limits-per-client]
  AsyncConfig async;                        // [async]
  SessionsConfig sessions;                  // [sessions]
  v1::Limits default_limits;                // [limits]
  v1::Limits max_limits;                    // [max-limits]
  std::vector<std::string> image_dirs;      // *.toml; later ones win by name
  uint64_t max_image_bytes = 16ull << 30;   // of an imported image's root, and of its archive
  uint32_t session_checkpoints_max = 100;   // of one uid, but root
  uint64_t session_checkpoints_bytes = 20ull << 30;
};

std::string DefaultConfigPath();  // /etc/spore/spore.toml
Config DefaultConfig();
// Only at the default path a missing file is fine.
Result<Config> LoadConfig(const std::string& path);
// Manifests in the files *.toml of each directory, by name; directories that do not exist have
// none.
Result<std::map<std::string, ImageManifest>> LoadImages(const std::vector<std::string>& dirs);
// The manifest of an image with a root of its own. `file` is for errors; `name` is what it is
// called, which the text may not contradict.
Result<ImageManifest> ParseImageManifest(const std::string& text, const std::string& file,
                                         const std::string& name);
// A table of limits: the fields of spore.v1.Limits, with dashes.
class TomlReader;
void ReadLimits(TomlReader& parent, const std::string& file, std::string_view key,
                v1::Limits* limits);

}  // namespace spore
