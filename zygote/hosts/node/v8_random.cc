#include "zygote/hosts/node/v8_random.h"

#include <sys/random.h>

#include <algorithm>
#include <bitset>
#include <cstdlib>
#include <optional>

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

// As most of what lies in memory does not: pointers, small numbers, text.
bool LooksRandom(uint64_t word) {
  constexpr uint64_t kHighBits = 0x8080808080808080ull;
  const uint64_t top = word >> 48;
  return top != 0 && top != 0xffff && (word & 0xffffffff) != 0 && (word & kHighBits) != 0;
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

// The state is that after the last value of a batch was made, which is handed out first. So the
// word before it in memory order is sought by the newest 64 outputs, and believed when the states
// before it gave the outputs of the batch before.
Result<uint32_t> V8Random::FindContext(std::span<const double> outputs) {
  if (outputs.size() < 2 * kBatch + kChecked)
    return MakeError(ErrorKind::kInternal, "too few values of Math.random");
  std::bitset<65536> wanted;
  const size_t first = outputs.size() - kBatch;
  for (size_t i = first; i < outputs.size(); ++i) wanted.set(Shown(outputs[i]) & 0xffff);
  const auto matches = [&](State state, size_t at) {
    for (size_t back = 0; back < kBatch; ++back) state = Previous(state);
    for (size_t i = 0; i < kChecked; ++i, state = Previous(state)) {
      if (Shown(state.s0) != Shown(outputs[at - kBatch + i])) return false;
    }
    return true;
  };
  SPORE_ASSIGN(const std::vector<MemoryRange> ranges, WritableMemory(false));
  State there;  // on the stack, which is not looked through
  State* place = nullptr;
  std::optional<size_t> found;
  for (const MemoryRange& range : ranges) {
    for (uint64_t* word = range.begin; word + 1 < range.end; ++word) {
      if (!wanted[Shown(*word) & 0xffff]) continue;
      for (size_t at = first; at < outputs.size(); ++at) {
        const State state{word[0], word[1]};
        if (Shown(state.s0) != Shown(outputs[at]) || !matches(state, at)) continue;
        if (found)
          return MakeError(ErrorKind::kInternal, "V8's state of Math.random is there twice");
        found = at;
        place = reinterpret_cast<State*>(word);
        there = state;
      }
    }
  }
  if (!found)
    return MakeError(ErrorKind::kPrecondition, "V8's state of Math.random is not where it was",
                     "this version of Node is not known yet");
  context_ = place;
  found_ = there;
  return static_cast<uint32_t>(kBatch - (outputs.size() - *found));
}

// {seed, state}: the seed it was made with beside what has become of it. V8 may keep more than one.
Result<> V8Random::FindGenerators() {
  SPORE_ASSIGN(const std::vector<MemoryRange> ranges, WritableMemory(true));
  for (const MemoryRange& range : ranges) {
    for (uint64_t* word = range.begin; word + 2 < range.end; ++word) {
      const State there{word[1], word[2]};
      if (!LooksRandom(there.s0) || !LooksRandom(there.s1)) continue;
      State state{Mixed(word[0]), Mixed(~Mixed(word[0]))};  // RandomNumberGenerator::SetSeed
      for (int draws = 0; draws < kMostDraws; ++draws, state = Next(state)) {
        if (state != there) continue;
        generators_.push_back(reinterpret_cast<Generator*>(word));
        seeds_.push_back(*word);
        break;
      }
    }
  }
  if (!generators_.empty()) return {};
  return MakeError(ErrorKind::kPrecondition, "V8's random number generator is not where it was",
                   "this version of Node is not known yet");
}

bool V8Random::StillThere() const {
  for (size_t i = 0; i < generators_.size(); ++i) {
    if (generators_[i]->seed != seeds_[i]) return false;
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
