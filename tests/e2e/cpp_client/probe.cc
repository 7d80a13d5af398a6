// Calls everything that Spore's client library for C++ offers and says what did not come out as it
// should: `probe ok` at the end. Compiled out of tree by test_cpp_client.py.
//
//   probe FOLDER-OF-FUNCTIONS
#include <spore/sandbox.h>

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

using spore::ErrorKind;

namespace {

#define EXPECT(condition)                                                 \
  do {                                                                    \
    if (!(condition)) {                                                   \
      std::printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                       \
    }                                                                     \
  } while (false)

template <typename T>
T Value(spore::Result<T> result, int line) {
  if (!result) {
    std::printf("line %d: %s\n", line, result.error().message.c_str());
    std::exit(1);
  }
  return std::move(*result);
}
void Value(spore::Result<> result, int line) {
  if (result) return;
  std::printf("line %d: %s\n", line, result.error().message.c_str());
  std::exit(1);
}
#define VALUE(expression) Value(expression, __LINE__)

template <typename T>
spore::Error Refusal(const spore::Result<T>& result, ErrorKind kind, int line) {
  if (!result && result.error().kind == kind) return result.error();
  std::printf("line %d: %s\n", line,
              result ? "it was not refused" : result.error().message.c_str());
  std::exit(1);
}
#define REFUSAL(expression, kind) Refusal(expression, ErrorKind::kind, __LINE__)

void Functions(const spore::Client& client, const std::string& code) {
  spore::DeployOptions options;
  options.handler = "app.echo";
  options.environment = {{"WHO", "ada"}};
  options.limits.memory = 64 << 20;
  options.limits.timeout = std::chrono::seconds(20);
  const auto made = VALUE(client.Deploy("cpp-echo", code, options));
  EXPECT(made.version == 1 && made.handler == "app.echo" && made.environment.at("WHO") == "ada");
  EXPECT(made.limits.memory == 64 << 20 && made.limits.timeout == std::chrono::seconds(20));
  REFUSAL(client.Deploy("cpp-echo", code, options), kAlreadyExists);
  EXPECT(REFUSAL(client.Deploy("no/name", code, options), kInvalidArgument).code == 3);
  EXPECT(
      REFUSAL(client.Deploy("other", code + "/nothing", options), kLocal).message.find("nothing") !=
      std::string::npos);
  EXPECT(VALUE(client.GetFunction("cpp-echo")).code_digest == made.code_digest);
  EXPECT(VALUE(client.Functions()).size() == 1);
  REFUSAL(client.GetFunction("nobody"), kNotFound);

  EXPECT(VALUE(client.Invoke("cpp-echo", R"({"a":[1]})")) == R"({"a": [1]})");
  EXPECT(VALUE(client.Invoke("cpp-echo")) == "null");
  const std::string large = '"' + std::string(3 << 20, 'x') + '"';
  EXPECT(VALUE(client.Invoke("cpp-echo", large)) == large);
  spore::InvokeOptions tail;
  tail.log_tail = true;
  const auto result = VALUE(client.InvokeForResult("cpp-echo", R"("say")", tail));
  EXPECT(result.log_tail.find("WHO=ada") != std::string::npos);
  EXPECT(result.start_kind == "warm" && result.executed_version == "$LATEST");
  EXPECT(!result.request_id.empty() && result.duration.count() > 0);
  EXPECT(REFUSAL(client.Invoke("cpp-echo", "{"), kFunctionFailed).type == "Runtime.UnmarshalError");

  spore::UpdateOptions update;
  update.handler = "app.fails";
  EXPECT(VALUE(client.Update("cpp-echo", update)).version == 2);
  const auto error = REFUSAL(client.Invoke("cpp-echo", R"("x")"), kFunctionFailed);
  EXPECT(error.type == "ValueError" && error.message == "ValueError: no x");
  EXPECT(!error.stack_trace.empty());
  EXPECT(!VALUE(client.InvokeAsync("cpp-echo", "1")).empty());
  VALUE(client.Remove("cpp-echo"));
  REFUSAL(client.Remove("cpp-echo"), kNotFound);
}

void Scripts(const spore::Client& client) {
  spore::RunOptions options;
  options.input = "from here";
  const auto result = VALUE(client.Run(
      "import sys; print(sys.argv[1], sys.stdin.read()); sys.stderr.write('e'); sys.exit(3)",
      {"one"}, options));
  EXPECT(result.exit_code == 3 && result.out == "one from here\n" && result.err == "e");
  EXPECT(VALUE(client.Run("import os; os.kill(os.getpid(), 9)")).exit_code == 128 + SIGKILL);
  options.limits.cpus = -1;
  REFUSAL(client.Run("", {}, options), kInvalidArgument);
}

void Programs(const spore::Sandbox& box) {
  spore::ExecOptions options;
  options.input = "typed";
  options.working_directory = "/";
  options.environment = {{"X", "y"}};
  const auto done = VALUE(box.Exec({"sh", "-c", "cat; pwd; echo $X >&2; exit 4"}, options));
  EXPECT(done.exit_code == 4 && done.out == "typed/\n" && done.err == "y\n");
  EXPECT(VALUE(box.Exec({"no-such-program"})).exit_code == 127);
  spore::ExecOptions check;
  check.check = true;
  EXPECT(REFUSAL(box.Exec({"sh", "-c", "echo bad >&2; exit 9"}, check), kExecFailed).message ==
         "exit code 9: bad");
  spore::ExecOptions brief;
  brief.timeout = std::chrono::milliseconds(100);
  EXPECT(VALUE(box.Exec({"sleep", "60"}, brief)).timed_out);

  auto process = VALUE(box.Start({"sh", "-c", "echo begun; exec sleep 60"}));
  EXPECT(process.exec_id() > 0 && process.pid() > 0);
  std::string output;
  VALUE(process.Output([&](std::string_view part) { return (output += part) != "begun\n"; }));
  EXPECT(!VALUE(process.Wait(std::chrono::milliseconds(20))).has_value());
  VALUE(process.Signal(SIGTERM));
  EXPECT(VALUE(process.Wait()) == 128 + SIGTERM);
  REFUSAL(box.Start({"no-such-program"}), kExecFailed);
}

void Code(const spore::Sandbox& box) {
  VALUE(box.RunCode("x = 40"));
  const auto sum = VALUE(box.RunCode("print('out'); x + 2"));
  EXPECT(sum.value == "42" && sum.json == "42" && sum.out == "out\n" && !sum.error);
  EXPECT(!VALUE(box.RunCode("None")).value);
  EXPECT(REFUSAL(box.RunCode("nothing"), kCodeFailed).type == "NameError");
  spore::CodeOptions lenient;
  lenient.check = false;
  EXPECT(VALUE(box.RunCode("1 / 0", lenient)).error->type == "ZeroDivisionError");
  lenient.timeout = std::chrono::milliseconds(200);
  EXPECT(VALUE(box.RunCode("import time; time.sleep(60)", lenient)).timed_out);
  EXPECT(!VALUE(box.Interrupt()));
  VALUE(box.RestartCode());
  REFUSAL(box.RunCode("x"), kCodeFailed);
}

void Files(const spore::Sandbox& box) {
  const std::string content = std::string(2500000, 'a') + std::string("\0\xff", 2);
  VALUE(box.MakeDirectory("/tmp/a/b", true));
  VALUE(box.WriteFile("/tmp/a/b/large", content, 0600));
  EXPECT(VALUE(box.ReadFile("/tmp/a/b/large")) == content);
  REFUSAL(box.ReadFile("/tmp/a/b/large", 1000), kLocal);
  VALUE(box.WriteFile("/tmp/a/b/large", ""));
  const auto file = VALUE(box.StatFile("/tmp/a/b/large"));
  EXPECT(file.size == 0 && file.mode == 0600 && file.kind == spore::FileKind::kFile);
  VALUE(box.RenameFile("/tmp/a/b/large", "/tmp/a/small"));
  EXPECT(VALUE(box.ListFiles("/tmp/a")).size() == 2);
  VALUE(box.RemoveFile("/tmp/a", true));
  REFUSAL(box.StatFile("/tmp/a"), kNotFound);
  REFUSAL(box.WriteFile("/usr/x", "x"), kPermissionDenied);
  REFUSAL(box.ReadFile("relative"), kInvalidArgument);
}

void Sandboxes(const spore::Client& client) {
  spore::SandboxOptions options;
  options.label = "cpp";
  options.environment = {{"IN", "all"}};
  std::string id;
  {
    auto box = VALUE(spore::Sandbox::Create(client, options));
    id = box.id();
    Programs(box);
    Code(box);
    Files(box);
    EXPECT(VALUE(box.Exec({"printenv", "IN"})).out == "all\n");
    VALUE(box.Pause());
    EXPECT(VALUE(box.GetInfo()).state == spore::SandboxState::kPaused);
    REFUSAL(box.Exec({"true"}), kFailedPrecondition);
    VALUE(box.Resume());
    const auto before = VALUE(box.GetInfo());
    VALUE(box.Extend(std::chrono::hours(2)));
    EXPECT(VALUE(box.GetInfo()).expires > before.expires && before.label == "cpp");

    auto same = VALUE(spore::Sandbox::Connect(client, id.substr(0, 8)));
    EXPECT(same.id() == id);
    auto moved = std::move(same);
  }  // the one that was connected to lives on, the one that was made ends
  EXPECT(VALUE(spore::Sandbox::List(client)).empty());
  const auto all = VALUE(spore::Sandbox::List(client, true));
  EXPECT(all.size() == 1 && all[0].id == id && all[0].state == spore::SandboxState::kDead);
  auto ended = VALUE(spore::Sandbox::Connect(client, id));
  VALUE(ended.Kill());
  REFUSAL(ended.Exec({"true"}), kFailedPrecondition);

  {
    const auto source = VALUE(spore::Sandbox::Create(client));
    spore::BranchOptions two;
    two.copies = 2;
    two.label = "copy";
    const std::vector<spore::Sandbox> copies = VALUE(source.Branch(two));
    EXPECT(copies.size() == 2 && copies[0].id() != copies[1].id());
    EXPECT(VALUE(copies[1].GetInfo()).label == "copy");
  }
  EXPECT(VALUE(spore::Sandbox::List(client)).empty());

  {
    const auto source = VALUE(spore::Sandbox::Create(client));
    VALUE(source.RunCode("x = 41"));
    spore::CheckpointOptions kept;
    kept.name = "cpp";
    EXPECT(VALUE(source.Checkpoint(kept)).sandbox == source.id());
    EXPECT(VALUE(source.GetInfo()).state == spore::SandboxState::kDead);
    spore::RestoreOptions options_of_it;
    options_of_it.label = "back";
    const auto back = VALUE(spore::Sandbox::Restore(client, "cpp", options_of_it));
    EXPECT(VALUE(back.RunCode("x + 1")).value == "42" && VALUE(back.GetInfo()).label == "back");
    const auto on_disk = VALUE(spore::Sandbox::ListCheckpoints(client));
    EXPECT(on_disk.size() == 1 && on_disk[0].name == "cpp" && on_disk[0].unusable.empty());
    VALUE(spore::Sandbox::RemoveCheckpoint(client, "cpp"));
    REFUSAL(spore::Sandbox::Restore(client, "cpp"), kNotFound);
  }
  EXPECT(VALUE(spore::Sandbox::List(client)).empty());

  auto left = VALUE(spore::Sandbox::Create(client));
  left.Release();
  left = VALUE(spore::Sandbox::Create(client));
  EXPECT(VALUE(spore::Sandbox::List(client)).size() == 2);
  for (const auto& info : VALUE(spore::Sandbox::List(client))) {
    if (info.id != left.id()) VALUE(VALUE(spore::Sandbox::Connect(client, info.id)).Kill());
  }
}

// Calls from several threads go side by side: none waits for another's sleep.
void Threads(const spore::Client& client) {
  auto box = VALUE(spore::Sandbox::Create(client));
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([copy = client, &box, i] {
      const std::string number = std::to_string(i);
      const std::string own = "/tmp/" + number;
      VALUE(box.Exec({"sh", "-c",
                      "touch " + own +
                          "; while [ $(ls /tmp | wc -l) -lt 6 ]; do "
                          "sleep 0.01; done"}));
      VALUE(copy.GetInfo());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A daemon that does not answer in time has the call taken back.
void Timeouts() {
  spore::ClientOptions options;
  options.timeout = std::chrono::milliseconds(300);
  const auto client = VALUE(spore::Client::Open(options));
  auto box = VALUE(spore::Sandbox::Create(client));
  REFUSAL(box.Exec({"sleep", "60"}), kTimedOut);
  auto process = VALUE(box.Start({"sleep", "60"}));
  EXPECT(
      !VALUE(process.Wait(std::chrono::milliseconds(1000))).has_value());  // waited for on purpose
  VALUE(process.Kill());
}

void Unreachable() {
  spore::ClientOptions options;
  options.socket = "/nowhere/spored.sock";
  EXPECT(REFUSAL(spore::Client::Open(options), kConnectionFailed).message.find("/nowhere") !=
         std::string::npos);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto client = VALUE(spore::Client::Open());
  EXPECT(VALUE(client.GetInfo()).pid > 0);
  Functions(client, argv[1]);
  Scripts(client);
  Sandboxes(client);
  Threads(client);
  Timeouts();
  Unreachable();
  std::puts("probe ok");
}
