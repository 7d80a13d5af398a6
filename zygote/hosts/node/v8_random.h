// V8's generators of Math.random, renewed in a forked process.
//
// V8 has two: the isolate's, from which every new context (vm.createContext) is seeded, and the
// state of the main context, from which Math.random takes 64 values at a time. Both are made when
// Node starts, and there is no interface to seed them again; siblings would throw the same dice.
// Both are xorshift128+ (V8's base::RandomNumberGenerator, MathRandom::RefillCache), so their
// values are found by what they have produced, and overwritten in each child.
//
// A version of V8 that does it otherwise is not found, and its zygote refuses to be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

class V8Random {
 public:
  // Consecutive values of Math.random that Find needs.
  static constexpr size_t kOutputs = 256;

  // `outputs`: the last values that Math.random has given, the newest last. Returns how often it
  // has to be called until none of its values is left that was made here.
  Result<uint32_t> Find(std::span<const double> outputs);

  // Whether all is still where it was found: a garbage collection moves things.
  bool StillThere() const;

  // In a child: fresh seeds of the kernel's. Allocates nothing.
  void Renew() const;

 private:
  struct State {
    uint64_t s0 = 0, s1 = 0;
    bool operator==(const State&) const = default;
  };
  struct Place {
    State* address = nullptr;
    State found;
  };
  static State Next(State state);
  static State Previous(State state);
  Result<uint32_t> FindContext(std::span<const double> outputs);
  Result<> FindGenerators();

  Place context_;
  std::vector<Place> generators_;
};

}  // namespace spore
