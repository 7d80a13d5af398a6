#include "tools/gateway/config.h"

#include <fcntl.h>
#include <toml++/toml.h>

#include <cerrno>
#include <optional>
#include <set>

#include "tools/client/memfd.h"
#include "tools/gateway/text.h"

namespace spore::gateway {
namespace {

constexpr std::size_t kMaxFile = 1u << 20;

// Reads keys; keeps the first error, with file, line and key.
class Reader {
 public:
  Reader(const toml::table& table, const std::string& file) : table_(table), file_(file) {}

  void Text(const char* key, std::string* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (!node->is_string()) return Fail(*node, key, "expected a string");
    *out = node->as_string()->get();
  }
  void Bool(const char* key, bool* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) return Fail(*node, key, "expected true or false");
    *out = node->as_boolean()->get();
  }
  template <typename Number>
  void Integer(const char* key, int64_t least, int64_t most, Number* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    const int64_t value = node->is_integer() ? node->as_integer()->get() : least - 1;
    Store(*node, key, value, least, most, out);
  }
  // Bytes: an integer, or "64KiB", "6MiB", "1GiB".
  void Size(const char* key, int64_t least, int64_t most, std::size_t* out) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    std::optional<int64_t> value;
    if (node->is_integer()) value = node->as_integer()->get();
    if (node->is_string()) value = ParseSize(node->as_string()->get());
    Store(*node, key, value.value_or(least - 1), least, most, out);
  }
  std::optional<std::string> Finish() {
    for (const auto& entry : table_) {
      if (asked_.contains(std::string(entry.first))) continue;
      std::string known;
      for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
      const std::string key(entry.first);
      Fail(entry.second, key.c_str(), "unknown key; known are " + known);
    }
    return error_;
  }

 private:
  const toml::node* Take(const char* key) {
    asked_.insert(key);
    return table_.get(key);
  }
  void Fail(const toml::node& node, const char* key, const std::string& what) {
    if (error_) return;
    error_ = file_ + ":" + std::to_string(node.source().begin.line) + ": " + key + ": " + what;
  }
  template <typename Number>
  void Store(const toml::node& node, const char* key, int64_t value, int64_t least, int64_t most,
             Number* out) {
    if (value < least || value > most) {
      return Fail(node, key, "expected " + std::to_string(least) + " to " + std::to_string(most));
    }
    *out = static_cast<Number>(value);
  }
  static std::optional<int64_t> ParseSize(std::string_view text) {
    int shift = 0;
    for (const auto& [unit, bits] :
         {std::pair{"KiB", 10}, std::pair{"MiB", 20}, std::pair{"GiB", 30}}) {
      if (!text.ends_with(unit)) continue;
      shift = bits;
      text.remove_suffix(3);
      break;
    }
    const auto number = ParseNumber<int64_t>(text);
    if (!number || *number < 0 || *number > (INT64_MAX >> shift)) return std::nullopt;
    return *number << shift;
  }

  const toml::table& table_;
  const std::string& file_;
  std::set<std::string> asked_;
  std::optional<std::string> error_;
};

void ReadLimits(Reader& reader, Config& config) {
  constexpr int64_t kHour = 3'600'000;
  reader.Integer("spored-connections", 1, 64, &config.spored_connections);
  reader.Integer("max-connections", 1, 100'000, &config.http.max_connections);
  reader.Size("max-body-memory", 1 << 20, int64_t{1} << 40, &config.http.max_body_memory);
  reader.Integer("head-timeout-ms", 100, kHour, &config.http.head_ms);
  reader.Integer("body-timeout-ms", 100, kHour, &config.http.body_ms);
  reader.Integer("idle-timeout-ms", 100, 24 * kHour, &config.http.idle_ms);
  reader.Integer("write-timeout-ms", 100, kHour, &config.http.write_ms);
  reader.Size("max-payload", 1024, 64 << 20, &config.limits.payload);
  reader.Size("max-archive", 1024, int64_t{1} << 30, &config.limits.archive);
}

}  // namespace

std::string DefaultConfigPath() {
  return SPORE_GATEWAY_CONFIG_FILE;
}

client::Result<Config> LoadConfig(const std::string& path) {
  Config config;
  client::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) {
    if (errno == ENOENT && path == DefaultConfigPath()) return config;
    return client::LocalError("cannot read " + path, errno);
  }
  auto text = client::ReadAll(fd.get(), kMaxFile, path);
  if (!text) return tl::unexpected(text.error());
  toml::table table;
  try {
    table = toml::parse(*text, path);
  } catch (const toml::parse_error& error) {
    return client::LocalError(path + ":" + std::to_string(error.source().begin.line) + ": " +
                              std::string(error.description()));
  }
  Reader reader(table, path);
  reader.Text("listen", &config.listen);
  reader.Text("socket", &config.socket);
  reader.Text("token-file", &config.token_file);
  reader.Text("key-file", &config.key_file);
  reader.Text("tls-certificate", &config.tls_certificate);
  reader.Text("tls-key", &config.tls_key);
  reader.Text("user", &config.user);
  reader.Bool("public-functions", &config.public_functions);
  ReadLimits(reader, config);
  if (auto error = reader.Finish()) return client::LocalError(*error);
  return config;
}

}  // namespace spore::gateway
