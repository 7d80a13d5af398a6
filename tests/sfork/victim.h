// Victims: small programs of many threads that are frozen, copied and looked at in the copy.
//
// Each runs in a process of its own, forked from the test program while that has one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "zygote/sfork/sfork.h"

namespace spore::victim {

// Prints what is wrong and ends the process: in a victim and in its children.
[[noreturn]] void Fail(const char* file, int line, const char* what,
                       const std::string& detail = {});

#define REQUIRE(condition)                                                 \
  do {                                                                     \
    if (!(condition)) spore::victim::Fail(__FILE__, __LINE__, #condition); \
  } while (false)
// The value of a Result; its error ends the victim.
#define REQUIRE_VALUE(expression)                                                                  \
  [&] {                                                                                            \
    auto result_ = (expression);                                                                   \
    if (!result_) spore::victim::Fail(__FILE__, __LINE__, #expression, result_.error().Message()); \
    return std::move(*result_);                                                                    \
  }()

// A test whose body is a victim: passed when it returns. What it makes is static, since the process
// ends without destructors.
#define VICTIM(suite, name)                 \
  void suite##_##name();                    \
  TEST(suite, name) {                       \
    EXPECT_EQ(Outcome(suite##_##name), ""); \
  }                                         \
  void suite##_##name()

// Runs `body` in a process of its own. Empty when it returned; else how it ended. One that hangs is
// killed.
std::string Outcome(const std::function<void()>& body);

// What is open in the test program itself is allowed; threads are stopped, descriptors renewed.
FreezeOptions Options();
// How often a victim is copied: 50, or SPORE_SFORK_TIMES.
int Times();

// In a victim: clones it `times` times, one after the other, and runs `in_child` in each, which has
// to thaw it. The child ends when `in_child` returns, and has to end well.
void CloneAndCheck(const FrozenProcess& frozen, int times, const std::function<void()>& in_child);
// In a victim: copies it `times` times, one after the other, and runs `in_child` in each copy when
// its threads are back. The child ends when `in_child` returns.
void SforkAndCheck(const FrozenProcess& frozen, int times, const std::function<void()>& in_child);
inline void SforkAndCheck(int times, const std::function<void()>& in_child) {
  const FrozenProcess frozen = REQUIRE_VALUE(FrozenProcess::Freeze(Options()));
  SforkAndCheck(frozen, times, in_child);
}

// The error of a freeze in a process that `prepare` has made unfit. Empty when it was accepted.
std::string Refusal(const std::function<void()>& prepare);

// Waits until `condition` holds; fails after a minute.
void WaitUntil(const std::function<bool()>& condition);

}  // namespace spore::victim
