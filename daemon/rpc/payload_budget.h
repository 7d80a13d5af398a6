// How many bytes of requests spored holds at once, together and of one client.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "sandbox/sys/result.h"

namespace spore {

class PayloadBudget {
 public:
  struct Limits {
    uint64_t total = 0;
    uint64_t client = 0;  // of one uid; root (uid 0) has none of its own
  };
  // Bytes that are held while it lives. Never outlives the budget.
  class Charge {
   public:
    Charge() = default;
    Charge(Charge&& other) noexcept { *this = std::move(other); }
    Charge& operator=(Charge&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(client_, other.client_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Charge() {
      if (budget_ != nullptr) budget_->Return(client_, bytes_);
    }

   private:
    friend class PayloadBudget;
    PayloadBudget* budget_ = nullptr;
    uid_t client_ = 0;
    uint64_t bytes_ = 0;
  };

  explicit PayloadBudget(const Limits& limits) : limits_(limits) {}
  PayloadBudget(const PayloadBudget&) = delete;
  PayloadBudget& operator=(const PayloadBudget&) = delete;

  // kOverloaded, naming the limit, when there is no room for them now.
  Result<Charge> Take(uid_t client, uint64_t bytes);
  uint64_t held() const { return held_; }

 private:
  void Return(uid_t client, uint64_t bytes);

  Limits limits_;
  uint64_t held_ = 0;
  std::unordered_map<uid_t, uint64_t> clients_;  // those that hold some
};

}  // namespace spore
