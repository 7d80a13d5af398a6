#include "zygote/hosts/node/v8_random.h"

#include <sys/random.h>

#include <bit>
#include <bitset>
#include <cstdlib>
#include <string>

#include "zygote/hosts/node/writable_memory.h"

namespace spore {
namespace {

constexpr size_t kBatch = 64;     // values that V8 makes at once
constexpr size_t kChecked = 8;    // values compared before a place is believed
constexpr int kMostDraws = 8192;  // from the isolate's generator since Node started
constexpr int kKeptBits = 52;     // of a state's 64 that a double in [0, 1) shows

uint64_t Shown(double value) {
  return static_cast<uint64_t>(value * 0x1p52);
}
uint64_t Shown(uint64_t s0) {
  return s0 >> (64 - kKeptBits);
}

// What V8 turns a seed into (base::RandomNumberGenerator::MurmurHash3).
uint64_t Mixed(uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ull;
  h ^= h >> 33;
  return h;
}

// As pointers, small numbers and text do not. One in millions that are random does not either.
bool LookRandom(const uint64_t* words, size_t count) {
  constexpr uint64_t kHighBits = 0x8080808080808080ull;
  uint64_t together = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t top = words[i] >> 48;
    const int ones = std::popcount(words[i]);
    if (top == 0 || top == 0xffff || ones < 12 || ones > 52) return false;
    together |= words[i];
  }
  return (together & kHighBits) != 0;
}

}  // namespace

V8Random::State V8Random::Next(State state) {
  uint64_t x = state.s0;
  const uint64_t y = state.s1;
  x ^= x << 23;
  x ^= x >> 17;
  return {y, x ^ y ^ (y >> 26)};
}

V8Random::State V8Random::Previous(State state) {
  uint64_t x = state.s1 ^ state.s0 ^ (state.s0 >> 26);
  x ^= (x >> 17) ^ (x >> 34) ^ (x >> 51);
  x ^= (x << 23) ^ (x << 46);
  return {x, state.s0};
}

// Whether `state` was that of Math.random when it had made outputs[at] and all after it: then the
// states before it gave the outputs of the batch before.
bool V8Random::Gave(State state, std::span<const double> outputs, size_t at) {
  if (Shown(state.s0) != Shown(outputs[at])) return false;
  for (size_t back = 0; back < kBatch; ++back) state = Previous(state);
  for (size_t i = 0; i < kChecked; ++i, state = Previous(state)) {
    if (Shown(state.s0) != Shown(outputs[at - kBatch + i])) return false;
  }
  return true;
}

// The state is that after the last value of a batch was made, which is handed out first. So one of
// the newest 64 outputs shows most of its first word.
Result<uint32_t> V8Random::FindContext(std::span<const double> outputs) {
  if (outputs.size() < 2 * kBatch + kChecked)
    return MakeError(ErrorKind::kInternal, "too few values of Math.random");
  const size_t first = outputs.size() - kBatch;
  std::bitset<65536> wanted;
  for (size_t at = first; at < outputs.size(); ++at) wanted.set(Shown(outputs[at]) & 0xffff);
  // All on the stack, which is not looked through.
  State* place = nullptr;
  size_t found = 0, places = 0;
  const auto look = [&](std::span<const uint64_t> words, uint64_t* address) {
    for (size_t i = 0; i + 1 < words.size(); ++i) {
      if (!wanted[Shown(words[i]) & 0xffff]) continue;
      for (size_t at = first; at < outputs.size(); ++at) {
        if (!Gave({words[i], words[i + 1]}, outputs, at)) continue;
        if (auto* const here = reinterpret_cast<State*>(address + i); here != place) ++places;
        place = reinterpret_cast<State*>(address + i);
        found = at;
      }
    }
  };
  SPORE_TRY(VisitWritableMemory(false, look));
  if (places != 1) {
    return MakeError(ErrorKind::kPrecondition,
                     "V8's state of Math.random is in " + std::to_string(places) + " places",
                     "this version of Node is not known yet");
  }
  context_ = place;
  found_ = *place;
  return static_cast<uint32_t>(kBatch - (outputs.size() - found));
}

// {seed, state}: the seed it was made with beside what has become of it. V8 may keep more than one.
Result<> V8Random::FindGenerators() {
  generators_.clear();
  inverted_.clear();
  const auto look = [&](std::span<const uint64_t> words, uint64_t* address) {
    for (size_t i = 0; i + 2 < words.size(); ++i) {
      if (!LookRandom(&words[i], 3)) continue;
      const State there{words[i + 1], words[i + 2]};
      State state{Mixed(words[i]), Mixed(~Mixed(words[i]))};  // RandomNumberGenerator::SetSeed
      for (int draws = 0; draws < kMostDraws; ++draws, state = Next(state)) {
        if (state != there) continue;
        generators_.push_back(reinterpret_cast<Generator*>(address + i));
        inverted_.push_back({~words[i], {~there.s0, ~there.s1}});
        break;
      }
    }
  };
  return VisitWritableMemory(true, look);
}

bool V8Random::HaveDrawn() const {
  for (size_t i = 0; i < generators_.size(); ++i) {
    if (generators_[i]->state.s0 != ~inverted_[i].state.s0) return true;
  }
  return false;
}

bool V8Random::StillThere() const {
  for (size_t i = 0; i < generators_.size(); ++i) {
    if (generators_[i]->seed != ~inverted_[i].seed) return false;
  }
  return context_ != nullptr && *context_ == found_ && !generators_.empty();
}

void V8Random::Renew() const {
  const auto renew = [](State* state) {
    do {
      if (getrandom(state, sizeof *state, 0) != sizeof *state) abort();
    } while (*state == State{});  // would mean "not seeded yet"
  };
  renew(context_);
  for (Generator* generator : generators_) renew(&generator->state);
}

}  // namespace spore
