#include "daemon/config/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/common/validate.h"

namespace spore {
namespace {

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/spore-config-test.XXXXXX";
    ASSERT_NE(nullptr, mkdtemp(name));
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  Result<Config> Load(const std::string& text) { return LoadConfig(Write("spore.toml", text)); }
  // The message without the directory.
  std::string ErrorOf(const std::string& text) { return Message(Load(text)); }
  template <typename T>
  std::string Message(const Result<T>& result) {
    if (result) return "no error";
    std::string message = result.error().Message();
    const size_t at = message.find(directory_ + "/");
    if (at != std::string::npos) message.erase(at, directory_.size() + 1);
    return message;
  }
  std::string directory_;
};

TEST_F(ConfigTest, EmptyFileGivesTheDefaults) {
  auto config = Load("");
  ASSERT_TRUE(config) << config.error().Message();
  EXPECT_EQ("/run/spore/spored.sock", config->socket);
  EXPECT_EQ(0x70000000u, config->uid_base);
  EXPECT_EQ(DefaultLimits().SerializeAsString(), config->default_limits.SerializeAsString());
  EXPECT_FALSE(config->image_dirs.empty());
}

TEST_F(ConfigTest, EveryKeyIsRead) {
  auto config = Load(R"(
socket = "/s"
socket-group = "g"
state-dir = "/state"
runtime-dir = "/runtime"
cgroup-name = "c"
cgroup-root = "/cgroup"
favordynmods = true
uid-base = 100000
uid-count = 131072
ready-sandboxes = 1
max-instances = 2
max-queue = 3
max-queue-ms = 4
dead-kept = 5
zygote-max-age-ms = 6000
zygote-max-forks = 7
library-memory = "3MiB"
library-idle-ms = 2000
payload-memory = 10485760
session-checkpoints-bytes = "3MiB"
image-dirs = ["/a", "/b"]
[limits-per-client]
max-instances = 6
max-queue = 7
max-functions = 8
payload-memory = "9MiB"
session-checkpoints-bytes = "2MiB"
[limits]
memory-bytes = "64MiB"
pids = 7
[max-limits]
memory-bytes = 134217728
timeout-ms = 1000
)");
  ASSERT_TRUE(config) << config.error().Message();
  EXPECT_EQ("/s", config->socket);
  EXPECT_EQ(6u, config->client.max_instances);
  EXPECT_EQ(7u, config->client.max_queue);
  EXPECT_EQ(8u, config->client.max_functions);
  EXPECT_EQ(9u << 20, config->client.payload_memory);
  EXPECT_EQ(10u << 20, config->payload_memory);
  EXPECT_EQ(2u << 20, config->client.session_checkpoints_bytes);
  EXPECT_EQ(3u << 20, config->session_checkpoints_bytes);
  EXPECT_EQ("g", config->socket_group);
  EXPECT_EQ("/state", config->state_dir);
  EXPECT_EQ("/runtime", config->runtime_dir);
  EXPECT_EQ("c", config->cgroup_name);
  EXPECT_EQ("/cgroup", config->cgroup_root);
  EXPECT_TRUE(config->favordynmods);
  EXPECT_EQ(100000u, config->uid_base);
  EXPECT_EQ(131072u, config->uid_count);
  EXPECT_EQ(1u, config->ready_sandboxes);
  EXPECT_EQ(2u, config->max_instances);
  EXPECT_EQ(3u, config->max_queue);
  EXPECT_EQ(4u, config->max_queue_ms);
  EXPECT_EQ(5u, config->dead_kept);
  EXPECT_EQ(6000u, config->zygote_max_age_ms);
  EXPECT_EQ(7u, config->zygote_max_forks);
  EXPECT_EQ(3u << 20, config->library_memory);
  EXPECT_EQ(2000u, config->library_idle_ms);
  EXPECT_EQ((std::vector<std::string>{"/a", "/b"}), config->image_dirs);
  EXPECT_EQ(64u << 20, config->default_limits.memory_bytes());
  EXPECT_EQ(7u, config->default_limits.pids());
  EXPECT_EQ(1000u, config->default_limits.timeout_ms()) << "lowered to the maximum";
  EXPECT_EQ(128u << 20, config->max_limits.memory_bytes());
  EXPECT_EQ(0u, config->max_limits.pids());
}

TEST_F(ConfigTest, ErrorsNameFileLineKeyAndExpectation) {
  EXPECT_EQ(0u,
            ErrorOf("\nsokcet = \"/s\"\n").find("spore.toml:2: sokcet: unknown key; known are"));
  EXPECT_EQ("spore.toml:1: socket: an integer where a string is expected", ErrorOf("socket = 1"));
  EXPECT_EQ("spore.toml:1: state-dir: \"x/y\" is not an absolute path",
            ErrorOf("state-dir = \"x/y\""));
  EXPECT_EQ("spore.toml:1: max-instances: 0 is out of range; expected 1 to 60000",
            ErrorOf("max-instances = 0"));
  EXPECT_EQ(
      "spore.toml:1: zygote-max-age-ms: 999 is out of range; expected 0 (never) or at least 1000",
      ErrorOf("zygote-max-age-ms = 999"));
  EXPECT_EQ("no error", ErrorOf("zygote-max-age-ms = 0\nzygote-max-forks = 0"));
  EXPECT_EQ("no error", ErrorOf("library-memory = 0"));
  EXPECT_NE("no error", ErrorOf("library-idle-ms = 0"));
  EXPECT_EQ("spore.toml:1: max-queue: -1 is out of range; expected 0 to 1000000",
            ErrorOf("max-queue = -1"));
  EXPECT_EQ("spore.toml:1: favordynmods: a string where true or false is expected",
            ErrorOf("favordynmods = \"yes\""));
  EXPECT_EQ("spore.toml:1: image-dirs: an integer where a string without NUL is expected",
            ErrorOf("image-dirs = [1]"));
  EXPECT_EQ("spore.toml:1: limits: an integer where a table is expected", ErrorOf("limits = 1"));
  EXPECT_EQ(0u, ErrorOf("[limits]\nmemory = 1").find("spore.toml:2: limits.memory: unknown key"));
  EXPECT_EQ(0u, ErrorOf("[limits]\nmemory-bytes = \"1 GB\"")
                    .find("spore.toml:2: limits.memory-bytes: \"1 GB\" is not a size"));
  EXPECT_EQ(0u, ErrorOf("[max-limits]\npids = 99999")
                    .find("spore.toml:2: max-limits.pids: limits.pids: 99999 is out of range"));
  EXPECT_EQ(0u, ErrorOf("[limits]\npids = 0").find("spore.toml:2: limits.pids: 0 is out of range"));
  EXPECT_EQ("spore.toml:1: uid-count: 131073 is not a multiple of 65536",
            ErrorOf("uid-count = 131073"));
  EXPECT_EQ(0u, ErrorOf("uid-base = 4294900000").find("spore.toml:1: uid-base: the range ends"));
  EXPECT_EQ(0u, ErrorOf("cgroup-name = \"../x\"").find("spore.toml:1: cgroup-name: \"../x\" is"));
  EXPECT_EQ(0u,
            ErrorOf("socket = \"/" + std::string(107, 's') + "\"").find("spore.toml:1: socket"));
  EXPECT_EQ(0u, ErrorOf("\n\nsocket = \n").find("spore.toml:3: "));
  EXPECT_EQ(0u, ErrorOf("[sessions]\negress = [\"pypi.org\"]")
                    .find("spore.toml:2: sessions.egress: rule \"pypi.org\": expected HOST:PORT"));
  EXPECT_EQ(0u, ErrorOf("[sessions]\nname-servers = [\"x\"]")
                    .find("spore.toml:2: sessions.name-servers: \"x\" is no address"));
  EXPECT_NE("no error", ErrorOf("[limits]\npids = 100\n[max-limits]\npids = 50"));
}

TEST_F(ConfigTest, MissingFileIsAnErrorUnlessItIsTheDefault) {
  auto missing = LoadConfig(directory_ + "/none.toml");
  ASSERT_FALSE(missing);
  EXPECT_EQ("open none.toml: No such file or directory", Message(missing));
  EXPECT_FALSE(LoadConfig(directory_));
}

// The documented file says every key at its default: uncommented, it changes nothing.
TEST_F(ConfigTest, DocumentedFileHoldsTheDefaults) {
  std::ifstream file(std::string(SPORE_SOURCE_ROOT) + "/config/spore.toml");
  ASSERT_TRUE(file);
  std::string text, line;
  while (std::getline(file, line)) {
    const bool root = line.starts_with("#cgroup-root");  // its default is to look
    if (line.starts_with("#") && !line.starts_with("# ") && !root) line.erase(0, 1);
    text += line + "\n";
  }
  auto config = Load(text);
  ASSERT_TRUE(config) << config.error().Message();
  const Config defaults = DefaultConfig();
  EXPECT_EQ(defaults.socket, config->socket);
  EXPECT_EQ(defaults.socket_group, config->socket_group);
  EXPECT_EQ(defaults.state_dir, config->state_dir);
  EXPECT_EQ(defaults.runtime_dir, config->runtime_dir);
  EXPECT_EQ(defaults.cgroup_name, config->cgroup_name);
  EXPECT_EQ(defaults.favordynmods, config->favordynmods);
  EXPECT_EQ(defaults.uid_base, config->uid_base);
  EXPECT_EQ(defaults.uid_count, config->uid_count);
  EXPECT_EQ(defaults.ready_sandboxes, config->ready_sandboxes);
  EXPECT_EQ(defaults.max_instances, config->max_instances);
  EXPECT_EQ(defaults.max_queue, config->max_queue);
  EXPECT_EQ(defaults.max_queue_ms, config->max_queue_ms);
  EXPECT_EQ(defaults.dead_kept, config->dead_kept);
  EXPECT_EQ(defaults.default_limits.SerializeAsString(),
            config->default_limits.SerializeAsString());
}

TEST_F(ConfigTest, ImagesOfLaterDirectoriesWin) {
  std::filesystem::create_directory(directory_ + "/b");
  Write("python.toml", "runtime = \"python\"\npreload = [\"json\"]\n");
  Write("other.toml",
        "name = \"python-x\"\nruntime = \"python\"\neager = true\nthreads = true\n"
        "[environment]\nA = \"1\"\n[policy]\nloopback = true\n");
  Write("notes.txt", "not a manifest");
  Write("b/python.toml", "runtime = \"python\"\npreload = [\"re\", \"urllib.parse\"]\n");
  auto images = LoadImages({directory_, directory_ + "/b", directory_ + "/none"});
  ASSERT_TRUE(images) << images.error().Message();
  ASSERT_EQ(2u, images->size());
  EXPECT_EQ((std::vector<std::string>{"re", "urllib.parse"}), images->at("python").preload);
  EXPECT_TRUE(images->at("python-x").eager && images->at("python-x").threads);
  EXPECT_FALSE(images->at("python").eager || images->at("python").threads);
  EXPECT_EQ("1", images->at("python-x").environment.at("A"));
  EXPECT_TRUE(images->at("python-x").loopback);
  EXPECT_FALSE(images->at("python").loopback);
}

TEST_F(ConfigTest, BadManifestsAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"preload = []", "x.toml:1: runtime: must be given"},
      {"runtime = \"cobol\"", "x.toml:1: runtime: \"cobol\" is unknown"},
      {"runtime = \"python\"\npreload = [\"os; x\"]", "x.toml:2: preload: \"os; x\" is not"},
      {"runtime = \"native\"\ninterpreter = \"/bin/sh\"", "x.toml:2: interpreter: not to be given"},
      {"runtime = \"native\"\npreload = [\"libz\"]", "x.toml:2: preload: \"libz\" is not the name"},
      {"runtime = \"native\"\npreload = [\"../libz.so\"]", "x.toml:2: preload: \"../libz.so\" is"},
      {"runtime = \"python\"\ninterpreter = \"python3\"", "x.toml:2: interpreter: \"python3\" is"},
      {"runtime = \"node\"\nthreads = true", "x.toml:2: threads: not to be given: whether"},
      {"runtime = \"python\"\nthreads = 2", "x.toml:2: threads: an integer where"},
      {"runtime = \"python\"\n[environment]\n\"A=B\" = \"1\"", "x.toml:2: environment: \"A=B\" is"},
      {"runtime = \"python\"\n[environment]\nA = 1", "x.toml:3: environment.A: an integer where"},
      {"runtime = \"python\"\nname = \"../x\"", "x.toml:2: name: \"../x\" is not"},
      {"runtime = \"python\"\n[policy]\nloopback = 1", "x.toml:3: policy.loopback: an integer"},
      {"runtime = \"python\"\n[policy]\negress = true", "x.toml:3: policy.egress: unknown key"},
      {"runtime = \"python\"\npolicy = \"open\"", "x.toml:2: policy: a string where"},
      {"runtime = \"provided\"",
       "x.toml:1: runtime: \"provided\" needs loopback = true in a table"},
      {"runtime = \"provided\"\npreload = [\"json\"]\n[policy]\nloopback = true",
       "x.toml:2: preload: \"json\" is not"},
      {"runtime = \"python\"\ncolour = 1", "x.toml:2: colour: unknown key"},
  };
  for (const auto& [text, expected] : cases) {
    Write("x.toml", text);
    const std::string message = Message(LoadImages({directory_}));
    EXPECT_EQ(0u, message.find(expected)) << message;
  }
}

TEST_F(ConfigTest, ShippedImagesAreValid) {
  auto images = LoadImages({std::string(SPORE_SOURCE_ROOT) + "/images"});
  ASSERT_TRUE(images) << images.error().Message();
  for (const char* name :
       {"python", "python-numpy", "python-numpy-threads", "python-web", "python-imaging",
        "python-graph", "python-crypto", "native", "provided"}) {
    EXPECT_TRUE(images->contains(name)) << name;
  }
  EXPECT_EQ("1", images->at("python-numpy").environment.at("OPENBLAS_NUM_THREADS"));
}

}  // namespace
}  // namespace spore
