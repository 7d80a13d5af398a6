// The connections of a Client and all that is made of it: one a call, idle ones kept.
#pragma once

#include <spore/client.h>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spore/v1/spore.pb.h"
#include "tools/client/connection.h"

namespace spore {
inline namespace client_0 {

class Link {
 public:
  explicit Link(const ClientOptions& options);

  // Makes sure that somebody answers there.
  Result<> Reach();

  // One call of spore.v1.SERVICE. `waits`: for so long spored may wait before it answers, beyond
  // the client's own timeout. `received` takes the descriptors of the answer.
  template <typename Response>
  Result<Response> Call(std::string_view service, std::string_view method,
                        const google::protobuf::MessageLite& request,
                        const std::vector<int>& fds = {},
                        std::vector<client::Fd>* received = nullptr,
                        std::chrono::milliseconds waits = {}) {
    auto connection = Take(waits);
    if (!connection) return tl::unexpected(connection.error());
    auto response = connection->Call<Response>(std::string("spore.v1.").append(service), method,
                                               request, fds, received);
    // After a refusal it is as good as before. One that is closed cancels what was asked over it.
    if (response || response.error().kind == client::ErrorKind::kRefused) {
      Keep(std::move(*connection));
    }
    if (!response) return tl::unexpected(Translate(response.error()));
    return std::move(*response);
  }

 private:
  Result<client::Connection> Take(std::chrono::milliseconds waits);
  void Keep(client::Connection connection);
  Error Translate(const client::Error& error) const;

  const std::string socket_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::vector<client::Connection> idle_;
};

Error LocalFailure(const client::Error& error);
Error Failure(ErrorKind kind, const v1::FunctionError& error);

// Durations of the interface, as the protocol wants them: below zero is none, and a fraction
// counts.
uint64_t Milliseconds(std::chrono::milliseconds time);
TimePoint AtMilliseconds(int64_t unix_ms);
v1::Limits ToMessage(const Limits& limits);

}  // namespace client_0
}  // namespace spore
