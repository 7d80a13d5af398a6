// What spored and the agent of a session say to each other, and the agent and its interpreter.
//
// Frames as on every instance channel (zygote/protocol.h):
//
//   spored -> agent   kAsk   one thing to do; `id` counts up from 1
//   agent -> spored   kTell  the one answer to the kAsk with that id
//                     kEvent something that nobody asked for; id 0
//
// The body of each is an Op and then fields: a tag, a length, and so many bytes; numbers are eight
// bytes. Names of files are bytes, so this is no JSON. Both readers take what they read for
// hostile: the agent is the tenant's as soon as a program of the tenant's has run.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spore::session {

enum class Op : uint16_t {
  // kAsk
  kExec = 1,       // descriptors: three streams, or a terminal, or none (kStreams)
  kSignal,         // kExecId, kSignalNumber: to its process group
  kReadOutput,     // kExecId, kFlags, kOffset, kWaitMs
  kRunCode,        // kData
  kInterrupt,      // the code that runs
  kRestart,        // the interpreter ends
  kReadFile,       // kPath, kOffset, kLength, kFlags
  kWriteFile,      // kPath, kOffset, kData, kFlags, kMode
  kListFiles,      // kPath, kCursor, kLimit
  kStatFile,       // kPath, kFlags
  kMakeDirectory,  // kPath, kMode, kFlags
  kRemoveFile,     // kPath, kFlags
  kRenameFile,     // kPath, kTarget, kFlags
  kMakeSymlink,    // kTarget, kPath
  kSetAttributes,  // kPath, kMode if wanted, kModified if wanted
  kWatchFiles,     // kPath and kFlags, or kWatch; kWaitMs
  kListProcesses,
  kForget,     // kAskId: nobody waits for that answer any more
  kAdoptCode,  // kRun: of a branch that has just begun: an interpreter is started, and made from
               // outside one that has run so many pieces of code. kPid comes back
  kPark,       // the channel is let go of, and the agent waits: the session is put on disk.
               // kDescriptor comes back: through that one of the agent's it is brought back
  kUnpark,     // comes through that one, with the descriptor of a new channel, on which it is
               // answered: kPid of the interpreter (0: none) and kRun. kFlags (kRestored)
  // kTell
  kDone = 64,
  kFailed,  // kErrno, kText
  // kEvent
  kExecEnded,    // kExecId, kCode, kStatus; kOut, kErr, kOutDropped, kErrDropped where wanted
  kBackground,   // kFlags (kStderr), kData: what the interpreter wrote between calls
  kCodeChanged,  // kPid: of the interpreter; 0: it has ended
};

enum class Tag : uint16_t {
  kPath = 1,
  kTarget,
  kData,
  kOffset,
  kLength,
  kFlags,
  kMode,
  kModified,  // ns since 1970
  kCursor,
  kLimit,
  kWatch,
  kWaitMs,
  kErrno,
  kText,
  kExecId,
  kPid,
  kCode,    // as waitid(2)'s si_code; of kExec that could not start: absent
  kStatus,  // si_status; of kExec that could not start: 125, 126 or 127
  kArgument,
  kVariable,  // NAME=VALUE
  kDirectory,
  kStreams,
  kSignalNumber,
  kOut,
  kErr,
  kOutDropped,
  kErrDropped,
  kSize,
  kEntry,  // packed fields of one file, event or process
  kKind,
  kLinks,
  kInode,
  kParent,
  kName,
  kState,
  kCpuUs,
  kMemory,
  kAskId,
  // What came of a piece of code.
  kValue,
  kJson,
  kForm,  // packed: kName the media type, kData
  kErrorType,
  kErrorMessage,
  kErrorLine,
  kRun,
  kWasThere,
  kDescriptor,
};

// Bits of kFlags.
using Flag = uint64_t;
constexpr Flag kNoFollow = 1;
constexpr Flag kCreate = 2;
constexpr Flag kTruncate = 4;
constexpr Flag kExclusive = 8;
constexpr Flag kAppend = 16;
constexpr Flag kParents = 32;
constexpr Flag kRecursive = 64;
constexpr Flag kMissingOk = 128;
constexpr Flag kReplace = 256;
constexpr Flag kStderr = 512;
constexpr Flag kEnd = 1024;       // nothing more comes
constexpr Flag kCut = 2048;       // of kValue
constexpr Flag kOverflow = 4096;  // of kWatchFiles
constexpr Flag kWithOutput = 8192;
constexpr Flag kAgent = 16384;        // of a process
constexpr Flag kInterpreter = 32768;  // likewise
constexpr Flag kEnded = 65536;        // of kRunCode: the interpreter has
constexpr Flag kRestored = 131072;  // of kUnpark: from disk; nobody waits for what was asked before

enum class Streams : uint64_t { kAttached = 0, kTerminal = 1, kKept = 2 };
enum class Kind : uint64_t { kFile = 1, kDirectory = 2, kSymlink = 3, kOther = 4 };
enum class Change : uint64_t { kCreated = 1, kChanged = 2, kRemoved = 3 };

// Most that one frame's body has, either way; what it is made of keeps within this.
constexpr uint32_t kMaxBody = 4u << 20;
constexpr uint32_t kMaxChunk = 1u << 20;    // of a file or of kept output, and of code
constexpr uint32_t kMaxValue = 256u << 10;  // kValue
constexpr uint32_t kMaxJson = 512u << 10;   // kJson, and all kForm together
constexpr uint32_t kMaxEntries = 1000;

// Writes a body.
class Writer {
 public:
  explicit Writer(Op op) { Append(&op, sizeof op); }
  Writer() = default;  // fields alone, for kEntry

  Writer& Put(Tag tag, std::string_view bytes) {
    const auto length = static_cast<uint32_t>(bytes.size());
    Append(&tag, sizeof tag);
    Append(&length, sizeof length);
    body_.append(bytes);
    return *this;
  }
  Writer& PutNumber(Tag tag, uint64_t number) {
    return Put(tag, {reinterpret_cast<const char*>(&number), sizeof number});
  }
  size_t size() const { return body_.size(); }
  std::string Take() { return std::move(body_); }
  const std::string& body() const { return body_; }

 private:
  void Append(const void* bytes, size_t count) {
    body_.append(static_cast<const char*>(bytes), count);
  }
  std::string body_;
};

// Reads a body, which it does not own. Nothing is found in one that is not well-formed.
class Reader {
 public:
  // `has_op`: false for the fields of a kEntry.
  explicit Reader(std::string_view body, bool has_op = true) : fields_(body) {
    if (has_op) {
      if (body.size() < sizeof(Op)) return;
      memcpy(&op_, body.data(), sizeof op_);
      fields_.remove_prefix(sizeof op_);
    }
    valid_ = true;
    Each([](Tag, std::string_view) {});
  }

  bool valid() const { return valid_; }
  Op op() const { return op_; }

  // Calls `take(tag, bytes)` for each field, in order.
  template <typename Take>
  void Each(Take take) {
    std::string_view left = valid_ ? fields_ : std::string_view();
    while (!left.empty()) {
      Tag tag;
      uint32_t length = 0;
      if (left.size() < sizeof tag + sizeof length) return Invalidate();
      memcpy(&tag, left.data(), sizeof tag);
      memcpy(&length, left.data() + sizeof tag, sizeof length);
      left.remove_prefix(sizeof tag + sizeof length);
      if (length > left.size()) return Invalidate();
      take(tag, left.substr(0, length));
      left.remove_prefix(length);
    }
  }

  // The first of that tag.
  std::optional<std::string_view> Find(Tag wanted) {
    std::optional<std::string_view> found;
    Each([&](Tag tag, std::string_view bytes) {
      if (tag == wanted && !found) found = bytes;
    });
    return found;
  }
  std::string_view Get(Tag wanted) { return Find(wanted).value_or(std::string_view()); }
  std::optional<uint64_t> FindNumber(Tag wanted) {
    const auto bytes = Find(wanted);
    if (!bytes || bytes->size() != sizeof(uint64_t)) return std::nullopt;
    uint64_t number = 0;
    memcpy(&number, bytes->data(), sizeof number);
    return number;
  }
  uint64_t GetNumber(Tag wanted) { return FindNumber(wanted).value_or(0); }
  bool Has(Flag flag) { return (GetNumber(Tag::kFlags) & flag) != 0; }
  std::vector<std::string> All(Tag wanted) {
    std::vector<std::string> all;
    Each([&](Tag tag, std::string_view bytes) {
      if (tag == wanted) all.emplace_back(bytes);
    });
    return all;
  }

 private:
  void Invalidate() { valid_ = false; }
  std::string_view fields_;
  Op op_ = Op{};
  bool valid_ = false;
};

}  // namespace spore::session
