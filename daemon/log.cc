#include "daemon/log.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "sandbox/sys/printable.h"

namespace spore {

void Log(LogLevel level, std::string_view line) {
  // systemd sets JOURNAL_STREAM for services whose stderr is the journal (systemd.exec(5)).
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::string text = journal ? "<" + std::to_string(static_cast<int>(level)) + ">" : "spored: ";
  text += Printable(line) + '\n';
  // One write, so that lines of several processes do not mix. There is nowhere to report a failure.
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

}  // namespace spore
