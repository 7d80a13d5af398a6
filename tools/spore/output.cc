#include "tools/spore/output.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace spore::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::ordered_json;

// Columns on a terminal, near enough: bytes that do not continue a UTF-8 character.
std::size_t Width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string Padded(const std::string& text, std::size_t width, Align align) {
  const std::string padding(width > Width(text) ? width - Width(text) : 0, ' ');
  return align == Align::kLeft ? text + padding : padding + text;
}

bool ColourWanted() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr && term != nullptr &&
         std::string_view(term) != "dumb";
}

void UnquoteNumbers(const Descriptor& type, ordered_json& node);

void UnquoteField(const FieldDescriptor& field, ordered_json& value) {
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (value.is_object()) UnquoteNumbers(*field.message_type(), value);
  } else if (value.is_string() && field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    value = std::strtoull(value.get_ref<const std::string&>().c_str(), nullptr, 10);
  } else if (value.is_string() && field.cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
    value = std::strtoll(value.get_ref<const std::string&>().c_str(), nullptr, 10);
  }
}

void UnquoteNumbers(const Descriptor& type, ordered_json& node) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const auto found = node.find(field.name());
    if (found == node.end()) continue;
    if (field.is_map()) {
      for (auto& item : *found) UnquoteField(*field.message_type()->map_value(), item);
    } else if (field.is_repeated()) {
      for (auto& item : *found) UnquoteField(field, item);
    } else {
      UnquoteField(field, *found);
    }
  }
}

// The length of the UTF-8 sequence at the start of `text`; 0: it is none.
std::size_t CharacterLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90)) return 0;
  return length;
}

}  // namespace

std::string Table::Text(bool bold_header) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = Width(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, Width(row[i]));
    widths.push_back(width);
  }
  const auto line = [&](auto&& cell) {
    std::string text;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) text += "  ";
      text += Padded(cell(i), widths[i], columns_[i].align);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  std::string header = line([&](std::size_t i) { return columns_[i].title; });
  if (bold_header) header = "\x1b[1m" + header + "\x1b[0m";
  std::string text = header + "\n";
  for (const auto& row : rows_) text += line([&](std::size_t i) { return row[i]; }) + "\n";
  return text;
}

void Table::Print() const {
  Table shown(columns_);
  for (const auto& row : rows_) {
    std::vector<std::string> cells;
    for (const std::string& cell : row) cells.push_back(ForTerminal(cell, STDOUT_FILENO));
    shown.Add(std::move(cells));
  }
  fmt::print("{}", shown.Text(ColourWanted()));
}

void PrintPairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t width = 0;
  for (const auto& [key, value] : pairs) {
    if (!value.empty()) width = std::max(width, Width(key));
  }
  for (const auto& [key, value] : pairs) {
    if (value.empty()) continue;
    fmt::print("{} {}\n", Padded(key + ":", width + 1, Align::kLeft),
               ForTerminal(value, STDOUT_FILENO));
  }
}

ordered_json ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return {};
  auto json = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) UnquoteNumbers(*message.GetDescriptor(), json);
  return json;
}

void PrintJson(const ordered_json& json) {
  fmt::print("{}\n", JsonText(json, 2));
}

void PrintOne(bool as_json, const google::protobuf::Message& message, std::string_view name) {
  if (as_json) return PrintJson(ToJson(message));
  fmt::print("{}\n", name);
}

// The library escapes C0 alone. DEL and C1 stand inside strings only.
std::string EscapedJson(std::string_view dumped) {
  std::string text;
  for (std::size_t i = 0; i < dumped.size(); ++i) {
    const auto c = static_cast<unsigned char>(dumped[i]);
    const auto next = i + 1 < dumped.size() ? static_cast<unsigned char>(dumped[i + 1]) : 0xffu;
    if (c == 0x7f) {
      text += "\\u007f";
    } else if (c == 0xc2 && next < 0xa0) {
      text += fmt::format("\\u{:04x}", next);
      ++i;
    } else {
      text += dumped[i];
    }
  }
  return text;
}

ordered_json TextJson(std::string_view bytes) {
  // The library checks UTF-8 only when it writes: write and read back, so that what is held is
  // sound.
  const ordered_json raw(bytes);
  return ordered_json::parse(raw.dump(-1, ' ', false, ordered_json::error_handler_t::replace),
                             nullptr, false);
}

std::string JsonText(const ordered_json& json, int indent) {
  return EscapedJson(json.dump(indent, ' ', false, ordered_json::error_handler_t::replace));
}

std::string ForTerminal(std::string_view text, int fd) {
  return ::isatty(fd) == 1 ? Visible(text) : std::string(text);
}

std::string Visible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    const std::size_t length = CharacterLength(text);
    // U+0080 to U+009F: some terminals obey these like ESC sequences.
    const auto second = length == 2 ? static_cast<unsigned char>(text[1]) : 0xffu;
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c == 0xc2 && second < 0xa0) {
      out += fmt::format("\\u{:04x}", second);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

}  // namespace spore::cli
