// How an instance starts: the waiting runtime is told what it becomes and given its first work.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "daemon/common/log.h"
#include "daemon/common/runtimes.h"
#include "daemon/common/unix_time.h"
#include "daemon/functions/function_facts.h"
#include "daemon/instances/instance.h"
#include "daemon/instances/program.h"
#include "daemon/instances/standard_stream.h"
#include "daemon/rpc/payload.h"
#include "sandbox/sys/fd_message.h"

namespace spore {

// What goes to the runtime with its specialisation.
struct TenantDescriptors {
  ClientFd standard_in;  // only of a run
  ClientFd standard_out;
  ClientFd standard_error;
  UniqueFd code;  // of a function; of a program that came with its run, where it shall lie
  UniqueFd program, program_place;
};

namespace {

// What a fresh socket takes at once, whatever its buffer size (unix(7), wmem_default).
constexpr size_t kFirstWrite = 64 * 1024;

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

CgroupLimits ToCgroupLimits(const v1::Limits& limits, const ImageManifest& image) {
  return {limits.memory_bytes(), limits.cpu_millis(), limits.pids(), image.loopback};
}

}  // namespace

void Instance::Start(ZygoteImage& image, ZygoteImage::Lease lease, std::unique_ptr<Work> work) {
  work_ = std::move(work);
  Enter(image, std::move(lease));
  if (!dying()) BeginWork();
}

void Instance::Prepare(ZygoteImage& image, ZygoteImage::Lease lease) {
  preparing_ = true;
  Enter(image, std::move(lease));
  if (dying()) return;
  StartDeadline();
  output_.BeginInvocation(limits_.output_bytes());
}

void Instance::Enter(ZygoteImage& image, ZygoteImage::Lease lease) {
  generation_ = lease.generation;
  // Nobody has waited for one that is prepared.
  if (!preparing_) zygote_start_ = lease.start_kind;
  pool_ = lease.pool;
  sandbox_ = std::move(lease.sandbox);
  sandbox_uid_ = sandbox_->uid;
  host_uid_base_ = image.uid_base();
  manifest_ = &image.manifest();
  image_environment_ = manifest_->environment;
  cgroup_paths_ = sandbox_->cgroup.Paths();
  sandbox_->on_init_ended = [this] { OnInitEnded(); };
  state_ = preparing_ ? State::kStarting : State::kBusy;
  if (auto launched = Launch(); !launched) {
    start_error_ = std::move(launched).error().Wrap("start an instance");
    return BeginDying();
  }
  image.CountFork(*generation_);
}

Result<> Instance::Launch() {
  const uint64_t begin = MonotonicNs();
  SPORE_ASSIGN(const std::string frames, FirstFrames());
  SPORE_TRY(sandbox_->cgroup.SetLimits(ToCgroupLimits(limits_, *manifest_)));
  TenantDescriptors descriptors;
  if (version_) {
    SPORE_ASSIGN(descriptors.code, CodeMount(version_->code_path));
    SPORE_ASSIGN(OutputCapture::Pipes pipes, output_.Open());
    descriptors.standard_out = ClientFd(std::move(pipes.stdout_write));
    descriptors.standard_error = ClientFd(std::move(pipes.stderr_write));
  } else {
    descriptors.standard_in = std::move(work_->standard_fds.at(0));
    descriptors.standard_out = std::move(work_->standard_fds.at(1));
    descriptors.standard_error = std::move(work_->standard_fds.at(2));
    SPORE_TRY(LetReopenOutput(descriptors.standard_out.get()));
    SPORE_TRY(LetReopenOutput(descriptors.standard_error.get()));
    SPORE_TRY(TakeProgramOf(*work_, descriptors));
  }
  const uint64_t prepared = MonotonicNs();
  SPORE_TRY(Specialise(descriptors, frames));
  if (work_) {
    work_->trace.Add(StepName::kPrepare, begin, prepared);
    work_->trace.Add(StepName::kSend, prepared, MonotonicNs());
  }
  return {};
}

Result<> Instance::TakeProgramOf(Work& work, TenantDescriptors& descriptors) {
  if (!work.program) return {};
  SPORE_ASSIGN(const uint64_t bytes, SealedBytes(work.program.get(), "program"));
  // Written by the sandbox, which has its identity already; then the mount becomes read-only.
  const uid_t owner = host_uid_base_ + sandbox_uid_;
  SPORE_ASSIGN(ProgramMount mount, MakeProgramMount(ProgramName(work.run), bytes, owner));
  descriptors.code = std::move(mount.tree);
  descriptors.program = std::move(work.program);
  descriptors.program_place = std::move(mount.place);
  return {};
}

// One message tells the waiting runtime what it becomes, and carries its first work behind that.
Result<> Instance::Specialise(const TenantDescriptors& descriptors, const std::string& frames) {
  wire::Specialise order;
  order.mode = version_        ? wire::Mode::kFunction
               : runs_program_ ? wire::Mode::kProgram
                               : wire::Mode::kScript;
  order.has_stdin = descriptors.standard_in.valid() ? 1 : 0;
  order.has_code = descriptors.code ? 1 : 0;
  order.has_program = descriptors.program ? 1 : 0;
  order.open_files = limits_.open_files();
  if (limits_.tmp_bytes() != sandbox_->tmp_bytes) order.tmp_bytes = limits_.tmp_bytes();
  std::vector<int> fds;
  for (const int fd : {descriptors.standard_in.get(), descriptors.standard_out.get(),
                       descriptors.standard_error.get(), descriptors.code.get(),
                       descriptors.program.get(), descriptors.program_place.get()}) {
    if (fd >= 0) fds.push_back(fd);
  }
  const wire::FrameHeader header{wire::FrameType::kSpecialise, sizeof order, 0};
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(&order), sizeof order);
  bytes += frames;

  runtime_pid_ = sandbox_->runtime_pid;
  runtime_pidfd_ = std::move(sandbox_->runtime_pidfd);
  generation_->link->OnExit(runtime_pid_, [this, alive = alive_](const ZygoteLink::Exit& exited) {
    if (*alive) OnRuntimeEnded(exited);
  });
  UniqueFd ours = std::move(sandbox_->channel);
  // The order itself is small enough for the empty socket, so at worst frames remain.
  const size_t first = std::min(bytes.size(), kFirstWrite);
  SPORE_TRY(SendMessage(ours.get(), std::as_bytes(std::span(bytes.data(), first)), fds));
  channel_ = environment_.loop.OpenStream(
      std::move(ours), /*receives_fds=*/false,
      {[this](std::span<const std::byte> data, std::vector<UniqueFd>) { OnData(data); },
       [this](int errno_value) { OnChannelClosed(errno_value); }});
  if (first < bytes.size()) channel_->Write(bytes.substr(first));
  return {};
}

Result<std::string> Instance::FirstFrames() {
  if (!version_) {
    const std::string program = work_->program ? "/var/task/" + ProgramName(work_->run) : "";
    return runs_program_ ? LoadProgramFrame(work_->run, program, image_environment_)
                         : LoadScriptFrame(work_->run, program, image_environment_);
  }
  std::string invoke;
  if (work_) {
    SPORE_ASSIGN(invoke, NextInvokeFrame());
  }
  const v1::Function& function = version_->function;
  const auto load = [&](const LoadWishes& wishes) {
    return LoadFunctionFrame(function, image_environment_, {.id = id_, .ahead = preparing_},
                             wishes);
  };
  // What is asked beside is asked once, not with what is compiled.
  if (measure_ || !watch_.empty()) return load({.watch = watch_, .measure = measure_}) + invoke;
  if (FindRuntime(function.settings().runtime())->keeps_compiled) {
    if (const auto code = environment_.code_cache.Find(generation_->serial, version_))
      return *code + load({}) + invoke;
    awaits_compiled_ = true;
  }
  return load({.compile = awaits_compiled_}) + invoke;
}

Result<std::string> Instance::NextInvokeFrame() {
  ++invocations_;
  InvokeMeta meta;
  meta.request_id = work_->request_id;
  meta.deadline_unix_ms = NowUnixMs() + static_cast<int64_t>(limits_.timeout_ms());
  meta.arn = "arn:aws:lambda:local:000000000000:function:" + function_;
  if (!work_->qualifier.empty()) meta.arn += ":" + work_->qualifier;
  meta.client_context = work_->client_context;
  auto frame = InvokeFrame(invocations_, meta, work_->payload);
  // A reused instance may give the work back.
  if (!reused_) work_->payload = {};
  return frame;
}

void Instance::StartDeadline() {
  work_sent_ns_ = MonotonicNs();
  deadline_timer_ = environment_.loop.AddTimer(std::chrono::milliseconds(limits_.timeout_ms()),
                                               [this] { OnTimeout(); });
}

// The work is on its way: its clock, its deadline, its log.
void Instance::BeginWork() {
  StartDeadline();
  if (!version_) return;
  tail_.clear();
  output_.BeginInvocation(limits_.output_bytes());
  LogLine(v1::LogLine::SYSTEM, "START RequestId: " + work_->request_id +
                                   " Version: " + VersionLabel(version_->function));
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
  heard_ = false;
  work_ = std::move(work);
  if (HasEnded()) return GiveBack();
  const uint64_t begin = MonotonicNs();
  auto frame = NextInvokeFrame();
  if (!frame) {
    WorkResult result = NewResult();
    result.refused = std::move(frame).error();
    Answer(std::move(result));
    return AfterAnswer();
  }
  channel_->Write(std::move(*frame));
  work_->trace.Add(StepName::kSend, begin, MonotonicNs());
  BeginWork();
}

}  // namespace spore
