#include "daemon/common/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "sandbox/sys/printable.h"

namespace spore {
namespace {

constexpr char kJournalSocket[] = "/run/systemd/journal/socket";

// systemd sets JOURNAL_STREAM for services whose stderr is the journal, to the stream's device and
// inode, so that nobody is misled whose stderr was moved elsewhere since (systemd.exec(5)).
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  uint64_t device = 0, inode = 0;
  struct stat info {};
  return stream != nullptr && std::sscanf(stream, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 &&
         fstat(STDERR_FILENO, &info) == 0 && info.st_dev == device && info.st_ino == inode;
}

// The journal's own protocol, which has fields (sd_journal_sendv(3)).
bool SendToJournal(LogLevel level, const std::string& line,
                   std::initializer_list<LogField> fields) {
  // Without a journal that call succeeds, and says nothing to anybody.
  if (access(kJournalSocket, W_OK) != 0) return false;
  std::vector<std::string> texts{"PRIORITY=" + std::to_string(static_cast<int>(level)),
                                 "SYSLOG_IDENTIFIER=spored", "MESSAGE=" + line};
  for (const LogField& field : fields) {
    if (!field.value.empty())
      texts.push_back(std::string(field.name) + "=" + Printable(field.value));
  }
  std::vector<iovec> parts;
  for (std::string& text : texts) parts.push_back({text.data(), text.size()});
  return sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) == 0;
}

}  // namespace

void Log(LogLevel level, std::string_view line, std::initializer_list<LogField> fields) {
  const std::string printable = Printable(line);
  const bool journal = StderrIsJournal();
  if (journal && SendToJournal(level, printable, fields)) return;
  // The journal reads the priority from such a prefix (sd-daemon(3)).
  std::string text = journal ? "<" + std::to_string(static_cast<int>(level)) + ">" : "spored: ";
  text += printable + '\n';
  // One write, so that lines of several processes do not mix. There is nowhere to report a failure.
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

}  // namespace spore
