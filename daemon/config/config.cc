#include "daemon/config/config.h"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "daemon/common/validate.h"
#include "daemon/config/toml_reader.h"

namespace spore {
namespace {

// Host uids from 2^32-2 on have special meanings.
constexpr uint64_t kLastUid = 0xfffffffd;
constexpr uint64_t kBlock = 65536;
constexpr size_t kMaxNameServers = 3;
constexpr uint16_t kDnsPort = 53;

uint64_t HostMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : 0;
}

std::string KeyOf(const google::protobuf::FieldDescriptor& field) {
  std::string key = field.name();
  std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

void SetField(v1::Limits* limits, const google::protobuf::FieldDescriptor& field, uint64_t value) {
  const auto* reflection = v1::Limits::GetReflection();
  if (field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT64) {
    reflection->SetUInt64(limits, &field, value);
  } else {
    reflection->SetUInt32(limits, &field, static_cast<uint32_t>(value));
  }
}

void ReadMaxImageBytes(TomlReader& reader, uint64_t* bytes) {
  const std::optional<uint64_t> value = reader.Size("max-image-bytes");
  if (!value) return;
  if (*value < (1u << 20)) {
    reader.Fail("max-image-bytes",
                std::to_string(*value) + " is out of range; expected at least 1MiB");
  }
  *bytes = *value;
}

void ReadPayloadMemory(TomlReader& reader, uint64_t* bytes) {
  constexpr uint64_t kLeast = 1u << 20;
  const std::optional<uint64_t> value = reader.Size("payload-memory");
  if (!value) return;
  if (*value < kLeast) {
    reader.Fail("payload-memory",
                std::to_string(*value) + " is out of range; expected at least 1MiB");
  }
  *bytes = *value;
}

void ReadClientLimits(TomlReader& parent, const std::string& file, ClientLimits* limits) {
  constexpr std::string_view kKey = "limits-per-client";
  const toml::table* table = parent.Table(kKey);
  if (table == nullptr) return;
  TomlReader reader(*table, file, std::string(kKey) + ".");
  reader.Number("max-instances", 1, 60000, &limits->max_instances);
  reader.Number("max-queue", 0, 1'000'000, &limits->max_queue);
  reader.Number("max-functions", 0, 1'000'000, &limits->max_functions);
  reader.Number("max-reserved", 0, 60000, &limits->max_reserved);
  ReadPayloadMemory(reader, &limits->payload_memory);
  if (const auto bytes = reader.Size("session-checkpoints-bytes"))
    limits->session_checkpoints_bytes = *bytes;
  parent.Check(reader.Finish());
}

void ReadAsync(TomlReader& parent, const std::string& file, AsyncConfig* config) {
  constexpr uint64_t kYearMs = 366ull * 86'400'000;
  constexpr uint64_t kMost = 10'000'000;
  const toml::table* table = parent.Table("async");
  if (table == nullptr) return;
  TomlReader reader(*table, file, "async.");
  reader.Number("max-events", 0, kMost, &config->max_events);
  if (const auto bytes = reader.Size("max-bytes")) config->max_bytes = *bytes;
  reader.Number("max-in-flight", 1, 60000, &config->max_in_flight);
  reader.Number("client-events", 0, kMost, &config->client_events);
  if (const auto bytes = reader.Size("client-bytes")) config->client_bytes = *bytes;
  reader.Number("client-in-flight", 1, 60000, &config->client_in_flight);
  reader.Number("keep-ms", 1000, kYearMs, &config->keep_ms);
  reader.Number("keep-results", 0, 100'000, &config->keep_results);
  reader.Number("dead-keep-ms", 1000, kYearMs, &config->dead_keep_ms);
  reader.Number("client-schedules", 0, 100'000, &config->client_schedules);
  parent.Check(reader.Finish());
}

void ReadSessions(TomlReader& parent, const std::string& file, SessionsConfig* config) {
  const toml::table* table = parent.Table("sessions");
  if (table == nullptr) return;
  TomlReader reader(*table, file, "sessions.");
  std::vector<std::string> rules, servers;
  reader.Strings("egress", &rules);
  for (const std::string& text : rules) {
    auto rule = egress::ParseRule(text);
    if (!rule) {
      reader.Fail("egress", rule.error().Message());
      break;
    }
    config->egress.push_back(std::move(*rule));
  }
  reader.Strings("name-servers", &servers);
  if (servers.size() > kMaxNameServers)
    reader.Fail("name-servers", std::to_string(servers.size()) + " of them; expected at most 3");
  for (const std::string& text : servers) {
    const auto server = egress::ParseEndpoint(text, kDnsPort);
    if (!server) {
      reader.Fail("name-servers", "\"" + text +
                                      "\" is no address; expected one as in 192.0.2.53, " +
                                      "192.0.2.53:5353 or [2001:db8::53]:53");
      break;
    }
    config->name_servers.push_back(*server);
  }
  parent.Check(reader.Finish());
}

// Less than a second would have a zygote replaced as soon as it is ready.
void ReadRotation(TomlReader& reader, Config* config) {
  constexpr uint64_t kLeastMs = 1000;
  constexpr uint64_t kYearMs = 366ull * 86'400'000;
  reader.Number("zygote-max-age-ms", 0, kYearMs, &config->zygote_max_age_ms);
  if (config->zygote_max_age_ms > 0 && config->zygote_max_age_ms < kLeastMs) {
    reader.Fail("zygote-max-age-ms", std::to_string(config->zygote_max_age_ms) +
                                         " is out of range; expected 0 (never) or at least 1000");
  }
  reader.Number("zygote-max-forks", 0, INT64_MAX, &config->zygote_max_forks);
  if (const auto bytes = reader.Size("library-memory")) config->library_memory = *bytes;
  reader.Number("library-idle-ms", kLeastMs, kYearMs, &config->library_idle_ms);
}

void CheckGroupName(TomlReader& reader, const Config& config) {
  const std::string& name = config.cgroup_name;
  const bool fine = !name.empty() && name.size() <= 64 && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                    });
  if (!fine) {
    reader.Fail("cgroup-name",
                "\"" + name + "\" is not a name of letters, digits, \"-\", \"_\" and \".\"");
  }
}

void CheckTogether(TomlReader& reader, const Config& config) {
  if (config.socket.size() >= sizeof(sockaddr_un::sun_path)) {
    reader.Fail("socket", "the path has " + std::to_string(config.socket.size()) +
                              " bytes; a socket's can have 107");
  }
  if (config.uid_count % kBlock != 0) {
    reader.Fail("uid-count", std::to_string(config.uid_count) + " is not a multiple of 65536");
  }
  if (config.uid_base + uint64_t{config.uid_count} - 1 > kLastUid) {
    reader.Fail("uid-base", "the range ends beyond the last uid, " + std::to_string(kLastUid));
  }
  CheckGroupName(reader, config);
}

}  // namespace

void ReadLimits(TomlReader& parent, const std::string& file, std::string_view key,
                v1::Limits* limits) {
  const toml::table* table = parent.Table(key);
  if (table == nullptr) return;
  TomlReader reader(*table, file, std::string(key) + ".");
  const auto* descriptor = v1::Limits::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto& field = *descriptor->field(i);
    const std::string name = KeyOf(field);
    std::optional<uint64_t> value;
    if (name.ends_with("-bytes")) {
      value = reader.Size(name);
    } else {
      const bool wide = field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT64;
      uint64_t number = 0;
      reader.Number(name, 0, wide ? INT64_MAX : UINT32_MAX, &number);
      if (table->get(name) != nullptr) value = number;
    }
    if (!value) continue;
    v1::Limits one;
    SetField(&one, field, *value);
    if (*value == 0) reader.Fail(name, "0 is out of range");
    if (auto checked = ResolveLimits(one, {}); !checked) {
      reader.Fail(name, checked.error().Message());
    }
    SetField(limits, field, *value);
  }
  parent.Check(reader.Finish());
}

std::string DefaultConfigPath() {
  return SPORE_CONFIG_FILE;
}

Config DefaultConfig() {
  Config config;
  config.default_limits = DefaultLimits();
  config.memory_reserve = HostMemory() / 20;
  config.image_dirs = {SPORE_IMAGES_DIR, SPORE_LOCAL_IMAGES_DIR};
  // A build tree that was not installed.
  if (const char* directory = std::getenv("SPORE_IMAGES");
      directory != nullptr && *directory != 0) {
    config.image_dirs = {directory};
  }
  return config;
}

Result<Config> LoadConfig(const std::string& path) {
  Config config = DefaultConfig();
  auto table = ParseTomlFile(path);
  if (!table) {
    if (table.error().errno_value == ENOENT && path == DefaultConfigPath()) return config;
    return tl::unexpected(std::move(table).error());
  }
  TomlReader reader(*table, path);
  reader.AbsolutePath("socket", &config.socket);
  reader.String("socket-group", &config.socket_group);
  reader.AbsolutePath("state-dir", &config.state_dir);
  reader.AbsolutePath("runtime-dir", &config.runtime_dir);
  reader.String("cgroup-name", &config.cgroup_name);
  reader.AbsolutePath("cgroup-root", &config.cgroup_root);
  reader.Bool("favordynmods", &config.favordynmods);
  reader.Number("uid-base", kBlock, kLastUid, &config.uid_base);
  reader.Number("uid-count", 2 * kBlock, UINT32_MAX, &config.uid_count);
  reader.Number("ready-sandboxes", 0, 1024, &config.ready_sandboxes);
  reader.Number("max-ready-sandboxes", 0, 4096, &config.max_ready_sandboxes);
  reader.Number("spare-sandboxes", 0, 30'000, &config.spare_sandboxes);
  if (const auto bytes = reader.Size("memory-reserve")) config.memory_reserve = *bytes;
  ReadRotation(reader, &config);
  reader.AbsolutePath("criu", &config.criu);
  reader.Number("checkpoint-after-ms", 0, 86'400'000, &config.checkpoint_after_ms);
  reader.Bool("checkpoint-prefetch", &config.checkpoint_prefetch);
  reader.Number("session-checkpoints-max", 0, 100'000, &config.session_checkpoints_max);
  if (const auto bytes = reader.Size("session-checkpoints-bytes"))
    config.session_checkpoints_bytes = *bytes;
  reader.Number("max-instances", 1, 60000, &config.max_instances);
  reader.Number("max-queue", 0, 1'000'000, &config.max_queue);
  reader.Number("max-queue-ms", 1, 86'400'000, &config.max_queue_ms);
  ReadPayloadMemory(reader, &config.payload_memory);
  reader.Number("dead-kept", 0, 100'000, &config.dead_kept);
  reader.Strings("image-dirs", &config.image_dirs);
  ReadMaxImageBytes(reader, &config.max_image_bytes);
  ReadClientLimits(reader, path, &config.client);
  ReadAsync(reader, path, &config.async);
  ReadSessions(reader, path, &config.sessions);
  v1::Limits defaults;
  ReadLimits(reader, path, "limits", &defaults);
  ReadLimits(reader, path, "max-limits", &config.max_limits);
  CheckTogether(reader, config);
  SPORE_TRY(reader.Finish());
  // Explicit defaults must respect the maxima; built-in ones are lowered to them.
  auto resolved = ResolveLimits(defaults, DefaultLimits(), config.max_limits);
  if (!resolved) return tl::unexpected(std::move(resolved).error().Wrap(path));
  config.default_limits = std::move(*resolved);
  return config;
}

}  // namespace spore
