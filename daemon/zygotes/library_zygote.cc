#include "daemon/zygotes/library_zygote.h"

#include <chrono>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/process_memory.h"
#include "daemon/common/unix_time.h"

namespace spore {
namespace {

constexpr auto kStartLimit = std::chrono::seconds(30);

}  // namespace

LibraryZygote::LibraryZygote(const Parts& parts, const LibrarySet& set, const std::string& image,
                             Handlers handlers)
    : parts_(parts),
      set_(set),
      name_("image " + image + ", set " + set.name),
      handlers_(std::move(handlers)),
      started_unix_ms_(NowUnixMs()),
      zygote_(parts.loop, parts.link, name_,
              {[this](const wire::ZygoteReady& ready) { Imported(ready); },
               [this](const std::string& reason) { Gone(reason); },
               [this] {
                 ended_ = true;
                 FinishIfOver();
               }}),
      alive_(std::make_shared<bool>(true)) {}

LibraryZygote::~LibraryZygote() {
  *alive_ = false;
  if (start_timer_ != 0) parts_.loop.CancelTimer(start_timer_);
}

Result<> LibraryZygote::Start(ZygoteChannel& from, bool parent) {
  parent_ = parent;
  SPORE_TRY(zygote_.Start(from, set_.modules));
  pool_ = std::make_unique<SandboxPool>(parts_.loop, parts_.link, zygote_.channel(), parts_.cgroups,
                                        parts_.uids, parts_.pool);
  start_timer_ = parts_.loop.AddTimer(kStartLimit, [this] {
    start_timer_ = 0;
    End("it was not ready after 30 s");
  });
  return {};
}

void LibraryZygote::Imported(const wire::ZygoteReady& ready) {
  import_us_ = ready.preload_us;
  flat_bytes_ = ready.flat_bytes;
  // Before it has copies: what it has alone then, the set costs.
  auto memory = std::make_shared<UniqueFd>(OpenProcessMemory(zygote_.channel().host_pid()));
  auto bytes = std::make_shared<uint64_t>(0);
  parts_.lane.Submit([memory, bytes] { *bytes = ReadUniqueMemory(*memory); },
                     [this, bytes, alive = alive_] {
                       if (!*alive || state_ != v1::Zygote::STARTING) return;
                       unique_bytes_ = *bytes + flat_bytes_;  // which no page table says is there
                       Measured();
                     });
}

// It serves as soon as its sandboxes are there: until then its functions come from above it.
void LibraryZygote::Measured() {
  if (parent_) StartStem();
  pool_->FillThen([this] {
    if (state_ != v1::Zygote::STARTING) return;
    if (start_timer_ != 0) parts_.loop.CancelTimer(start_timer_);
    start_timer_ = 0;
    state_ = v1::Zygote::READY;
    handlers_.on_ready(*this);
  });
}

// Before the first sandbox: see LibraryZygotes::StartStem.
void LibraryZygote::StartStem() {
  stem_ =
      std::make_unique<CopiedZygote>(parts_.loop, parts_.link, name_,
                                     CopiedZygote::Handlers{[](const wire::ZygoteReady&) {},
                                                            [this](const std::string& reason) {
                                                              if (state_ != v1::Zygote::DRAINING)
                                                                End("its stem is gone: " + reason);
                                                            },
                                                            [this] {
                                                              stem_.reset();
                                                              FinishIfOver();
                                                            }});
  if (auto started = stem_->Start(zygote_.channel(), {}); !started) {
    stem_.reset();
    End(started.error().Message());
  }
}

void LibraryZygote::End(const std::string& reason) {
  // First, and once: what it has asked for is no failure then.
  pool_->Retire([this] {
    pool_empty_ = true;
    FinishIfOver();
  });
  zygote_.End(reason);
}

void LibraryZygote::Gone(const std::string& reason) {
  state_ = v1::Zygote::DRAINING;
  if (start_timer_ != 0) parts_.loop.CancelTimer(start_timer_);
  start_timer_ = 0;
  const std::shared_ptr<bool> alive = alive_;
  handlers_.on_gone(*this, reason);
  if (!*alive) return;
  if (stem_) stem_->End(reason);
  End(reason);
}

void LibraryZygote::FinishIfOver() {
  if (!ended_ || stem_ || !pool_empty_) return;
  // The caller is one of its own parts: let it return first.
  parts_.loop.Post([this, alive = alive_] {
    if (!*alive || !handlers_.on_finished) return;
    const auto finished = std::exchange(handlers_.on_finished, nullptr);
    finished(*this);
  });
}

void LibraryZygote::Describe(v1::Zygote& zygote) const {
  zygote.set_set(set_.name);
  zygote.set_parent(set_.parent);
  zygote.set_state(state_);
  if (zygote_.channel().usable()) zygote.set_pid(zygote_.channel().host_pid());
  zygote.set_started_unix_ms(started_unix_ms_);
  zygote.set_preload_us(import_us_);
  zygote.set_import_us(import_us_);
  zygote.set_unique_bytes(unique_bytes_);
  zygote.set_flat_bytes(flat_bytes_);
  zygote.set_forks(forks_);
  zygote.set_sandboxes_ready(static_cast<uint32_t>(pool_->ready()));
  zygote.set_instances(static_cast<uint32_t>(pool_->in_use()));
}

}  // namespace spore
