// Spore's client library for C++: functions, events and scripts. sandbox.h has sandboxes that live.
//
//   #include <spore/client.h>
//
//   auto client = spore::Client::Open();
//   auto answer = client ? client->Invoke("hello", R"({"name": "ada"})")
//                        : tl::make_unexpected(client.error());
//   std::puts(answer ? answer->c_str() : answer.error().message.c_str());
//
//   c++ -std=c++17 hello.cc $(pkg-config --cflags --libs spore-client)
//
// It is what the command `spore` speaks to spored with, below the names that the Python and
// TypeScript clients have.
//
// Units: sizes are bytes, times are durations of <chrono>, cpus a number of processors. 0: the
// default, and where that is not told, no limit.
// Text: events and results are JSON as text, which is not looked at here.
// Ownership: what is returned is the caller's, with all that it refers to; arguments need to live
// no longer than the call. A Client is a handle: copies share its connections, which close with the
// last copy and the last Sandbox made of it.
// Errors: returned, never thrown (but std::bad_alloc). A call that has failed has changed nothing,
// unless it is kConnectionFailed or kTimedOut: then it may have been carried out.
// Threads: any number may use a Client, its copies and its Sandboxes at once; calls do not wait for
// each other. A call blocks its thread until the answer is there. No thread is started, no signal
// is raised or handled.
// fork(2): descriptors are close-on-exec. A child opens a Client of its own.
// protobuf: the library uses the system's, and registers Spore's messages in its pool: a program
// cannot have the same .proto files generated for itself.
#ifndef SPORE_CLIENT_H_
#define SPORE_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <spore/error.h>

#define SPORE_CLIENT_API __attribute__((visibility("default")))

namespace spore {
inline namespace client_0 {

class Link;

using Environment = std::map<std::string, std::string>;
using TimePoint = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

struct ClientOptions {
  // Path of spored's socket; else $SPORE_SOCKET, else /run/spore/spored.sock.
  std::string socket;
  // How long spored may stay silent in a call, beyond what the call itself waits for on purpose.
  std::chrono::milliseconds timeout{0};
};

// What a sandbox may use; 0 everywhere: the default of the host.
struct Limits {
  std::uint64_t memory = 0;
  double cpus = 0;
  std::uint32_t pids = 0;
  std::uint64_t tmp = 0;                 // of /tmp and /dev/shm together
  std::chrono::milliseconds timeout{0};  // of one invocation or run
  std::uint32_t max_instances = 0;       // of a function
};

// Whether each invocation gets a sandbox of its own.
enum class Isolation { kInstance, kInvocation };

struct DeployOptions {
  std::string runtime = "python";
  std::string handler;
  std::string image;  // empty: the runtime's own
  Isolation isolation = Isolation::kInstance;
  Environment environment;
  Limits limits;
  std::uint32_t min_instances = 0;  // kept ready
};

// What is absent, empty or 0 stays as it is.
struct UpdateOptions {
  std::optional<std::string> code;  // a path, as of Deploy
  std::string handler;
  std::string image;
  std::optional<Isolation> isolation;
  std::optional<Environment> environment;  // the whole of it
  Limits limits;
  std::optional<std::uint32_t> min_instances;
};

struct Function {
  std::string name;
  std::uint64_t version = 0;  // counts its updates from 1
  std::string runtime, image, handler;
  Isolation isolation = Isolation::kInstance;
  Environment environment;
  Limits limits;
  std::uint32_t owner_uid = 0;
  TimePoint created, updated;
  std::string code_digest;  // "sha256:<hex>" of the archive as sent
  std::uint64_t code_bytes = 0;
  std::uint32_t instances = 0;  // live now
};

struct InvokeOptions {
  std::string qualifier;       // a published version's number or an alias; empty: the working copy
  std::string client_context;  // JSON, for the handler's context.client_context
  bool log_tail = false;       // fill InvokeResult::log_tail
};

struct InvokeResult {
  std::string value;       // what the handler has returned, as JSON
  std::string start_kind;  // "warm", "fork", "restore" or "cold"
  std::string request_id, instance_id;
  std::string executed_version;  // "$LATEST", or the published version's number
  std::chrono::microseconds duration{0};
  std::string log_tail;  // the last 4 KiB of this invocation's output
};

struct RunOptions {
  std::string runtime = "python";
  std::string image;
  std::string input;  // what it reads from its standard input
  Environment environment;
  Limits limits;
};

struct RunResult {
  int exit_code = 0;     // its own; 128 and the signal that ended it; -1: `ended` says what
  std::string out, err;  // all that it has written to each
  std::string ended;     // one line for a person
};

struct Info {
  std::string version;  // of spored
  int pid = 0;
  std::string state_dir;
  std::string cgroup_layout;  // "v2", "hybrid" or "v1"
  TimePoint started;
};

class SPORE_CLIENT_API Client {
 public:
  // Connects, so that a daemon that is not there is told now.
  static Result<Client> Open(const ClientOptions& options = {});

  // A new function. `code`: path of a folder, of a single source file or shared object, or of a zip
  // or tar file.
  Result<Function> Deploy(std::string_view name, const std::string& code,
                          const DeployOptions& options) const;
  Result<Function> Update(std::string_view name, const UpdateOptions& options) const;
  // One, and all that the caller may see, by name.
  Result<Function> GetFunction(std::string_view name) const;
  Result<std::vector<Function>> Functions() const;
  Result<> Remove(std::string_view name) const;

  // The handler's result. A function that fails is an error, kFunctionFailed.
  Result<std::string> Invoke(std::string_view name, std::string_view event = "null",
                             const InvokeOptions& options = {}) const;
  // As Invoke, with everything that is known of the call beside its result.
  Result<InvokeResult> InvokeForResult(std::string_view name, std::string_view event = "null",
                                       const InvokeOptions& options = {}) const;
  // Accepts an event, which is carried out later, at least once; it is on disk when this returns.
  // The event's id (`spore async show`).
  Result<std::string> InvokeAsync(std::string_view name, std::string_view event = "null") const;

  // Runs a script (its text) once in a sandbox of its own, to its end.
  Result<RunResult> Run(std::string_view script, const std::vector<std::string>& args = {},
                        const RunOptions& options = {}) const;

  Result<Info> GetInfo() const;

 private:
  friend class Sandbox;
  explicit Client(std::shared_ptr<Link> link) : link_(std::move(link)) {}

  std::shared_ptr<Link> link_;
};

}  // namespace client_0
}  // namespace spore

#endif  // SPORE_CLIENT_H_
