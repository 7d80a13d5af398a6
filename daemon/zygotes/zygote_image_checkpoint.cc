// How an image's zygote comes back from a checkpoint, and how one is made:
// docs/decisions/0011-checkpoints-with-criu.md.
#include <algorithm>
#include <array>
#include <utility>

#include "daemon/common/log.h"
#include "daemon/common/unix_time.h"
#include "daemon/zygotes/zygote_image.h"

namespace spore {
namespace {

constexpr auto kCriuLimit = std::chrono::milliseconds(10'000);
// Of a whole dump: the zygote is started for it.
constexpr auto kDumpLimit = std::chrono::seconds(120);
// Who waited for the zygote is served first.
constexpr auto kDumpDelay = std::chrono::seconds(2);

Error ToError(const wire::Failure& failure) {
  std::string text(failure.operation, strnlen(failure.operation, sizeof failure.operation));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Error{ErrorKind::kPrecondition, failure.errno_value, text, {}, {}};
}

wire::Checkpoint Order() {
  wire::Checkpoint order;
  order.limit_ms = static_cast<uint32_t>(kCriuLimit.count());
  return order;
}

Result<> SendOrder(ZygoteLink& link, const Checkpoints::Material& material) {
  wire::Checkpoint order = Order();
  order.has_images = 1;
  const std::array<int, 2> fds{material.files.mount.get(), material.criu.get()};
  return link.SendCheckpoint(order, fds);
}

}  // namespace

ZygoteImage::Origin ZygoteImage::Usual() const {
  return {.restore = options_.checkpoints != nullptr && options_.checkpoints->Has(manifest_.name),
          .checkpoint = {}};
}

ZygoteGeneration* ZygoteImage::Find(uint64_t serial) {
  const auto found = std::find_if(generations_list_.begin(), generations_list_.end(),
                                  [&](const auto& held) { return held->serial == serial; });
  return found == generations_list_.end() ? nullptr : found->get();
}

// ---- restoring ----

// Meanwhile its supervisor makes the image's root.
void ZygoteImage::OrderRestore(ZygoteGeneration* generation, const Origin& origin) {
  generation->when_restored = origin.asked;
  options_.checkpoints->PrepareRestore(
      manifest_, options_.uid_base, origin.checkpoint,
      [this, serial = generation->serial, alive = alive_](auto material) {
        if (!*alive) return;
        ZygoteGeneration* found = Find(serial);
        if (found != nullptr && found->state == v1::Zygote::STARTING) SendRestore(found, material);
      });
}

void ZygoteImage::SendRestore(ZygoteGeneration* generation,
                              const Result<Checkpoints::MaterialPtr>& material) {
  Result<> sent;
  if (material) {
    const v1::Checkpoint& checkpoint = (*material)->checkpoint;
    generation->checkpoint = checkpoint.id();
    const int64_t age_ms = std::max<int64_t>(0, NowUnixMs() - checkpoint.created_unix_ms());
    generation->layout_age_ns = static_cast<uint64_t>(age_ms) * 1'000'000;
    sent = SendOrder(*generation->link, **material);
  } else {
    NotRestored(generation, material.error());
    if (generation->state != v1::Zygote::STARTING) return;
    sent = generation->link->SendCheckpoint(Order(), {});
  }
  // A supervisor that has ended is told by its link.
  if (!sent)
    Log(LogLevel::kWarning, "image " + manifest_.name + ": " + sent.error().Message(),
        {{"SPORE_IMAGE", manifest_.name}});
}

void ZygoteImage::RestoreDone(ZygoteGeneration* generation, const wire::CheckpointDone& done) {
  if (generation->state != v1::Zygote::STARTING) return;
  if (done.failure.failed()) {
    Error error = ToError(done.failure);
    options_.checkpoints->Distrust(generation->checkpoint,
                                   "it could not be restored: " + error.Message());
    return NotRestored(generation,
                       std::move(error).Wrap("restore checkpoint " + generation->checkpoint));
  }
  generation->start_kind = v1::START_KIND_RESTORE;
  Log(LogLevel::kInfo,
      "image " + manifest_.name + ": restored from checkpoint " + generation->checkpoint +
          ", CRIU took " + std::to_string(done.criu_us / 1000) + " ms",
      {{"SPORE_IMAGE", manifest_.name}});
  TellCheckpoint(v1::HostEvent::CHECKPOINT_RESTORED, generation->checkpoint);
  if (auto asked = std::exchange(generation->when_restored, nullptr)) asked({});
}

// Of checkpoints only root is told, as in their listing.
void ZygoteImage::TellCheckpoint(v1::HostEvent::Kind kind, const std::string& message) const {
  if (options_.history == nullptr) return;
  Happening happening;
  happening.kind = kind;
  happening.owner = 0;
  happening.image = manifest_.name;
  happening.message = message;
  options_.history->Add(happening);
}

// It is started in the ordinary way, but for a replacement that was wanted from a checkpoint.
void ZygoteImage::NotRestored(ZygoteGeneration* generation, const Error& error) {
  generation->start_kind = v1::START_KIND_COLD;
  generation->start_reason = error.Message();
  generation->checkpoint.clear();
  generation->layout_age_ns = 0;
  if (error.kind != ErrorKind::kNotFound) {
    Log(LogLevel::kWarning,
        "image " + manifest_.name + ": its zygote is not restored: " + error.Message(),
        {{"SPORE_IMAGE", manifest_.name}});
  }
  if (auto asked = std::exchange(generation->when_restored, nullptr)) asked(tl::unexpected(error));
  if (generation != next_ || generation->state != v1::Zygote::STARTING) return;
  ZygoteGone(generation, error.Message());
  generation->link->Close();
}

void ZygoteImage::Restore(const std::string& id, Done done) {
  if (stopping_) return done(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  if (options_.checkpoints == nullptr)
    return done(MakeError(ErrorKind::kPrecondition, "this spored has no checkpoints"));
  if (state_ == v1::Image::STARTING || next_ != nullptr) {
    return done(MakeError(ErrorKind::kPrecondition,
                          "image " + manifest_.name + ": a zygote is starting", "try again later"));
  }
  // Told once: why it was not restored, or when it serves, or why it does not.
  const auto told = std::make_shared<bool>(false);
  const Done once = [told, done = std::move(done)](const Result<>& result) {
    if (!std::exchange(*told, true)) done(result);
  };
  Origin origin{.restore = true, .checkpoint = id, .asked = [once](const Result<>& restored) {
                  if (!restored) once(restored);
                }};
  if (state_ == v1::Image::READY) {
    awaiting_rotation_.push_back(once);
    return StartRotation(std::move(origin));
  }
  awaiting_start_.push_back(once);
  Start(std::move(origin));
}

// ---- making one ----

void ZygoteImage::CheckpointIfSlow(const ZygoteGeneration& generation) {
  if (options_.checkpoints == nullptr || generation.start_kind != v1::START_KIND_COLD) return;
  const uint64_t after_ms = options_.checkpoints->after_ms();
  const uint64_t took_ms = (generation.ready_ns - generation.started_ns) / 1'000'000;
  if (after_ms == 0 || took_ms < after_ms || stopping_) return;
  CancelTimer(dump_timer_);
  dump_timer_ = loop_.AddTimer(kDumpDelay, [this] {
    dump_timer_ = 0;
    MakeCheckpoint(true, [](const auto&) {});
  });
}

void ZygoteImage::MakeCheckpoint(bool automatic, Checkpointed done) {
  if (stopping_) return done(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  if (options_.checkpoints == nullptr)
    return done(MakeError(ErrorKind::kPrecondition, "this spored has no checkpoints"));
  if (dump_ != nullptr) {
    return done(MakeError(ErrorKind::kPrecondition,
                          "image " + manifest_.name + ": a checkpoint is being made",
                          "try again later"));
  }
  dump_ = std::make_unique<Dump>();
  dump_->automatic = automatic;
  dump_->done.push_back(std::move(done));
  options_.checkpoints->PrepareDump(manifest_, options_.uid_base,
                                    [this, alive = alive_](auto material) {
                                      if (*alive) DumpPrepared(std::move(material));
                                    });
}

void ZygoteImage::DumpPrepared(Result<Checkpoints::MaterialPtr> material) {
  if (dump_ == nullptr || dump_->ended) return DumpGone();
  if (!material) return EndDump(tl::unexpected(material.error()));
  dump_->material = std::move(*material);
  dump_->material->checkpoint.set_automatic(dump_->automatic);
  dump_->material->checkpoint.set_runtime_version(runtime_version_);
  auto link = StartLink("checkpoint-" + std::to_string(++dumps_), "dump",
                        {[](const wire::ZygoteReady&) {},
                         [this](const std::string& why) {
                           EndDump(MakeError(ErrorKind::kPrecondition,
                                             "image " + manifest_.name +
                                                 ": the zygote to be dumped is gone: " + why));
                         },
                         [this] { DumpGone(); }, [this](const auto& done) { Dumped(done); }});
  if (!link) return EndDump(tl::unexpected(link.error()));
  dump_->link = std::move(*link);
  dump_->timer = loop_.AddTimer(kDumpLimit, [this] {
    dump_->timer = 0;
    EndDump(MakeError(ErrorKind::kUnavailable,
                      "image " + manifest_.name + ": a checkpoint was not made in time"));
  });
  if (auto sent = SendOrder(*dump_->link, *dump_->material); !sent)
    EndDump(tl::unexpected(sent.error()));
}

void ZygoteImage::Dumped(const wire::CheckpointDone& done) {
  if (dump_ == nullptr || dump_->ended) return;
  if (done.failure.failed()) {
    return EndDump(
        tl::unexpected(ToError(done.failure).Wrap("dump the zygote of image " + manifest_.name)));
  }
  Log(LogLevel::kInfo,
      "image " + manifest_.name + ": a zygote is dumped, CRIU took " +
          std::to_string(done.criu_us / 1000) + " ms",
      {{"SPORE_IMAGE", manifest_.name}});
  CancelTimer(dump_->timer);
  // What is left of it ends by itself; what it leaves is ours alone from now on.
  dump_->ended = true;
  auto told = std::exchange(dump_->done, {});
  options_.checkpoints->Keep(dump_->material, [this, alive = alive_, name = manifest_.name,
                                               told](const Result<v1::Checkpoint>& kept) {
    if (*alive) {
      TellCheckpoint(kept ? v1::HostEvent::CHECKPOINT_MADE : v1::HostEvent::CHECKPOINT_FAILED,
                     kept ? kept->id() : kept.error().Message());
    }
    if (kept) {
      Log(LogLevel::kInfo, "image " + name + ": checkpoint " + kept->id() + " is kept",
          {{"SPORE_IMAGE", name}});
    } else {
      Log(LogLevel::kError,
          "image " + name + ": a checkpoint cannot be kept: " + kept.error().Message(),
          {{"SPORE_IMAGE", name}});
    }
    for (const Checkpointed& tell : told) tell(kept);
  });
}

// Told once; the supervisor, if there is one, ends then.
void ZygoteImage::EndDump(Result<v1::Checkpoint> result) {
  if (dump_ == nullptr || dump_->ended) return;
  dump_->ended = true;
  CancelTimer(dump_->timer);
  const auto told = std::exchange(dump_->done, {});
  if (!result && !stopping_) {
    Log(LogLevel::kWarning,
        "image " + manifest_.name + ": no checkpoint was made: " + result.error().Message(),
        {{"SPORE_IMAGE", manifest_.name}});
    TellCheckpoint(v1::HostEvent::CHECKPOINT_FAILED, result.error().Message());
  }
  if (dump_->link != nullptr) {
    dump_->link->Close();
  } else if (dump_->material != nullptr || !result) {
    DumpGone();
  }
  for (const Checkpointed& tell : told) tell(result);
}

void ZygoteImage::DumpGone() {
  // The caller may be its link: let it return first.
  loop_.Post([this, alive = alive_] {
    if (!*alive) return;
    dump_.reset();
    StoppedIfEmpty();
  });
}

}  // namespace spore
