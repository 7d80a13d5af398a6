// How a session leaves for the disk, and how another one comes from there:
// docs/decisions/0031-checkpoints-of-sessions.md.
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "daemon/common/pidfd.h"
#include "daemon/common/unix_time.h"
#include "daemon/sessions/agent_door.h"
#include "daemon/sessions/session.h"
#include "daemon/zygotes/channel_ends.h"

namespace spore {
namespace {

using session::Op;
using session::Reader;
using session::Tag;
using session::Writer;

constexpr std::chrono::seconds kUnparkPatience{20};
// CRIU's own processes, while it restores.
constexpr uint32_t kPidsToRestore = 32;

int32_t NumberOf(Reader& answer, Tag tag) {
  return static_cast<int32_t>(answer.GetNumber(tag) & 0x7fffffff);
}

}  // namespace

void Session::Park(std::function<void(Result<int32_t>)> done) {
  away_ = true;
  // No end of patience: it parks whenever it gets to it, and would be taken for dead.
  agent_->Ask(Writer(Op::kPark).Take(), std::chrono::milliseconds(0),
              [this, alive = alive_, done = std::move(done)](Result<std::string> answer) {
                if (!*alive) return;
                if (dying()) return done(tl::unexpected(EndedError()));
                away_ = answer.has_value();
                if (!answer) {
                  agent_->Release();
                  return done(tl::unexpected(std::move(answer).error()));
                }
                Reader reader(*answer);
                const int32_t door = NumberOf(reader, Tag::kDescriptor);
                // It answers before it lets go, and CRIU knows no socket of another network
                // namespace.
                agent_->Detach([this, alive, done, door] {
                  if (!*alive) return;
                  if (dying()) return done(tl::unexpected(EndedError()));
                  done(door);
                });
              });
  // It reads no further.
  agent_->Hold();
}

void Session::Unpark(const UniqueFd& door, std::function<void(Result<>)> done) {
  // One that was dumped, and has not been left running.
  if (auto thawed = sandbox_->cgroup.Freeze(false); !thawed) return done(std::move(thawed));
  OpenDoor(door, /*restored=*/false, std::move(done));
}

void Session::OpenDoor(const UniqueFd& door, bool restored, std::function<void(Result<>)> done) {
  auto ends = MakeInstanceChannel();
  if (!ends) return done(tl::unexpected(std::move(ends).error()));
  Writer order(Op::kUnpark);
  order.PutNumber(Tag::kFlags, restored ? session::kRestored : 0);
  const std::string frame = agent_->AskElsewhere(
      order.Take(), kUnparkPatience,
      [this, alive = alive_, restored, done = std::move(done)](Result<std::string> answer) {
        if (!answer) return done(tl::unexpected(std::move(answer).error()));
        if (!*alive) return;
        if (dying()) return done(tl::unexpected(EndedError()));
        away_ = false;
        Reader reader(*answer);
        if (restored) {
          interpreter_ = NumberOf(reader, Tag::kPid);
          runs_elsewhere_ = reader.GetNumber(Tag::kRun);
        }
        done({});
      });
  auto sent = SendThroughDoor(door, frame, ends->theirs.get());
  agent_->Attach(std::move(ends->ours));
  // Who asked is told by that.
  if (!sent) agent_->FailAll(sent.error());
}

int32_t Session::agent_number() const {
  return NumberInside(agent_pidfd_);
}

std::vector<std::string> Session::WorkerWords() const {
  std::vector<std::string> words{"uid=" + std::to_string(sandbox_uid_)};
  for (const std::string& path : cgroup_paths_) words.push_back("cgroup=" + path);
  if (settings_.egress || image_.manifest().loopback) words.emplace_back("loopback");
  return words;
}

// The copy of the zygote that waits in it: what comes from disk has its numbers.
Result<> Session::Empty() {
  CgroupLimits limits = sandbox_->cgroup.limits();
  limits.pids += kPidsToRestore;
  SPORE_TRY(sandbox_->cgroup.SetLimits(limits));
  const UniqueFd copy = std::move(sandbox_->runtime_pidfd);
  generation_->link->OnExit(sandbox_->runtime_pid, [this, alive = alive_](const auto&) {
    if (!*alive || dying()) return;
    emptied_ = true;
    BeginRunning();
  });
  if (syscall(SYS_pidfd_send_signal, copy.get(), SIGKILL, nullptr, 0) < 0)
    return SysError("end the copy of the zygote in a sandbox");
  sandbox_->channel.Reset();
  return {};
}

void Session::Adopt(Arrival arrival, std::function<void(Result<>)> done) {
  CgroupLimits limits = sandbox_->cgroup.limits();
  limits.pids -= kPidsToRestore;
  if (auto set = sandbox_->cgroup.SetLimits(limits); !set) return done(std::move(set));
  start_kind_ = v1::START_KIND_RESTORE;
  agent_pidfd_ = std::move(arrival.agent);
  agent_end_ = loop_.WatchReadable(agent_pidfd_.get(), [this] {
    agent_end_.reset();
    if (dying()) return;
    // Only the init of its sandbox learns how.
    if (OomKills() == 0) return Kill(v1::Death::EXIT, "its agent was ended from inside");
    BeginDying();
  });
  MakeAgent({});
  execs_->Adopt(arrival.execs, arrival.last_exec);
  OpenDoor(arrival.door, /*restored=*/true, [this, done = std::move(done)](const Result<>& opened) {
    if (!opened || state_ != v1::Session::STARTING) return done(opened);
    state_ = v1::Session::RUNNING;
    log_->Append(v1::LogLine::SYSTEM, "restored from checkpoint " + settings_.restored_from);
    idle_since_unix_ms_ = NowUnixMs();
    ArmIdle();
    done({});
  });
}

}  // namespace spore
