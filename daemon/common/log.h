// spored's own messages: one line each, to the journal where stderr goes there, else on stderr.
#pragma once

#include <initializer_list>
#include <string_view>

namespace spore {

// As syslog(3) has them.
enum class LogLevel { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

// What the journal is to find the line by: `journalctl SPORE_IMAGE=python`.
struct LogField {
  std::string_view name;
  std::string_view value;
};

void Log(LogLevel level, std::string_view line, std::initializer_list<LogField> fields = {});

}  // namespace spore
