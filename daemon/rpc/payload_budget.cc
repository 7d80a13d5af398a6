#include "daemon/rpc/payload_budget.h"

#include <string>

namespace spore {
namespace {

tl::unexpected<Error> Full(uint64_t bytes, const std::string& held, uint64_t limit,
                           const std::string& key) {
  return MakeError(ErrorKind::kOverloaded,
                   "overloaded: a request of " + std::to_string(bytes) + " bytes beside " + held +
                       " bytes of requests in progress; at most " + std::to_string(limit) +
                       " are held at once (" + key + ")",
                   "try again later");
}

}  // namespace

Result<PayloadBudget::Charge> PayloadBudget::Take(uid_t client, uint64_t bytes) {
  const auto found = clients_.find(client);
  const uint64_t own = found == clients_.end() ? 0 : found->second;
  if (client != 0 && (own > limits_.client || bytes > limits_.client - own)) {
    return Full(bytes, "uid " + std::to_string(client) + "'s " + std::to_string(own),
                limits_.client, "limits-per-client.payload-memory");
  }
  if (bytes > limits_.total - held_) {
    return Full(bytes, std::to_string(held_), limits_.total, "payload-memory");
  }
  Charge charge;
  if (bytes == 0) return charge;
  held_ += bytes;
  clients_[client] += bytes;
  charge.budget_ = this;
  charge.client_ = client;
  charge.bytes_ = bytes;
  return charge;
}

void PayloadBudget::Return(uid_t client, uint64_t bytes) {
  held_ -= bytes;
  const auto found = clients_.find(client);
  found->second -= bytes;
  if (found->second == 0) clients_.erase(found);
}

}  // namespace spore
