#include "daemon/config/toml_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <charconv>

#include "sandbox/sys/unique_fd.h"

namespace spore {
namespace {

constexpr size_t kMaxFileBytes = 1u << 20;

Result<std::string> ReadWholeFile(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return SysError("open", path);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return SysError("stat", path);
  if (!S_ISREG(status.st_mode)) return MakeError(ErrorKind::kInvalid, path + ": not a file");
  std::string text;
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t count = read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) return SysError("read", path);
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(count));
    if (text.size() > kMaxFileBytes) {
      return MakeError(ErrorKind::kInvalid, path + ": larger than 1 MiB");
    }
  }
}

std::string TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a floating-point number";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

// "64KiB" and so on; nothing when it is not that.
std::optional<uint64_t> ParseSize(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  unsigned shift = 0;
  if (unit == "KiB") {
    shift = 10;
  } else if (unit == "MiB") {
    shift = 20;
  } else if (unit == "GiB") {
    shift = 30;
  } else {
    return std::nullopt;
  }
  if (number > (UINT64_MAX >> shift)) return std::nullopt;
  return number << shift;
}

}  // namespace

Result<toml::table> ParseTomlFile(const std::string& path) {
  SPORE_ASSIGN(const std::string text, ReadWholeFile(path));
  return ParseToml(text, path);
}

Result<toml::table> ParseToml(const std::string& text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return MakeError(ErrorKind::kInvalid, file + ":" + std::to_string(error.source().begin.line) +
                                              ": " + std::string(error.description()));
  }
}

Error TomlReader::At(uint32_t line, const std::string& key, const std::string& message) const {
  std::string where = file_;
  if (line > 0) where += ":" + std::to_string(line);
  return {ErrorKind::kInvalid, 0, where + ": " + prefix_ + key + ": " + message, {}, {}};
}

const toml::node* TomlReader::Take(std::string_view key) {
  asked_.emplace(key);
  return table_.get(key);
}

void TomlReader::Fail(std::string_view key, const std::string& message) {
  if (error_) return;
  const toml::node* node = table_.get(key);
  error_ = At(node != nullptr ? node->source().begin.line : table_.source().begin.line,
              std::string(key), message);
}

void TomlReader::Check(Result<> result) {
  if (!result && !error_) error_ = std::move(result).error();
}

void TomlReader::String(std::string_view key, std::string* out) {
  const toml::node* node = Take(key);
  if (node == nullptr) return;
  if (!node->is_string()) {
    Fail(key, TypeName(*node) + " where a string is expected");
  } else if (const std::string& text = node->as_string()->get(); text.find('\0') != text.npos) {
    Fail(key, "a NUL character is not allowed");
  } else {
    *out = text;
  }
}

void TomlReader::AbsolutePath(std::string_view key, std::string* out) {
  std::string path;
  String(key, &path);
  if (table_.get(key) == nullptr || error_) return;
  if (path.empty() || path[0] != '/') {
    Fail(key, "\"" + path + "\" is not an absolute path");
  } else {
    *out = path;
  }
}

void TomlReader::Bool(std::string_view key, bool* out) {
  const toml::node* node = Take(key);
  if (node == nullptr) return;
  if (node->is_boolean()) {
    *out = node->as_boolean()->get();
  } else {
    Fail(key, TypeName(*node) + " where true or false is expected");
  }
}

void TomlReader::Strings(std::string_view key, std::vector<std::string>* out) {
  const toml::node* node = Take(key);
  if (node == nullptr) return;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    Fail(key, TypeName(*node) + " where an array of strings is expected");
    return;
  }
  std::vector<std::string> strings;
  for (const toml::node& element : *array) {
    if (!element.is_string() || element.as_string()->get().find('\0') != std::string::npos) {
      Fail(key, TypeName(element) + " where a string without NUL is expected");
      return;
    }
    strings.push_back(element.as_string()->get());
  }
  *out = std::move(strings);
}

void TomlReader::StringMap(std::string_view key, std::map<std::string, std::string>* out) {
  const toml::table* table = Table(key);
  if (table == nullptr) return;
  TomlReader inner(*table, file_, prefix_ + std::string(key) + ".");
  std::map<std::string, std::string> values;
  for (const auto& entry : *table) {
    const std::string name(entry.first);
    inner.String(name, &values[name]);
  }
  Check(inner.Finish());
  *out = std::move(values);
}

std::vector<const toml::table*> TomlReader::Tables(std::string_view key) {
  std::vector<const toml::table*> tables;
  const toml::node* node = Take(key);
  if (node == nullptr) return tables;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    Fail(key, TypeName(*node) + " where tables are expected, as [[" + std::string(key) + "]]");
    return tables;
  }
  for (const toml::node& element : *array) {
    const toml::table* table = element.as_table();
    if (table == nullptr) {
      Fail(key, TypeName(element) + " where a table is expected, as [[" + std::string(key) + "]]");
      return {};
    }
    tables.push_back(table);
  }
  return tables;
}

std::optional<uint64_t> TomlReader::ReadNumber(std::string_view key, uint64_t least,
                                               uint64_t most) {
  const toml::node* node = Take(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_integer()) {
    Fail(key, TypeName(*node) + " where an integer is expected");
    return std::nullopt;
  }
  const int64_t value = node->as_integer()->get();
  if (value < 0 || static_cast<uint64_t>(value) < least || static_cast<uint64_t>(value) > most) {
    Fail(key, std::to_string(value) + " is out of range; expected " + std::to_string(least) +
                  " to " + std::to_string(most));
    return std::nullopt;
  }
  return static_cast<uint64_t>(value);
}

std::optional<uint64_t> TomlReader::Size(std::string_view key) {
  const toml::node* node = Take(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_string()) return ReadNumber(key, 0, INT64_MAX);
  const auto size = ParseSize(node->as_string()->get());
  if (!size) {
    Fail(key, "\"" + node->as_string()->get() +
                  "\" is not a size; expected bytes, or a string like \"64KiB\", \"128MiB\", "
                  "\"2GiB\"");
  }
  return size;
}

const toml::table* TomlReader::Table(std::string_view key) {
  const toml::node* node = Take(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) Fail(key, TypeName(*node) + " where a table is expected");
  return node->as_table();
}

Result<> TomlReader::Finish() {
  if (!error_) {
    for (const auto& entry : table_) {
      const std::string key(entry.first);
      if (asked_.contains(key)) continue;
      std::string known;
      for (const std::string& name : asked_) known += (known.empty() ? "" : ", ") + name;
      error_ = At(entry.second.source().begin.line, key, "unknown key; known are " + known);
      break;
    }
  }
  if (error_) return tl::unexpected(*error_);
  return {};
}

}  // namespace spore
