#include "daemon/common/json_record.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <string>

#include "daemon/common/directory_tree.h"
#include "sandbox/sys/unique_fd.h"

namespace spore {

Result<> WriteJsonRecord(int folder, const char* name, const google::protobuf::Message& record,
                         size_t most) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(record, &text, options).ok())
    return MakeError(ErrorKind::kInternal, "a record that cannot be written down", name);
  if (text.size() > most) {
    return MakeError(ErrorKind::kPrecondition,
                     std::string(name) + " would take " + std::to_string(text.size()) +
                         " bytes; expected at most " + std::to_string(most));
  }
  UniqueFd file(openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) return SysError("create", name);
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return SysError("write", name);
  if (fsync(file.get()) != 0) return SysError("fsync", name);
  return {};
}

Result<> ReadJsonRecord(int folder, const char* name, size_t most,
                        google::protobuf::Message* record) {
  SPORE_ASSIGN(const std::string text, ReadSmallFile(folder, name, most));
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (google::protobuf::util::JsonStringToMessage(text, record, options).ok()) return {};
  return MakeError(ErrorKind::kPrecondition, std::string(name) + " is damaged");
}

}  // namespace spore
