// spore.v1.Sandboxes: files and processes. spored passes on what is asked and what is answered, and
// looks at no file itself.
#include <cstring>

#include "daemon/common/text.h"
#include "daemon/services/sandboxes_service.h"
#include "sandbox/sys/printable.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr size_t kMaxPathBytes = 4095;
constexpr uint32_t kMaxMode = 07777;
constexpr size_t kShownPath = 200;
constexpr std::chrono::milliseconds kPatience{30'000};
constexpr std::chrono::milliseconds kRemovalPatience{300'000};

Result<> CheckPath(const std::string& path, const char* field) {
  const bool valid = !path.empty() && path.front() == '/' && path.size() <= kMaxPathBytes &&
                     path.find('\0') == path.npos;
  if (valid) return {};
  return MakeError(ErrorKind::kInvalid,
                   std::string(field) + ": \"" + Printable(path.substr(0, kShownPath)) +
                       "\" is not valid; expected an absolute path of at most 4095 bytes");
}

Result<> CheckMode(uint32_t mode) {
  if (mode <= kMaxMode) return {};
  return MakeError(ErrorKind::kInvalid, "mode: " + std::to_string(mode) +
                                            " is out of range; expected 0 to 4095 (07777)");
}

Result<> CheckLength(const char* field, size_t bytes) {
  if (bytes <= session::kMaxChunk) return {};
  return MakeError(ErrorKind::kInvalid, std::string(field) + ": " + std::to_string(bytes) +
                                            " bytes; expected at most 1048576");
}

// Asks the agent for something about `path`, and answers with what `fill(reader, response)` makes
// of it.
template <typename Response, typename Request>
void AskFile(ServiceContext& context, const CallPtr& call, const Request& request,
             const std::string& path, Writer ask, void (*fill)(Reader&, Response&),
             std::chrono::milliseconds patience = kPatience) {
  auto session = UsableSession(context, *call, request.id());
  if (!session) return call->Fail(session.error());
  AskAgent(context, call, **session, ask.Take(), patience,
           [call, path, fill](Result<std::string> answer) {
             if (!answer) {
               Error error = std::move(answer).error();
               if (error.errno_value != 0) error.object = Printable(path.substr(0, kShownPath));
               return call->Fail(error);
             }
             Reader reader(*answer);
             Response response;
             if (fill != nullptr) fill(reader, response);
             call->Reply(response);
           });
}

template <typename Response, typename Request>
void AskFile(ServiceContext& context, const CallPtr& call, const Request& request, Writer ask,
             void (*fill)(Reader&, Response&) = nullptr,
             std::chrono::milliseconds patience = kPatience) {
  if (auto valid = CheckPath(request.path(), "path"); !valid) return call->Fail(valid.error());
  ask.Put(Tag::kPath, request.path());
  AskFile<Response>(context, call, request, request.path(), std::move(ask), fill, patience);
}

uint64_t FlagIf(bool set, session::Flag flag) {
  return set ? flag : 0;
}

void FillFile(std::string_view packed, v1::FileInfo& info) {
  Reader entry(packed, /*has_op=*/false);
  info.set_path(std::string(entry.Get(Tag::kPath).substr(0, kMaxPathBytes)));
  const uint64_t kind = entry.GetNumber(Tag::kKind);
  info.set_kind(kind <= v1::FileInfo::OTHER ? static_cast<v1::FileInfo::Kind>(kind)
                                            : v1::FileInfo::OTHER);
  info.set_size(entry.GetNumber(Tag::kSize));
  info.set_mode(static_cast<uint32_t>(entry.GetNumber(Tag::kMode) & kMaxMode));
  info.set_modified_unix_ns(static_cast<int64_t>(entry.GetNumber(Tag::kModified)));
  info.set_target(std::string(entry.Get(Tag::kTarget).substr(0, kMaxPathBytes)));
  info.set_links(static_cast<uint32_t>(entry.GetNumber(Tag::kLinks)));
  info.set_inode(entry.GetNumber(Tag::kInode));
}

void ReadFile(ServiceContext& context, const CallPtr& call, v1::ReadFileRequest& request) {
  if (auto valid = CheckLength("length", request.length()); !valid)
    return call->Fail(valid.error());
  Writer ask(Op::kReadFile);
  ask.PutNumber(Tag::kOffset, request.offset())
      .PutNumber(Tag::kLength, request.length() == 0 ? session::kMaxChunk : request.length())
      .PutNumber(Tag::kFlags, FlagIf(request.no_follow(), session::kNoFollow));
  AskFile<v1::ReadFileResponse>(
      context, call, request, std::move(ask), [](Reader& reader, v1::ReadFileResponse& response) {
        response.set_data(std::string(reader.Get(Tag::kData).substr(0, session::kMaxChunk)));
        response.set_size(reader.GetNumber(Tag::kSize));
        response.set_end(reader.Has(session::kEnd));
      });
}

void WriteFile(ServiceContext& context, const CallPtr& call, v1::WriteFileRequest& request) {
  constexpr uint32_t kUsual = 0644;
  if (auto valid = CheckLength("data", request.data().size()); !valid)
    return call->Fail(valid.error());
  if (auto valid = CheckMode(request.mode()); !valid) return call->Fail(valid.error());
  Writer ask(Op::kWriteFile);
  ask.PutNumber(Tag::kOffset, request.offset())
      .PutNumber(Tag::kMode, request.mode() == 0 ? kUsual : request.mode())
      .PutNumber(Tag::kFlags, FlagIf(request.create(), session::kCreate) |
                                  FlagIf(request.truncate(), session::kTruncate) |
                                  FlagIf(request.exclusive(), session::kExclusive) |
                                  FlagIf(request.append(), session::kAppend) |
                                  FlagIf(request.no_follow(), session::kNoFollow))
      .Put(Tag::kData, request.data());
  AskFile<v1::WriteFileResponse>(context, call, request, std::move(ask),
                                 [](Reader& reader, v1::WriteFileResponse& response) {
                                   response.set_size(reader.GetNumber(Tag::kSize));
                                 });
}

void ListFiles(ServiceContext& context, const CallPtr& call, v1::ListFilesRequest& request) {
  if (request.limit() > session::kMaxEntries) {
    return call->Fail({ErrorKind::kInvalid,
                       0,
                       "limit: " + std::to_string(request.limit()) + "; expected at most 1000",
                       {},
                       {}});
  }
  Writer ask(Op::kListFiles);
  ask.PutNumber(Tag::kCursor, request.cursor())
      .PutNumber(Tag::kLimit, request.limit() == 0 ? session::kMaxEntries : request.limit());
  AskFile<v1::ListFilesResponse>(
      context, call, request, std::move(ask), [](Reader& reader, v1::ListFilesResponse& response) {
        reader.Each([&](Tag tag, std::string_view bytes) {
          if (tag == Tag::kEntry &&
              static_cast<uint32_t>(response.files_size()) < session::kMaxEntries)
            FillFile(bytes, *response.add_files());
        });
        response.set_cursor(reader.GetNumber(Tag::kCursor));
      });
}

void StatFile(ServiceContext& context, const CallPtr& call, v1::StatFileRequest& request) {
  Writer ask(Op::kStatFile);
  ask.PutNumber(Tag::kFlags, FlagIf(!request.follow(), session::kNoFollow));
  AskFile<v1::FileInfo>(
      context, call, request, std::move(ask),
      [](Reader& reader, v1::FileInfo& response) { FillFile(reader.Get(Tag::kEntry), response); });
}

void MakeDirectory(ServiceContext& context, const CallPtr& call,
                   v1::MakeDirectoryRequest& request) {
  constexpr uint32_t kUsual = 0755;
  if (auto valid = CheckMode(request.mode()); !valid) return call->Fail(valid.error());
  Writer ask(Op::kMakeDirectory);
  ask.PutNumber(Tag::kMode, request.mode() == 0 ? kUsual : request.mode())
      .PutNumber(Tag::kFlags, FlagIf(request.parents(), session::kParents));
  AskFile<v1::MakeDirectoryResponse>(context, call, request, std::move(ask));
}

void RemoveFile(ServiceContext& context, const CallPtr& call, v1::RemoveFileRequest& request) {
  Writer ask(Op::kRemoveFile);
  ask.PutNumber(Tag::kFlags, FlagIf(request.recursive(), session::kRecursive) |
                                 FlagIf(request.missing_ok(), session::kMissingOk));
  AskFile<v1::RemoveFileResponse>(context, call, request, std::move(ask), nullptr,
                                  kRemovalPatience);
}

void RenameFile(ServiceContext& context, const CallPtr& call, v1::RenameFileRequest& request) {
  if (auto valid = CheckPath(request.from(), "from"); !valid) return call->Fail(valid.error());
  if (auto valid = CheckPath(request.to(), "to"); !valid) return call->Fail(valid.error());
  Writer ask(Op::kRenameFile);
  ask.Put(Tag::kPath, request.from())
      .Put(Tag::kTarget, request.to())
      .PutNumber(Tag::kFlags, FlagIf(request.replace(), session::kReplace));
  AskFile<v1::RenameFileResponse>(context, call, request, request.from() + " to " + request.to(),
                                  std::move(ask), nullptr);
}

void MakeSymlink(ServiceContext& context, const CallPtr& call, v1::MakeSymlinkRequest& request) {
  if (request.target().empty() || request.target().size() > kMaxPathBytes ||
      request.target().find('\0') != std::string::npos) {
    return call->Fail(
        {ErrorKind::kInvalid, 0, "target: expected 1 to 4095 bytes without NUL", {}, {}});
  }
  Writer ask(Op::kMakeSymlink);
  ask.Put(Tag::kTarget, request.target());
  AskFile<v1::MakeSymlinkResponse>(context, call, request, std::move(ask));
}

void SetAttributes(ServiceContext& context, const CallPtr& call,
                   v1::SetAttributesRequest& request) {
  if (auto valid = CheckMode(request.mode()); !valid) return call->Fail(valid.error());
  Writer ask(Op::kSetAttributes);
  if (request.has_mode()) ask.PutNumber(Tag::kMode, request.mode());
  if (request.has_modified_unix_ns())
    ask.PutNumber(Tag::kModified, static_cast<uint64_t>(request.modified_unix_ns()));
  AskFile<v1::SetAttributesResponse>(context, call, request, std::move(ask));
}

void FillEvents(Reader& reader, v1::WatchFilesResponse& response) {
  response.set_watch(static_cast<uint32_t>(reader.GetNumber(Tag::kWatch)));
  response.set_overflow(reader.Has(session::kOverflow));
  reader.Each([&](Tag tag, std::string_view bytes) {
    if (tag != Tag::kEntry) return;
    Reader entry(bytes, /*has_op=*/false);
    const uint64_t kind = entry.GetNumber(Tag::kKind);
    v1::FileEvent& event = *response.add_events();
    event.set_path(std::string(entry.Get(Tag::kPath).substr(0, kMaxPathBytes)));
    event.set_kind(kind <= v1::FileEvent::REMOVED ? static_cast<v1::FileEvent::Kind>(kind)
                                                  : v1::FileEvent::CHANGED);
  });
}

void WatchFiles(ServiceContext& context, const CallPtr& call, v1::WatchFilesRequest& request) {
  if (auto valid = CheckWait(request.wait_ms()); !valid) return call->Fail(valid.error());
  if (request.watch() == 0) {
    if (auto valid = CheckPath(request.path(), "path"); !valid) return call->Fail(valid.error());
  }
  Writer ask(Op::kWatchFiles);
  ask.PutNumber(Tag::kWatch, request.watch())
      .Put(Tag::kPath, request.path())
      .PutNumber(Tag::kFlags, FlagIf(request.recursive(), session::kRecursive))
      .PutNumber(Tag::kWaitMs, request.watch() == 0 ? 0 : request.wait_ms());
  const std::string what =
      request.watch() == 0 ? request.path() : "number " + std::to_string(request.watch());
  AskFile<v1::WatchFilesResponse>(context, call, request, what, std::move(ask), FillEvents,
                                  kPatience + std::chrono::milliseconds(request.wait_ms()));
}

void FillProcess(std::string_view packed, v1::Process& process) {
  constexpr size_t kMaxWord = 4096;
  Reader entry(packed, /*has_op=*/false);
  process.set_pid(static_cast<int32_t>(entry.GetNumber(Tag::kPid) & 0x7fffffff));
  process.set_parent(static_cast<int32_t>(entry.GetNumber(Tag::kParent) & 0x7fffffff));
  process.set_name(ValidUtf8(entry.Get(Tag::kName), kMaxWord));
  process.set_state(ValidUtf8(entry.Get(Tag::kState), 1));
  process.set_cpu_us(entry.GetNumber(Tag::kCpuUs));
  process.set_memory_bytes(entry.GetNumber(Tag::kMemory));
  process.set_exec_id(static_cast<uint32_t>(entry.GetNumber(Tag::kExecId)));
  process.set_agent(entry.Has(session::kAgent));
  process.set_interpreter(entry.Has(session::kInterpreter));
  for (const std::string& word : entry.All(Tag::kArgument))
    process.add_args(ValidUtf8(word, kMaxWord));
}

void ListProcesses(ServiceContext& context, const CallPtr& call,
                   v1::ListProcessesRequest& request) {
  constexpr int kMost = 1024;
  AskFile<v1::ListProcessesResponse>(
      context, call, request, "processes", Writer(Op::kListProcesses),
      [](Reader& reader, v1::ListProcessesResponse& response) {
        reader.Each([&](Tag tag, std::string_view bytes) {
          if (tag == Tag::kEntry && response.processes_size() < kMost)
            FillProcess(bytes, *response.add_processes());
        });
      });
}

}  // namespace

void RegisterSandboxFiles(RpcServer& server, ServiceContext& context) {
  RegisterSandboxMethod(server, context, "ReadFile", ReadFile);
  RegisterSandboxMethod(server, context, "WriteFile", WriteFile);
  RegisterSandboxMethod(server, context, "ListFiles", ListFiles);
  RegisterSandboxMethod(server, context, "StatFile", StatFile);
  RegisterSandboxMethod(server, context, "MakeDirectory", MakeDirectory);
  RegisterSandboxMethod(server, context, "RemoveFile", RemoveFile);
  RegisterSandboxMethod(server, context, "RenameFile", RenameFile);
  RegisterSandboxMethod(server, context, "MakeSymlink", MakeSymlink);
  RegisterSandboxMethod(server, context, "SetAttributes", SetAttributes);
  RegisterSandboxMethod(server, context, "WatchFiles", WatchFiles);
  RegisterSandboxMethod(server, context, "ListProcesses", ListProcesses);
}

}  // namespace spore
