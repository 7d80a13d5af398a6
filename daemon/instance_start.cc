// How an instance starts: everything the runtime needs is made and sent before it exists.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "daemon/instance.h"
#include "daemon/log.h"

namespace spore {

// What goes to the runtime; all but the sandbox's own descriptors.
struct ForkDescriptors {
  UniqueFd instance_socket;
  UniqueFd standard_in;  // only of a run
  UniqueFd standard_out;
  UniqueFd standard_error;
  UniqueFd code;  // only of a function
};

namespace {

int64_t NowUnixMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// A detached read-only mount of a function's code (open_tree(2), mount_setattr(2)). Private, so
// that nothing mounted on the host later appears in it.
Result<UniqueFd> CodeMount(const std::string& path) {
  UniqueFd tree(
      open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (!tree) return SysError("open_tree", path);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attributes.propagation = MS_PRIVATE;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
    return SysError("mount_setattr", path);
  }
  return tree;
}

CgroupLimits ToCgroupLimits(const v1::Limits& limits) {
  return {limits.memory_bytes(), limits.cpu_millis(), limits.pids()};
}

}  // namespace

void Instance::Start(ZygoteImage& image, ZygoteImage::Lease lease, std::unique_ptr<Work> work) {
  generation_ = lease.generation;
  sandbox_ = std::move(lease.sandbox);
  work_ = std::move(work);
  sandbox_uid_ = sandbox_->uid;
  host_uid_base_ = image.uid_base();
  image_environment_ = image.manifest().environment;
  cgroup_paths_ = sandbox_->cgroup.Paths();
  sandbox_->on_init_ended = [this] { BeginDying(); };
  state_ = State::kBusy;
  if (auto launched = Launch(); !launched) {
    start_error_ = std::move(launched).error().Wrap("start an instance");
    return BeginDying();
  }
  image.CountFork();
  BeginWork();
}

Result<> Instance::Launch() {
  const uint64_t begin = MonotonicNs();
  SPORE_ASSIGN(const std::string frames, FirstFrames());
  SPORE_TRY(sandbox_->cgroup.SetLimits(ToCgroupLimits(limits_)));
  ForkDescriptors descriptors;
  if (version_) {
    SPORE_ASSIGN(descriptors.code, CodeMount(version_->code_path));
    SPORE_ASSIGN(OutputCapture::Pipes pipes, output_.Open());
    descriptors.standard_out = std::move(pipes.stdout_write);
    descriptors.standard_error = std::move(pipes.stderr_write);
  } else {
    descriptors.standard_in = std::move(work_->standard_fds.at(0));
    descriptors.standard_out = std::move(work_->standard_fds.at(1));
    descriptors.standard_error = std::move(work_->standard_fds.at(2));
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return SysError("make a socket pair");
  }
  UniqueFd ours(ends[0]);
  descriptors.instance_socket.Reset(ends[1]);
  const uint64_t prepared = MonotonicNs();
  // The fork goes out first: the zygote works while the frames are written.
  SendFork(descriptors);
  SPORE_TRY(OpenChannel(std::move(ours), frames));
  work_->trace.Add("prepare", begin, prepared);
  work_->trace.Add("send", prepared, MonotonicNs());
  return {};
}

Result<> Instance::OpenChannel(UniqueFd ours, const std::string& frames) {
  const ssize_t sent = send(ours.get(), frames.data(), frames.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return SysError("write to an instance");
  const size_t done = sent < 0 ? 0 : static_cast<size_t>(sent);
  channel_ = environment_.loop.OpenStream(
      std::move(ours), /*receives_fds=*/false,
      {[this](std::span<const std::byte> data, std::vector<UniqueFd>) { OnData(data); },
       [this](int) { OnChannelClosed(); }});
  if (done < frames.size()) channel_->Write(frames.substr(done));
  return {};
}

void Instance::SendFork(const ForkDescriptors& descriptors) {
  wire::Fork request;
  request.sandbox_id = sandbox_->id;
  request.mode = version_ ? wire::Mode::kFunction : wire::Mode::kScript;
  request.uid = sandbox_->uid;
  request.has_landlock = sandbox_->has_landlock ? 1 : 0;
  request.has_stdin = descriptors.standard_in ? 1 : 0;
  request.has_code = descriptors.code ? 1 : 0;
  request.open_files = limits_.open_files();
  if (limits_.tmp_bytes() != sandbox_->tmp_bytes) request.tmp_bytes = limits_.tmp_bytes();
  std::vector<int> fds;
  for (const UniqueFd& fd : sandbox_->fds) fds.push_back(fd.get());
  fds.push_back(descriptors.instance_socket.get());
  if (descriptors.standard_in) fds.push_back(descriptors.standard_in.get());
  fds.push_back(descriptors.standard_out.get());
  fds.push_back(descriptors.standard_error.get());
  if (descriptors.code) fds.push_back(descriptors.code.get());
  if (sandbox_->cgroup.v2_directory() >= 0) {
    request.has_cgroup_v2 = 1;
    fds.push_back(sandbox_->cgroup.v2_directory());
  }
  for (const UniqueFd& procs : sandbox_->cgroup.v1_procs()) {
    fds.push_back(procs.get());
    ++request.cgroup_procs;
  }
  generation_->link->Fork(request, fds, [this, alive = alive_](Result<ZygoteLink::Forked> forked) {
    if (*alive) Forked(std::move(forked));
  });
}

Result<std::string> Instance::FirstFrames() {
  if (!version_) return LoadScriptFrame(work_->run, image_environment_);
  SPORE_ASSIGN(const std::string invoke, NextInvokeFrame());
  return LoadFunctionFrame(version_->function, image_environment_) + invoke;
}

Result<std::string> Instance::NextInvokeFrame() {
  ++invocations_;
  InvokeMeta meta;
  meta.request_id = work_->request_id;
  meta.deadline_unix_ms = NowUnixMs() + static_cast<int64_t>(limits_.timeout_ms());
  meta.arn = "arn:aws:lambda:local:000000000000:function:" + function_;
  meta.client_context = std::move(work_->client_context);
  auto frame = InvokeFrame(invocations_, meta, work_->payload);
  work_->payload = {};
  return frame;
}

// The work is on its way: its clock, its deadline, its log.
void Instance::BeginWork() {
  work_sent_ns_ = MonotonicNs();
  deadline_timer_ = environment_.loop.AddTimer(std::chrono::milliseconds(limits_.timeout_ms()),
                                               [this] { OnTimeout(); });
  if (!version_) return;
  tail_.clear();
  output_.BeginInvocation(limits_.output_bytes());
  LogLine(v1::LogLine::SYSTEM, "START RequestId: " + work_->request_id +
                                   " Version: " + std::to_string(version_->function.version()));
}

void Instance::Forked(Result<ZygoteLink::Forked> forked) {
  if (!forked) {
    if (dying()) return;
    start_error_ = std::move(forked).error().Wrap("start an instance");
    return BeginDying();
  }
  if (work_ && !reused_) work_->trace.AddWire("zygote", forked->message.steps);
  runtime_pidfd_ = std::move(forked->pidfd);
  runtime_pid_ = forked->message.pid;
  // Also when it is dying already: how the runtime ended belongs to the death.
  generation_->link->OnExit(runtime_pid_, [this, alive = alive_](const ZygoteLink::Exit& exited) {
    if (*alive) OnRuntimeEnded(exited);
  });
}

void Instance::StartFailed(std::unique_ptr<Work> work, const Error& error) {
  work_ = std::move(work);
  if (facts_.killed_for == v1::Death::CAUSE_UNSPECIFIED) start_error_ = error;
  BeginDying();
}

void Instance::Invoke(std::unique_ptr<Work> work) {
  if (idle_timer_ != 0) environment_.loop.CancelTimer(idle_timer_);
  idle_timer_ = 0;
  state_ = State::kBusy;
  reused_ = true;
  work_ = std::move(work);
  const uint64_t begin = MonotonicNs();
  auto frame = NextInvokeFrame();
  if (!frame) {
    WorkResult result = NewResult();
    result.refused = std::move(frame).error();
    Answer(std::move(result));
    return AfterAnswer();
  }
  channel_->Write(std::move(*frame));
  work_->trace.Add("send", begin, MonotonicNs());
  BeginWork();
}

}  // namespace spore
