// spored's own messages: one line each on stderr, with the priority prefix that the journal reads
// (sd-daemon(3)) when stderr goes there.
#pragma once

#include <string_view>

namespace spore {

enum class LogLevel { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

void Log(LogLevel level, std::string_view line);

}  // namespace spore
