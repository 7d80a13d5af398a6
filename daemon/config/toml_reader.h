// Reads one TOML table strictly: every key must be asked for, have the right type and lie in its
// range. Errors name file, line, key, value and expectation; the first one is kept.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

// The parsed file; syntax errors name file and line. A missing file gives ENOENT.
Result<toml::table> ParseTomlFile(const std::string& path);
// The same of a text that came otherwise; `file` is what errors call it.
Result<toml::table> ParseToml(const std::string& text, const std::string& file);

class TomlReader {
 public:
  // Both borrowed. `prefix` stands before keys in messages: "limits.".
  TomlReader(const toml::table& table, std::string file, std::string prefix = {})
      : table_(table), file_(std::move(file)), prefix_(std::move(prefix)) {}

  // Each leaves `out` alone when the key is absent or wrong.
  void String(std::string_view key, std::string* out);
  void AbsolutePath(std::string_view key, std::string* out);
  void Bool(std::string_view key, bool* out);
  void Strings(std::string_view key, std::vector<std::string>* out);
  void StringMap(std::string_view key, std::map<std::string, std::string>* out);
  template <typename Unsigned>
  void Number(std::string_view key, uint64_t least, uint64_t most, Unsigned* out) {
    if (auto value = ReadNumber(key, least, most)) *out = static_cast<Unsigned>(*value);
  }
  // Bytes, or a string with a unit: 1048576, "1MiB", "64KiB", "2GiB".
  std::optional<uint64_t> Size(std::string_view key);
  // A nested table; null when absent.
  const toml::table* Table(std::string_view key);
  // Those of an array of tables ("[[key]]"); none when absent.
  std::vector<const toml::table*> Tables(std::string_view key);

  // For checks of the caller's own: "FILE:LINE: KEY: `message`".
  void Fail(std::string_view key, const std::string& message);
  // Takes over a nested reader's error.
  void Check(Result<> result);
  // The first error, or one for the first key that nobody asked for.
  Result<> Finish();

 private:
  const toml::node* Take(std::string_view key);
  std::optional<uint64_t> ReadNumber(std::string_view key, uint64_t least, uint64_t most);
  Error At(uint32_t line, const std::string& key, const std::string& message) const;

  const toml::table& table_;
  std::string file_;
  std::string prefix_;
  std::set<std::string, std::less<>> asked_;
  std::optional<Error> error_;
};

}  // namespace spore
