// The zygote side alone, driven as spored drives it: supervisor, zygote, sandbox, one function.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "sandbox/sys/fd_message.h"
#include "zygote/protocol.h"

namespace spore {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr uid_t kUidBase = 0x7f000000;  // outside spored's default range

struct Frame {
  wire::FrameType type;
  uint64_t id;
  std::string body;
};

std::pair<UniqueFd, UniqueFd> SocketPair(int type) {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

template <typename T>
std::optional<T> ReceiveStruct(int socket, ReceivedFds* fds = nullptr) {
  pollfd waiting{socket, POLLIN, 0};
  if (poll(&waiting, 1, 60'000) != 1) return std::nullopt;
  T message;
  Result<ReceivedMessage> got =
      ReceiveMessage(socket, std::as_writable_bytes(std::span(&message, 1)));
  if (!got || got->bytes != sizeof message) return std::nullopt;
  if (fds != nullptr) *fds = std::move(got->fds);
  return message;
}

class Image {
 public:
  explicit Image(const std::string& preload) {
    auto [supervisor, far_supervisor] = SocketPair(SOCK_SEQPACKET);
    auto [zygote, far_zygote] = SocketPair(SOCK_SEQPACKET);
    supervisor_ = std::move(supervisor);
    zygote_ = std::move(zygote);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, far_supervisor.get(), 30);
    posix_spawn_file_actions_adddup2(&actions, far_zygote.get(), 31);
    const char* build = getenv("SPORE_BUILD");
    const std::string root = build ? build : ".";
    const std::string program = root + "/zygote/spore-zygote";
    const std::string hosts = fs::absolute(root + "/zygote/hosts");
    std::vector<std::string> arguments = {program,
                                          "--image",
                                          "test",
                                          "--runtime",
                                          "python",
                                          "--interpreter",
                                          "/usr/bin/python3",
                                          "--uid-base",
                                          std::to_string(kUidBase),
                                          "--uid-count",
                                          "65536",
                                          "--supervisor-fd",
                                          "30",
                                          "--zygote-fd",
                                          "31",
                                          "--host-dir",
                                          hosts,
                                          "--preload",
                                          preload};
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&launcher_, program.c_str(), &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    EXPECT_EQ(send(supervisor_.get(), "g", 1, 0), 1);
  }
  ~Image() {
    supervisor_.Reset();
    zygote_.Reset();
    // The launcher, and the supervisor that it left to us.
    while (waitpid(-1, nullptr, __WALL) > 0) {
    }
  }

  int supervisor() const { return supervisor_.get(); }
  int zygote() const { return zygote_.get(); }

  ReceivedFds MakeSandbox(uint32_t uid) {
    wire::MakeSandbox request;
    request.sandbox_id = uid;
    request.uid = uid;
    request.tmp_bytes = 1 << 20;
    request.tmp_inodes = 100;
    strncpy(request.hostname, "testbox", sizeof request.hostname - 1);
    EXPECT_TRUE(SendStruct(supervisor(), request));
    ReceivedFds fds;
    auto made = ReceiveStruct<wire::SandboxMade>(supervisor(), &fds);
    EXPECT_TRUE(made.has_value());
    if (made) {
      EXPECT_FALSE(made->failure.failed()) << made->failure.operation;
      has_landlock_ = made->has_landlock;
    }
    return fds;
  }

  wire::Forked Fork(const ReceivedFds& sandbox, uint32_t uid, int instance) {
    wire::Fork request;
    request.sandbox_id = uid;
    request.uid = uid;
    request.has_landlock = has_landlock_;
    std::vector<int> fds;
    for (uint32_t i = 1; i < sandbox.count; ++i) fds.push_back(sandbox.fd[i].get());
    fds.push_back(instance);
    EXPECT_TRUE(SendStruct(zygote(), request, fds));
    ReceivedFds pidfd;
    auto forked = ReceiveStruct<wire::Forked>(zygote(), &pidfd);
    EXPECT_TRUE(forked.has_value());
    return forked.value_or(wire::Forked{});
  }

 private:
  UniqueFd supervisor_, zygote_;
  pid_t launcher_ = -1;
  uint32_t has_landlock_ = 0;
};

void SendFrame(int fd, wire::FrameType type, uint64_t id, const std::string& body) {
  const wire::FrameHeader header{type, static_cast<uint32_t>(body.size()), id};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes += body;
  ASSERT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

std::optional<Frame> ReadFrame(int fd) {
  wire::FrameHeader header{};
  if (recv(fd, &header, sizeof header, MSG_WAITALL) != sizeof header) return std::nullopt;
  Frame frame{header.type, header.id, std::string(header.length, '\0')};
  if (header.length > 0 && recv(fd, frame.body.data(), header.length, MSG_WAITALL) !=
                               static_cast<ssize_t>(header.length))
    return std::nullopt;
  return frame;
}

// Makes the waiting child a function's instance, its output going to /dev/null.
void Specialise(int instance, const UniqueFd& code) {
  struct {
    wire::FrameHeader header{wire::FrameType::kSpecialise, sizeof(wire::Specialise), 0};
    wire::Specialise order;
  } frame;
  frame.order.has_code = 1;
  const UniqueFd out(open("/dev/null", O_WRONLY | O_CLOEXEC));
  const int fds[] = {out.get(), out.get(), code.get()};
  ASSERT_TRUE(SendStruct(instance, frame, fds));
}

UniqueFd CodeMount(const fs::path& directory) {
  UniqueFd tree(open_tree(AT_FDCWD, directory.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  EXPECT_TRUE(tree.valid());
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  EXPECT_EQ(mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes), 0);
  return tree;
}

const char kLoad[] =
    R"({"mode":"function","handler":"app.handler","function_name":"f","function_version":"1",
        "memory_limit_in_mb":"128","environment":{}})";

std::string InvokeBody(const std::string& payload) {
  const std::string meta = R"({"request_id":"r","deadline_ms":99999999999999,"arn":""})";
  const auto length = static_cast<uint32_t>(meta.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + meta + payload;
}

class ZygoteTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(geteuid(), 0u) << "this suite needs root";
    char pattern[] = "/tmp/spore-zygote-test-XXXXXX";
    directory_ = mkdtemp(pattern);
    ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
  }
  void TearDown() override { fs::remove_all(directory_); }
  void WriteApp(const std::string& text) { std::ofstream(directory_ / "app.py") << text; }

  fs::path directory_;
};

TEST_F(ZygoteTest, AFunctionAnswersFromAConfinedCopy) {
  WriteApp(R"(
import os, socket
def handler(event, context):
    status = dict(l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
    return {"event": event, "pid": os.getpid(), "uid": os.getuid(), "host": socket.gethostname(),
            "caps": [status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
            "nnp": status["NoNewPrivs"], "seccomp": status["Seccomp"], "root": sorted(os.listdir("/")),
            "fds": sorted(int(f) for f in os.listdir("/proc/self/fd"))[:4],
            "code_writable": os.access("/var/task", os.W_OK), "procs": [p for p in os.listdir("/proc") if p.isdigit()]}
)");
  Image image("json,socket");
  auto ready = ReceiveStruct<wire::ZygoteReady>(image.zygote());
  ASSERT_TRUE(ready.has_value());
  ASSERT_FALSE(ready->failure.failed()) << ready->failure.operation;

  const ReceivedFds sandbox = image.MakeSandbox(1234);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  const wire::Forked forked = image.Fork(sandbox, 1234, theirs.get());
  ASSERT_FALSE(forked.failure.failed()) << forked.failure.operation;
  theirs.Reset();
  Specialise(ours.get(), CodeMount(directory_));
  SendFrame(ours.get(), wire::FrameType::kLoad, 0, kLoad);
  SendFrame(ours.get(), wire::FrameType::kInvoke, 7, InvokeBody(R"({"a":1})"));

  auto confined = ReadFrame(ours.get());
  ASSERT_TRUE(confined && confined->type == wire::FrameType::kConfined);
  wire::Confined report;
  ASSERT_EQ(confined->body.size(), sizeof report);
  memcpy(&report, confined->body.data(), sizeof report);
  ASSERT_FALSE(report.failure.failed()) << report.failure.operation << report.failure.errno_value;
  EXPECT_STREQ(report.steps.step[0].name, "specialise");
  auto loaded = ReadFrame(ours.get());
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->type, wire::FrameType::kLoaded) << loaded->body;
  auto response = ReadFrame(ours.get());
  ASSERT_TRUE(response);
  ASSERT_EQ(response->type, wire::FrameType::kResponse) << response->body;
  EXPECT_EQ(response->id, 7u);
  const json result = json::parse(response->body);
  EXPECT_EQ(result["event"], json({{"a", 1}}));
  EXPECT_EQ(result["pid"], 2);
  EXPECT_EQ(result["uid"], 1234);
  EXPECT_EQ(result["host"], "testbox");
  for (const auto& set : result["caps"]) EXPECT_EQ(set, "0000000000000000");
  EXPECT_EQ(result["nnp"], "1");
  EXPECT_EQ(result["seccomp"], "2");
  EXPECT_EQ(result["code_writable"], false);
  EXPECT_EQ(result["procs"], json::array({"2"}));  // its init is hidden
  if (getenv("SPORE_SHOW")) {
    for (const StepLog* steps : std::initializer_list<const StepLog*>{&forked.steps, &report.steps})
      for (uint32_t i = 0; i < steps->count; ++i)
        printf("%-20s %6.1f us\n", steps->step[i].name,
               static_cast<double>(steps->step[i].end_ns - steps->step[i].start_ns) / 1e3);
    printf("%s\n%s\n", loaded->body.c_str(), response->body.c_str());
  }
}

TEST_F(ZygoteTest, EveryDeathIsReported) {
  WriteApp("import os\ndef handler(event, context):\n    os._exit(3)\n");
  Image image("json");
  ASSERT_TRUE(ReceiveStruct<wire::ZygoteReady>(image.zygote()).has_value());
  const ReceivedFds sandbox = image.MakeSandbox(1001);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  const wire::Forked forked = image.Fork(sandbox, 1001, theirs.get());
  Specialise(ours.get(), CodeMount(directory_));
  SendFrame(ours.get(), wire::FrameType::kLoad, 0, kLoad);
  SendFrame(ours.get(), wire::FrameType::kInvoke, 1, InvokeBody("null"));
  auto death = ReceiveStruct<wire::ProcessExited>(image.supervisor());
  ASSERT_TRUE(death.has_value());
  EXPECT_EQ(death->pid, forked.pid);
  EXPECT_EQ(death->code, CLD_EXITED);
  EXPECT_EQ(death->status, 3);
  // Killing the init ends the sandbox.
  ASSERT_EQ(syscall(SYS_pidfd_send_signal, sandbox.fd[wire::kInitPidfd].get(), SIGKILL, nullptr, 0),
            0);
  death = ReceiveStruct<wire::ProcessExited>(image.supervisor());
  ASSERT_TRUE(death.has_value());
  EXPECT_EQ(death->code, CLD_KILLED);
}

TEST_F(ZygoteTest, ManySiblingsInARow) {
  WriteApp("import os\ndef handler(event, context):\n    return [os.getuid(), event]\n");
  const char* preload = getenv("SPORE_PRELOAD");
  Image image(preload ? preload : "json,random,ssl,uuid,tempfile");
  ASSERT_TRUE(ReceiveStruct<wire::ZygoteReady>(image.zygote()).has_value());
  std::map<std::string, std::vector<double>> times;
  for (uint32_t i = 0; i < 200; ++i) {
    const uint32_t uid = 2000 + i;
    const ReceivedFds sandbox = image.MakeSandbox(uid);
    auto [ours, theirs] = SocketPair(SOCK_STREAM);
    const wire::Forked forked = image.Fork(sandbox, uid, theirs.get());
    ASSERT_FALSE(forked.failure.failed()) << forked.failure.operation;
    theirs.Reset();
    const uint64_t started = StepLog::Now();
    Specialise(ours.get(), CodeMount(directory_));
    SendFrame(ours.get(), wire::FrameType::kLoad, 0, kLoad);
    SendFrame(ours.get(), wire::FrameType::kInvoke, i, InvokeBody(std::to_string(i)));
    auto confined = ReadFrame(ours.get());
    ASSERT_TRUE(confined);
    wire::Confined report;
    memcpy(&report, confined->body.data(), sizeof report);
    auto loaded = ReadFrame(ours.get());
    ASSERT_TRUE(loaded && loaded->type == wire::FrameType::kLoaded);
    auto response = ReadFrame(ours.get());
    ASSERT_TRUE(response && response->type == wire::FrameType::kResponse);
    const auto note = [&](const char* name, uint64_t from, uint64_t to) {
      times[name].push_back(static_cast<double>(to - from) / 1e3);
    };
    note("~ total", started, StepLog::Now());
    const json load = json::parse(loaded->body);
    times["~ load"].push_back(load["ended_us"].get<double>() - load["began_us"].get<double>());
    for (const StepLog* log : std::initializer_list<const StepLog*>{&forked.steps, &report.steps})
      for (uint32_t k = 0; k < log->count; ++k)
        note(log->step[k].name, log->step[k].start_ns, log->step[k].end_ns);
    EXPECT_EQ(response->body, "[" + std::to_string(uid) + ", " + std::to_string(i) + "]");
    ASSERT_EQ(
        syscall(SYS_pidfd_send_signal, sandbox.fd[wire::kInitPidfd].get(), SIGKILL, nullptr, 0), 0);
    for (int deaths = 0; deaths < 2; ++deaths)
      ASSERT_TRUE(ReceiveStruct<wire::ProcessExited>(image.supervisor()).has_value());
  }
  for (auto& [name, values] : times) {
    std::sort(values.begin(), values.end());
    if (getenv("SPORE_SHOW"))
      printf("%-20s p50 %7.1f us  p99 %7.1f us\n", name.c_str(), values[values.size() / 2],
             values[values.size() * 99 / 100]);
  }
}

TEST_F(ZygoteTest, AChildThatIsNotNeededEnds) {
  Image image("json");
  ASSERT_TRUE(ReceiveStruct<wire::ZygoteReady>(image.zygote()).has_value());
  const ReceivedFds sandbox = image.MakeSandbox(1001);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  const wire::Forked forked = image.Fork(sandbox, 1001, theirs.get());
  theirs.Reset();
  ours.Reset();
  auto death = ReceiveStruct<wire::ProcessExited>(image.supervisor());
  ASSERT_TRUE(death.has_value());
  EXPECT_EQ(death->pid, forked.pid);
  EXPECT_EQ(death->status, 0);
}

TEST_F(ZygoteTest, AWrongOrderIsRefusedBeforeAnythingRuns) {
  Image image("json");
  ASSERT_TRUE(ReceiveStruct<wire::ZygoteReady>(image.zygote()).has_value());
  const ReceivedFds sandbox = image.MakeSandbox(1001);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  ASSERT_FALSE(image.Fork(sandbox, 1001, theirs.get()).failure.failed());
  theirs.Reset();
  SendFrame(ours.get(), wire::FrameType::kLoad, 0, kLoad);
  auto confined = ReadFrame(ours.get());
  ASSERT_TRUE(confined && confined->type == wire::FrameType::kConfined);
  wire::Confined report;
  memcpy(&report, confined->body.data(), sizeof report);
  EXPECT_TRUE(report.failure.failed());
  EXPECT_FALSE(ReadFrame(ours.get()));
}

TEST_F(ZygoteTest, AnImageThatCannotPreloadSaysWhy) {
  Image image("json,no_such_module");
  auto ready = ReceiveStruct<wire::ZygoteReady>(image.zygote());
  ASSERT_TRUE(ready.has_value());
  EXPECT_TRUE(ready->failure.failed());
  EXPECT_NE(std::string(ready->failure.operation).find("no_such_module"), std::string::npos);
}

}  // namespace
}  // namespace spore
