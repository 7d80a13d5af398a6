#include "zygote/supervisor/checkpoint.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "sandbox/root_fs.h"
#include "sandbox/sys/fd_message.h"
#include "sandbox/sys/step_log.h"
#include "zygote/protocol.h"
#include "zygote/supervisor/criu.h"
#include "zygote/supervisor/start_zygote.h"

namespace spore {
namespace {

struct Order {
  wire::Checkpoint message;
  ReceivedFds fds;
  bool has_images() const { return message.has_images != 0; }
  std::chrono::milliseconds limit() const { return std::chrono::milliseconds(message.limit_ms); }
};

Result<Order> AwaitOrder(int socket) {
  Order order;
  SPORE_ASSIGN(ReceivedMessage received,
               ReceiveMessage(socket, std::as_writable_bytes(std::span(&order.message, 1))));
  if (received.bytes != sizeof order.message || order.message.header.magic != wire::kMagic ||
      order.message.header.type != wire::Type::kCheckpoint ||
      received.fds.count != (order.has_images() ? 2 : 0)) {
    return MakeError(ErrorKind::kInternal, "spored sent no proper order for a checkpoint");
  }
  order.fds = std::move(received.fds);
  return order;
}

Result<> Tell(int socket, pid_t pid, uint64_t criu_us, const Result<>& result) {
  wire::CheckpointDone done;
  done.pid = pid;
  done.criu_us = criu_us;
  if (!result) {
    const Error& error = result.error();
    done.failure = wire::MakeFailure(error.errno_value, error.operation.c_str());
  }
  return SendStruct(socket, done);
}

// Until it has stopped itself. One that cannot be has told spored on its own channel.
Result<> AwaitStop(pid_t zygote) {
  siginfo_t info{};
  if (TEMP_FAILURE_RETRY(waitid(P_PID, static_cast<id_t>(zygote), &info, WSTOPPED | WEXITED)) < 0)
    return SysError("wait for the zygote");
  if (info.si_code == CLD_STOPPED) return {};
  return MakeError(ErrorKind::kPrecondition, "the zygote ended before it could be dumped");
}

std::string Inherit(int at, const char* placeholder) {
  // CRIU knows a file by its path without the first slash.
  return "fd[" + std::to_string(kFirstInherited + at) + "]:" + (placeholder + 1);
}

// The lines "name:\tvalue" of a thread's status that must be as they are of any zygote.
Result<> CheckThread(const std::filesystem::path& status) {
  std::ifstream file(status);
  size_t seen = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(":\t");
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(0, colon), value = line.substr(colon + 2);
    const bool full = name == "CapPrm" || name == "CapEff" || name == "CapBnd";
    if (full || name == "CapInh" || name == "CapAmb" || name == "NoNewPrivs") {
      uint64_t number = 0;
      std::from_chars(value.data(), value.data() + value.size(), number, 16);
      const uint64_t expected = full ? kZygoteCapabilities : name == "NoNewPrivs" ? 1 : 0;
      if (number != expected)
        return MakeError(ErrorKind::kPrecondition,
                         "the restored zygote has another " + name + ": " + value);
      ++seen;
    }
    if ((name == "Uid" || name == "Gid") && value != "0\t0\t0\t0")
      return MakeError(ErrorKind::kPrecondition, "the restored zygote has another " + name);
  }
  if (seen != 6) return MakeError(ErrorKind::kPrecondition, "a thread's status cannot be read");
  return {};
}

// That it has the privileges that a zygote has, no more and no less.
Result<> CheckRestored(pid_t zygote) {
  std::error_code error;
  const std::filesystem::path tasks = "/proc/" + std::to_string(zygote) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error))
    SPORE_TRY(CheckThread(task.path() / "status"));
  if (error) return SysErrorOf(error.value(), "list", tasks.native());
  return {};
}

// Everything in this pid namespace but the caller, who is its init.
void EndAllOthers() {
  kill(-1, SIGKILL);
  while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
  }
}

Result<> RunRestore(const SupervisorOptions& options, const Order& order, uint64_t* criu_us) {
  SPORE_ASSIGN(const CriuWorkplace place,
               CriuWorkplace::Open(order.fds.fd[0].get(), order.fds.fd[1].get()));
  const uint64_t started = StepLog::Now();
  SPORE_TRY(
      place.Run({"restore", "--restore-detached", "--restore-sibling", "--inherit-fd",
                 Inherit(0, kChannelPlaceholder), "--inherit-fd", Inherit(1, kMessagesPlaceholder)},
                {options.zygote_fd, STDERR_FILENO}, order.limit()));
  *criu_us = (StepLog::Now() - started) / 1000;
  return CheckRestored(kCheckpointPid);
}

}  // namespace

Result<> DumpZygote(const SupervisorOptions& options) {
  SPORE_ASSIGN(const Order order, AwaitOrder(options.supervisor_fd));
  if (!order.has_images()) return MakeError(ErrorKind::kInternal, "no place to dump to");
  uint64_t criu_us = 0;
  SPORE_ASSIGN(const pid_t zygote, StartZygote(options, nullptr));
  const auto dump = [&]() -> Result<> {
    SPORE_TRY(AwaitStop(zygote));
    SPORE_ASSIGN(const CriuWorkplace place,
                 CriuWorkplace::Open(order.fds.fd[0].get(), order.fds.fd[1].get()));
    const uint64_t started = StepLog::Now();
    // CRIU ends what it has dumped.
    SPORE_TRY(place.Run({"dump", "--tree", std::to_string(zygote), "--network-lock", "skip"}, {},
                        order.limit()));
    criu_us = (StepLog::Now() - started) / 1000;
    return {};
  };
  const Result<> dumped = dump();
  EndAllOthers();
  return Tell(options.supervisor_fd, zygote, criu_us, dumped);
}

Result<pid_t> RestoreZygote(const SupervisorOptions& options, const SeccompProgram& base) {
  SPORE_ASSIGN(const Order order, AwaitOrder(options.supervisor_fd));
  uint64_t criu_us = 0;
  if (!order.has_images()) return StartZygote(options, &base);
  const Result<> restored = RunRestore(options, order, &criu_us);
  pid_t zygote = kCheckpointPid;
  if (!restored) {
    EndAllOthers();
    SPORE_ASSIGN(zygote, StartZygote(options, &base));
  }
  SPORE_TRY(Tell(options.supervisor_fd, zygote, criu_us, restored));
  if (restored && kill(zygote, SIGCONT) < 0) return SysError("continue the restored zygote");
  return zygote;
}

}  // namespace spore
