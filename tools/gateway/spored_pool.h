// The connections to spored: a few, opened when they are needed, shared by all requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/gateway/spored_link.h"

namespace spore::gateway {

class SporedPool {
 public:
  struct Options {
    std::string socket;
    std::size_t max_links = 8;
  };
  // Where a call is; default: nowhere.
  struct CallId {
    uint64_t link = 0;
    uint32_t stream = 0;
  };

  SporedPool(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

  // `on_reply` runs once: later, or at once with an error of kind kUnreachable when there is no
  // spored, or kRefused with RESOURCE_EXHAUSTED when all places for calls are taken.
  CallId CallRaw(std::string_view service, std::string_view method,
                 const google::protobuf::MessageLite& request, std::vector<client::Fd> fds,
                 SporedLink::OnReply on_reply);

  template <typename Response>
  CallId Call(std::string_view service, std::string_view method,
              const google::protobuf::MessageLite& request, std::vector<client::Fd> fds,
              std::function<void(client::Result<Response>, FdQueue&)> on_reply) {
    return CallRaw(
        service, method, request, std::move(fds),
        [on_reply = std::move(on_reply)](client::Result<std::string_view> payload, FdQueue& queue) {
          if (!payload) return on_reply(tl::unexpected(payload.error()), queue);
          Response response;
          if (!response.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) {
            return on_reply(tl::unexpected(client::Error{client::ErrorKind::kLost, 0, 0,
                                                         "spored's answer is not a valid message"}),
                            queue);
          }
          on_reply(std::move(response), queue);
        });
  }
  // The same, for answers without a descriptor.
  template <typename Response>
  CallId Ask(std::string_view service, std::string_view method,
             const google::protobuf::MessageLite& request,
             std::function<void(client::Result<Response>)> on_reply) {
    return Call<Response>(
        service, method, request, {},
        [on_reply = std::move(on_reply)](client::Result<Response> response, FdQueue&) {
          on_reply(std::move(response));
        });
  }
  void Cancel(CallId id);

  std::size_t in_flight() const;
  std::size_t links() const { return links_.size(); }
  uint64_t lost() const { return lost_; }

 private:
  struct Member {
    uint64_t id;
    std::unique_ptr<SporedLink> link;
  };
  client::Result<Member*> Pick();

  EventLoop& loop_;
  Options options_;
  std::vector<Member> links_;
  uint64_t next_ = 1;
  uint64_t lost_ = 0;
};

}  // namespace spore::gateway
