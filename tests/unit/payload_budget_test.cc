// Bytes of requests held at once.
#include "daemon/rpc/payload_budget.h"

#include <gtest/gtest.h>

#include <vector>

namespace spore {
namespace {

TEST(PayloadBudgetTest, RefusesBeyondTheTotalUntilSomeAreReturned) {
  PayloadBudget budget({.total = 100, .client = 100});
  auto first = budget.Take(1000, 60);
  ASSERT_TRUE(first);
  const auto refused = budget.Take(1001, 41);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kOverloaded);
  EXPECT_EQ(refused.error().Message(),
            "overloaded: a request of 41 bytes beside 60 bytes of requests in progress; at most "
            "100 are held at once (payload-memory) (try again later)");
  EXPECT_TRUE(budget.Take(1001, 40));  // and returned at once
  {
    const PayloadBudget::Charge moved = std::move(*first);
    EXPECT_EQ(budget.held(), 60u);
  }
  EXPECT_EQ(budget.held(), 0u);
  EXPECT_TRUE(budget.Take(1001, 100));
}

TEST(PayloadBudgetTest, OneClientLeavesRoomForOthers) {
  PayloadBudget budget({.total = 100, .client = 50});
  std::vector<PayloadBudget::Charge> held;
  auto own = budget.Take(1000, 50);
  ASSERT_TRUE(own);
  held.push_back(std::move(*own));
  const auto refused = budget.Take(1000, 1);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().Message().find("uid 1000's 50 bytes"), std::string::npos);
  EXPECT_NE(refused.error().Message().find("(limits-per-client.payload-memory)"),
            std::string::npos);
  EXPECT_TRUE(budget.Take(1000, 0));
  EXPECT_TRUE(budget.Take(1001, 50));
  EXPECT_FALSE(budget.Take(0, 51));
  held.clear();
  EXPECT_TRUE(budget.Take(0, 100)) << "root has no share of its own";
  EXPECT_FALSE(budget.Take(0, UINT64_MAX));
  EXPECT_EQ(budget.held(), 0u);
}

}  // namespace
}  // namespace spore
