// Sandboxes that live: programs, code that keeps its state, and files in one place.
//
//   auto client = spore::Client::Open();
//   auto box = spore::Sandbox::Create(*client, {"python-numpy"});
//   box->RunCode("import numpy; x = numpy.arange(4)");
//   box->RunCode("int(x.sum())")->value;                 // "6"
//   box->Exec({"ls", "-l", "/tmp"})->out;
//
// Units, text, errors and threads: client.h. Paths are absolute and bytes; only /tmp and /dev/shm
// can be written to. What a sandbox says, output and listings included, is as true as the code in
// it lets it be.
#ifndef SPORE_SANDBOX_H_
#define SPORE_SANDBOX_H_

#include <cstdint>
#include <functional>

#include <spore/client.h>

namespace spore {
inline namespace client_0 {

struct SandboxOptions {
  std::string image = "python";
  std::chrono::milliseconds ttl{0};  // it ends after this; 0: ten minutes
  std::chrono::milliseconds idle_timeout{
      0};                   // it ends when unused for so long; 0: never before ttl
  Limits limits;            // memory, cpus, pids, tmp
  Environment environment;  // of all that runs in it
  std::string label;        // for people
  std::string network;      // "none", or as "egress:pypi.org:443": spore-sandbox(1)
};

struct BranchOptions {
  std::uint32_t copies = 1;         // 16 at most
  std::chrono::milliseconds ttl{};  // 0: they end when the source would
  std::string label;                // of each, for people
  bool only_interpreter = false;    // leave other programs out, rather than fail
};

struct CheckpointOptions {
  std::string name;            // empty: one is made of the sandbox's id
  bool leave_running = false;  // else the sandbox is ended when it is on disk
};

struct RestoreOptions {
  std::chrono::milliseconds ttl{};  // 0: the time that the one on disk had left
  std::string label;                // empty: that of the one on disk
};

// A sandbox on disk.
struct CheckpointInfo {
  std::string name;
  std::string sandbox, label, image;  // of the one that it was made of
  TimePoint created;
  std::uint64_t bytes = 0;      // on disk
  std::uint32_t processes = 0;  // that ran in it
  std::string unusable;         // why it cannot be restored here; empty: it can
};

enum class SandboxState { kStarting, kRunning, kPaused, kEnding, kDead };

struct SandboxInfo {
  std::string id, label, image;
  std::string language;  // that RunCode takes; empty: none
  SandboxState state = SandboxState::kStarting;
  TimePoint created, expires;
  std::uint64_t memory = 0;  // charged now
  std::chrono::microseconds cpu{0};
  std::uint32_t processes = 0;
  std::uint32_t execs_running = 0;
  std::string ended;  // of a dead one, one line for a person
};

struct ExecOptions {
  std::string input;                     // up to 1 MiB
  std::string working_directory;         // empty: /tmp
  Environment environment;               // on top of the sandbox's
  std::chrono::milliseconds timeout{0};  // its process group is killed after this
  bool check = false;  // a code that is not 0 is an error, kExecFailed (not of Start)
};

struct ExecResult {
  // The program's own; 128 + signal; 127: no such program; 126: it cannot be executed; 125: it
  // could not be started. `message` says why of the last three.
  int exit_code = 0;
  bool timed_out = false;
  std::string message;
  std::string out, err;                            // the newest part of each
  std::uint64_t out_dropped = 0, err_dropped = 0;  // bytes before that
};

struct CodeOptions {
  std::chrono::milliseconds timeout{0};  // it is interrupted after this
  bool check = true;  // what it raises is an error, kCodeFailed; else CodeResult::error
};

struct CodeResult {
  std::optional<std::string> value;          // repr of the last expression, where that is not None
  std::string json;                          // the same as JSON, where it can be; else empty
  std::map<std::string, std::string> forms;  // others that it offers, by media type
  std::string out, err;
  std::optional<Error> error;  // what it has raised
  bool timed_out = false;
  bool interpreter_ended = false;  // its state is lost; the next call starts afresh
};

enum class FileKind { kFile, kDirectory, kSymlink, kOther };

struct FileInfo {
  std::string path;  // in a listing: the name alone
  FileKind kind = FileKind::kOther;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  // permission bits
  std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds> modified;
  std::string target;  // of a symlink
};

// A program that runs in a sandbox by itself (Sandbox::Start). Goes on when this is destroyed.
class SPORE_CLIENT_API Process {
 public:
  std::uint32_t exec_id() const { return exec_id_; }
  int pid() const { return pid_; }  // as the sandbox sees it

  // Its exit code; nothing when it still runs after `timeout`. Without one: waits for its end.
  Result<std::optional<int>> Wait(
      std::optional<std::chrono::milliseconds> timeout = std::nullopt) const;
  Result<> Signal(int number) const;  // to its process group
  Result<> Kill() const;
  // What it writes to its stdout (stderr), as it comes, to its end or until `take` returns false.
  // What is no longer kept is left out.
  Result<> Output(const std::function<bool(std::string_view)>& take, bool of_stderr = false) const;

 private:
  friend class Sandbox;
  Process(std::shared_ptr<Link> link, std::string sandbox, std::uint32_t exec_id, int pid)
      : link_(std::move(link)), sandbox_(std::move(sandbox)), exec_id_(exec_id), pid_(pid) {}

  std::shared_ptr<Link> link_;
  std::string sandbox_;
  std::uint32_t exec_id_;
  int pid_;
};

// One that was created here is ended with this object, unless it was released.
class SPORE_CLIENT_API Sandbox {
 public:
  // Returns when programs can be executed in it.
  static Result<Sandbox> Create(const Client& client, const SandboxOptions& options = {});
  // One that is there already, by its id or a unique prefix of it. It stays when this is destroyed.
  static Result<Sandbox> Connect(const Client& client, std::string_view id);
  // One that goes on where the one that Checkpoint has put on disk was. That stays.
  static Result<Sandbox> Restore(const Client& client, std::string_view name,
                                 const RestoreOptions& options = {});
  static Result<std::vector<CheckpointInfo>> ListCheckpoints(const Client& client);
  static Result<> RemoveCheckpoint(const Client& client, std::string_view name);
  // All that the caller may see.
  static Result<std::vector<SandboxInfo>> List(const Client& client, bool include_dead = false);

  Sandbox(Sandbox&& other) noexcept;
  Sandbox& operator=(Sandbox&& other) noexcept;
  ~Sandbox();

  const std::string& id() const { return id_; }
  // Lets it live when this is destroyed.
  void Release() { owned_ = false; }

  // Ends it with all that runs in it. One that has ended already is fine.
  Result<> Kill();
  Result<SandboxInfo> GetInfo() const;
  // It lives for at least `ttl` from now.
  Result<> Extend(std::chrono::milliseconds ttl) const;
  Result<> Pause() const;
  Result<> Resume() const;
  // Copies of it as it is now, each a sandbox of its own: what its interpreter has in memory, and
  // files.
  Result<std::vector<Sandbox>> Branch(const BranchOptions& options = {}) const;
  // Puts all that runs in it on disk, and its files: for Restore, as often as wanted.
  Result<CheckpointInfo> Checkpoint(const CheckpointOptions& options = {}) const;

  // Runs a program to its end. args[0]: a path, or a name that is looked up in PATH. No shell.
  Result<ExecResult> Exec(const std::vector<std::string>& args,
                          const ExecOptions& options = {}) const;
  // Starts one that goes on by itself.
  Result<Process> Start(const std::vector<std::string>& args,
                        const ExecOptions& options = {}) const;

  // Runs a piece of code; what it defines is there for the next.
  Result<CodeResult> RunCode(std::string_view code, const CodeOptions& options = {}) const;
  // Interrupts the code that runs now; false: none does.
  Result<bool> Interrupt() const;
  // Forgets what code has defined; files and programs stay.
  Result<> RestartCode() const;

  // A whole file, of at most `limit` bytes.
  Result<std::string> ReadFile(std::string_view path,
                               std::uint64_t limit = std::uint64_t{1} << 30) const;
  Result<> WriteFile(std::string_view path, std::string_view content,
                     std::uint32_t mode = 0644) const;
  Result<std::vector<FileInfo>> ListFiles(std::string_view path = "/tmp") const;
  Result<FileInfo> StatFile(std::string_view path, bool follow = false) const;
  // With `parents` those that are missing too, and that it is there already is no error.
  Result<> MakeDirectory(std::string_view path, bool parents = false) const;
  Result<> RemoveFile(std::string_view path, bool recursive = false) const;
  Result<> RenameFile(std::string_view from, std::string_view to, bool replace = false) const;

 private:
  Sandbox(std::shared_ptr<Link> link, std::string id, bool owned)
      : link_(std::move(link)), id_(std::move(id)), owned_(owned) {}
  void End() noexcept;

  std::shared_ptr<Link> link_;
  std::string id_;
  bool owned_ = false;
};

}  // namespace client_0
}  // namespace spore

#endif  // SPORE_SANDBOX_H_
