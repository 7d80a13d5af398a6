// How a zygote is replaced while it serves:
// docs/decisions/0009-zygotes-replaced-while-they-serve.md.
#include <utility>

#include "daemon/common/log.h"
#include "daemon/zygotes/zygote_image.h"

namespace spore {

void ZygoteImage::Rotate(Done done) {
  if (stopping_) return done(MakeError(ErrorKind::kUnavailable, "spored is stopping"));
  if (state_ == v1::Image::STARTING) return awaiting_start_.push_back(std::move(done));
  if (state_ == v1::Image::FAILED) return done(tl::unexpected(FailedError()));
  if (state_ != v1::Image::READY) {
    return done(MakeError(ErrorKind::kPrecondition,
                          "image " + manifest_.name + " has no zygote to replace",
                          "`spore zygote warm` starts one"));
  }
  awaiting_rotation_.push_back(std::move(done));
  if (next_ == nullptr) StartRotation({});
}

// A fresh layout is the purpose of a rotation, so it does not restore unless it is asked to.
void ZygoteImage::StartRotation(Origin origin) {
  CancelTimer(rotation_timer_);
  auto generation = NewGeneration(std::move(origin));
  if (!generation) return RotationFailed(generation.error().Message());
  next_ = *generation;
  Log(LogLevel::kInfo,
      "image " + manifest_.name + ": a fresh zygote starts beside process " +
          std::to_string(current_->link->zygote_host_pid()),
      {{"SPORE_IMAGE", manifest_.name}});
}

// The next generation serves in the place of the current one, or as soon as it is ready.
void ZygoteImage::TakeOver() {
  current_ = std::exchange(next_, nullptr);
  for (Done& done : std::exchange(awaiting_rotation_, {}))
    awaiting_start_.push_back(std::move(done));
  if (current_->ready_ns != 0) Serve();
}

void ZygoteImage::RotationFailed(const std::string& reason) {
  schedule_.Failed(MonotonicNs());
  rotation_error_ = reason;
  const std::string what =
      "image " + manifest_.name + ": its zygote could not be replaced: " + reason;
  Log(LogLevel::kError, what + "; the old one goes on", {{"SPORE_IMAGE", manifest_.name}});
  Tell(v1::HostEvent::ZYGOTE_KEPT, "", "it could not be replaced: " + reason);
  ArmRotation();
  Settle(awaiting_rotation_, MakeError(ErrorKind::kPrecondition, what, "the old one goes on"));
}

// Has the next rotation begin when it is due.
void ZygoteImage::ArmRotation() {
  CancelTimer(rotation_timer_);
  if (current_ == nullptr || next_ != nullptr) return;
  const auto due_ns = schedule_.DueNs(current_->forks);
  if (!due_ns) return;
  const uint64_t now = MonotonicNs();
  const std::chrono::nanoseconds delay(*due_ns > now ? *due_ns - now : 0);
  rotation_timer_ = loop_.AddTimer(delay, [this] {
    rotation_timer_ = 0;
    StartRotation({});
  });
}

void ZygoteImage::CountFork(ZygoteGeneration& generation) {
  ++forks_;
  used_ns_ = MonotonicNs();
  ++generation.forks;
  if (&generation == current_ && generation.forks == schedule_.last_fork()) ArmRotation();
}

}  // namespace spore
