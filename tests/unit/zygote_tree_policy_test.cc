#include "daemon/zygotes/zygote_tree_policy.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

using Policy = ZygoteTreePolicy;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMiB = 1 << 20;

class ZygoteTreePolicyTest : public testing::Test {
 protected:
  static Policy::Key Key(const std::string& set) { return {"python", set}; }

  Policy Make(uint64_t memory_bytes = 100 * kMiB) {
    Policy policy({memory_bytes, 600 * kSecond});
    policy.Add(Key("numpy"), "", false);
    policy.Add(Key("pandas"), "numpy", false);
    policy.Add(Key("pil"), "", false);
    return policy;
  }

  void WantTimes(Policy& policy, const std::string& set, int times, uint64_t saves_us = 80'000) {
    for (int i = 0; i < times; ++i) policy.Wanted(Key(set), saves_us, now_ += kSecond);
  }

  // What there is to do, as "+numpy -pil"; done when `carry_out`: made with `bytes` each.
  std::string Decide(Policy& policy, uint64_t bytes = 0) {
    std::string text;
    for (const auto& decision : policy.Decide(now_)) {
      text += (text.empty() ? "" : " ") + std::string(decision.grow ? "+" : "-") + decision.key.set;
      if (!decision.grow) policy.Gone(decision.key, decision.reason, false, now_);
      if (decision.grow && bytes > 0) policy.Ready(decision.key, 80'000, bytes, now_);
    }
    return text;
  }

  uint64_t now_ = 1000 * kSecond;
};

TEST_F(ZygoteTreePolicyTest, MadeForTheSecondStartThatWantsIt) {
  Policy policy = Make();
  EXPECT_EQ(Decide(policy), "");
  WantTimes(policy, "numpy", 1);
  EXPECT_EQ(Decide(policy), "");
  WantTimes(policy, "numpy", 1);
  EXPECT_EQ(Decide(policy), "+numpy");
  EXPECT_EQ(Decide(policy), "") << "it is on its way";
}

TEST_F(ZygoteTreePolicyTest, NotForStartsThatAreFarApart) {
  Policy policy = Make();
  for (int i = 0; i < 20; ++i) {
    WantTimes(policy, "numpy", 1);
    EXPECT_EQ(Decide(policy), "");
    now_ += 200 * kSecond;
  }
}

TEST_F(ZygoteTreePolicyTest, NotForAnImportThatTakesNoTime) {
  Policy policy = Make();
  WantTimes(policy, "numpy", 10, 500);
  EXPECT_EQ(Decide(policy), "");
  WantTimes(policy, "numpy", 60, 500);
  EXPECT_EQ(Decide(policy), "+numpy") << "many of them do";
}

TEST_F(ZygoteTreePolicyTest, EndedWhenNothingWantsItChildrenFirst) {
  Policy policy = Make();
  WantTimes(policy, "pandas", 5);
  EXPECT_EQ(Decide(policy), "+pandas");
  policy.Ready(Key("numpy"), 80'000, 10 * kMiB, now_);
  policy.Ready(Key("pandas"), 200'000, 30 * kMiB, now_);
  now_ += 599 * kSecond;
  EXPECT_EQ(Decide(policy), "");
  now_ += kSecond;
  EXPECT_EQ(Decide(policy), "-pandas");
  EXPECT_EQ(Decide(policy), "-numpy");
  EXPECT_TRUE(policy.Idle());
}

TEST_F(ZygoteTreePolicyTest, WhatWasEndedIsNotMadeAgainForTheSameStarts) {
  Policy policy({100 * kMiB, 2 * kSecond});
  policy.Add(Key("numpy"), "", false);
  WantTimes(policy, "numpy", 10);
  EXPECT_EQ(Decide(policy, kMiB), "+numpy");
  now_ += 2 * kSecond;
  EXPECT_EQ(Decide(policy), "-numpy");
  EXPECT_EQ(Decide(policy), "");
}

TEST_F(ZygoteTreePolicyTest, WhatIsKeptStays) {
  Policy policy = Make();
  policy.Add(Key("always"), "", true);
  policy.Ready(Key("always"), 1, 90 * kMiB, now_);
  now_ += 10'000 * kSecond;
  EXPECT_EQ(Decide(policy), "");
  EXPECT_FALSE(policy.Idle());
}

TEST_F(ZygoteTreePolicyTest, TheLeastWorthGoesForWhatIsWorthMore) {
  Policy policy = Make(50 * kMiB);
  WantTimes(policy, "pil", 2, 30'000);
  EXPECT_EQ(Decide(policy, 40 * kMiB), "+pil");
  WantTimes(policy, "numpy", 20, 100'000);
  EXPECT_EQ(Decide(policy, 30 * kMiB), "-pil +numpy");
  // It was worth less than what is there now, and says so.
  WantTimes(policy, "pil", 2, 30'000);
  EXPECT_EQ(Decide(policy), "");
  EXPECT_NE(policy.Of(Key("pil"), now_).reason.find("no room"), std::string::npos);
}

TEST_F(ZygoteTreePolicyTest, WhatProvesTooLargeIsEnded) {
  Policy policy = Make(50 * kMiB);
  WantTimes(policy, "pil", 3);
  EXPECT_EQ(Decide(policy, 60 * kMiB), "+pil");
  EXPECT_EQ(Decide(policy), "-pil");
  EXPECT_EQ(Decide(policy), "") << "its size is known now";
}

TEST_F(ZygoteTreePolicyTest, AParentIsNoRoomForItsChild) {
  Policy policy = Make(50 * kMiB);
  WantTimes(policy, "numpy", 2);
  EXPECT_EQ(Decide(policy, 40 * kMiB), "+numpy");
  WantTimes(policy, "pandas", 30, 900'000);
  EXPECT_EQ(Decide(policy), "");
}

TEST_F(ZygoteTreePolicyTest, FailuresAreTriedAgainLaterAndLater) {
  Policy policy = Make();
  uint64_t wait = kSecond;
  for (int i = 0; i < 5; ++i) {
    WantTimes(policy, "numpy", 5);
    EXPECT_EQ(Decide(policy), "+numpy");
    policy.Gone(Key("numpy"), "no such module", true, now_);
    EXPECT_EQ(policy.Of(Key("numpy"), now_).reason, "no such module");
    EXPECT_EQ(Decide(policy), "");
    now_ += wait - 1;
    EXPECT_EQ(Decide(policy), "");
    now_ += 1;
    wait *= 2;
  }
}

TEST_F(ZygoteTreePolicyTest, AChildWhoseParentFailedIsTriedAgainToo) {
  Policy policy = Make();
  WantTimes(policy, "pandas", 5);
  EXPECT_EQ(Decide(policy), "+pandas");
  policy.Gone(Key("numpy"), "no such module", true, now_);
  EXPECT_TRUE(policy.Idle());
  now_ += 2 * kSecond;
  WantTimes(policy, "pandas", 1);
  EXPECT_EQ(Decide(policy), "+pandas");
}

TEST_F(ZygoteTreePolicyTest, NoneWithoutMemory) {
  Policy policy = Make(0);
  WantTimes(policy, "numpy", 50);
  EXPECT_EQ(Decide(policy), "");
}

TEST_F(ZygoteTreePolicyTest, WhatIsForgottenIsNotMadeAgain) {
  Policy policy = Make();
  WantTimes(policy, "numpy", 10);
  policy.Forget(Key("numpy"));
  EXPECT_EQ(Decide(policy), "");
}

TEST_F(ZygoteTreePolicyTest, SetsThatAreNoneAreNoMatter) {
  Policy policy = Make();
  policy.Wanted(Key("none"), 1, now_);
  policy.Ready(Key("none"), 1, 1, now_);
  policy.Gone(Key("none"), "", true, now_);
  EXPECT_EQ(Decide(policy), "");
}

}  // namespace
}  // namespace spore
