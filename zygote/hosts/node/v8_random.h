// V8's generators of Math.random, renewed in a forked process.
//
// V8 has two: the isolate's, from which every new context (vm.createContext) is seeded and objects
// draw their hashes, and the state of the main context, from which Math.random takes 64 values at a
// time. Both are made when Node starts, and there is no interface to seed them again; siblings
// would throw the same dice. Both are xorshift128+ (V8's base::RandomNumberGenerator and
// MathRandom::RefillCache), so they are found by their seed or by what they have produced, and
// overwritten in each child.
//
// A version of V8 that does it otherwise is not recognised, and its zygote refuses to be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sandbox/sys/result.h"

namespace spore {

class V8Random {
 public:
  // The isolate's. Early, since the more was drawn from it the longer it takes to recognise; it
  // stays where it is. One in some thousands looks like something else for once: whoever calls this
  // then draws from it, asks HaveDrawn, and tries again if nothing has.
  Result<> FindGenerators();
  bool HaveDrawn() const;

  // The main context's. `outputs`: the last 256 values that Math.random has given, the newest last.
  // Returns how often it has to be called until none of its values is left that was made here.
  Result<uint32_t> FindContext(std::span<const double> outputs);

  // Whether all is still where it was found: a garbage collection may move what is the context's.
  bool StillThere() const;

  // In a child: fresh states of the kernel's. Allocates nothing.
  void Renew() const;

 private:
  struct State {
    uint64_t s0 = 0, s1 = 0;
    bool operator==(const State&) const = default;
  };
  struct Generator {
    uint64_t seed = 0;
    State state;
  };
  static State Next(State state);
  static State Previous(State state);
  static bool Gave(State state, std::span<const double> outputs, size_t at);

  std::vector<Generator*> generators_;
  // What was in each, inverted: it must not look like one itself.
  std::vector<Generator> inverted_;
  State* context_ = nullptr;
  State found_;  // at context_
};

}  // namespace spore
