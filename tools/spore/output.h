// Printing for people (aligned tables) and for programs (JSON).
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spore/v1/spore.pb.h"

namespace spore::cli {

enum class Align { kLeft, kRight };

class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Text(bool bold_header) const;
  void Print() const;  // to stdout; cells as ForTerminal

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "Key:   value" lines, the values aligned; empty values are left out.
void PrintPairs(const std::vector<std::pair<std::string, std::string>>& pairs);

// Protobuf's JSON with the names of spore.proto, every plain field present, and 64-bit numbers as
// numbers (protobuf itself would quote them; its parsers take both).
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);
// As text that is safe on a terminal; indent -1: in one line. Then on stdout.
std::string JsonText(const nlohmann::ordered_json& json, int indent);
void PrintJson(const nlohmann::ordered_json& json);
// What was made or done: as JSON, or what names it in a line.
void PrintOne(bool as_json, const google::protobuf::Message& message, std::string_view name);

// A listing: the messages as an array.
template <typename Messages>
void PrintJsonList(const Messages& messages) {
  auto array = nlohmann::ordered_json::array();
  for (const auto& message : messages) array.push_back(ToJson(message));
  PrintJson(array);
}

// JSON's text with DEL and C1 escaped in its strings too.
std::string EscapedJson(std::string_view dumped);

// Bytes as a JSON string; what is not UTF-8 is replaced.
nlohmann::ordered_json TextJson(std::string_view bytes);

// C0 and C1 control characters, DEL and bytes that are not UTF-8 made visible, so that a tenant's
// text cannot drive the reader's terminal. Tabs and line ends stay.
std::string Visible(std::string_view text);
// The same; unchanged when `fd` is no terminal.
std::string ForTerminal(std::string_view text, int fd);

// What a sandbox may use, for PrintPairs.
std::vector<std::pair<std::string, std::string>> LimitPairs(const v1::Limits& limits);
std::string StateName(v1::Instance::State state);  // "busy"
std::string StateName(v1::Image::State state);     // "ready", "unusable"
std::string StateName(v1::Zygote::State state);    // "draining"
std::string StartName(v1::StartKind kind);         // "fork"
std::string IsolationName(v1::Isolation isolation);
std::string CauseName(v1::Death::Cause cause);  // "out of memory"
// One line on a death: "out of memory (limit 128 MiB, peak 128 MiB)", "exit code 3".
std::string DescribeDeath(const v1::Death& death, uint64_t timeout_ms);
std::string SignalName(int signal);  // "SIGSEGV"

// The waterfall of a trace.
std::string TraceText(const v1::Trace& trace);

}  // namespace spore::cli
