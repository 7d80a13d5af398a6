#include "tools/gateway/spored_pool.h"

#include <algorithm>

namespace spore::gateway {
namespace {

// spored takes 256 calls of one connection at once; a cancellation is one too.
constexpr std::size_t kMaxCalls = 240;
// Beyond so many another connection is opened, where there may be one.
constexpr std::size_t kManyCalls = 32;

}  // namespace

client::Result<SporedPool::Member*> SporedPool::Pick() {
  Member* best = nullptr;
  for (Member& member : links_) {
    if (member.link->lost()) continue;
    if (best == nullptr || member.link->in_flight() < best->link->in_flight()) best = &member;
  }
  if (best != nullptr && best->link->in_flight() < kManyCalls) return best;
  if (links_.size() < options_.max_links) {
    auto link = SporedLink::Connect(loop_, options_.socket);
    if (link) {
      const uint64_t id = next_++;
      (*link)->OnLost([this, id] {
        ++lost_;
        std::erase_if(links_, [id](const Member& member) { return member.id == id; });
      });
      links_.push_back({id, std::move(*link)});
      return &links_.back();
    }
    if (best == nullptr) return tl::unexpected(link.error());
  }
  if (best == nullptr) {
    return tl::unexpected(client::Error{client::ErrorKind::kUnreachable, 0, 0,
                                        "the connections to spored have just been lost"});
  }
  if (best->link->in_flight() < kMaxCalls) return best;
  return tl::unexpected(client::Error{client::ErrorKind::kRefused, client::kResourceExhausted, 0,
                                      "the gateway has as many calls in progress as it may"});
}

SporedPool::CallId SporedPool::CallRaw(std::string_view service, std::string_view method,
                                       const google::protobuf::MessageLite& request,
                                       std::vector<client::Fd> fds, SporedLink::OnReply on_reply) {
  auto member = Pick();
  FdQueue none;
  if (!member) {
    on_reply(tl::unexpected(member.error()), none);
    return {};
  }
  auto shared = std::make_shared<SporedLink::OnReply>(std::move(on_reply));
  auto stream =
      (*member)->link->Call(service, method, request, std::move(fds),
                            [shared](client::Result<std::string_view> payload, FdQueue& queue) {
                              (*shared)(std::move(payload), queue);
                            });
  if (!stream) {
    (*shared)(tl::unexpected(stream.error()), none);
    return {};
  }
  return {(*member)->id, *stream};
}

void SporedPool::Cancel(CallId id) {
  for (Member& member : links_) {
    if (member.id == id.link) member.link->Cancel(id.stream);
  }
}

std::size_t SporedPool::in_flight() const {
  std::size_t sum = 0;
  for (const Member& member : links_) sum += member.link->in_flight();
  return sum;
}

}  // namespace spore::gateway
