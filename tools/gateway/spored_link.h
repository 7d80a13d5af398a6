// One connection to spored with many calls in flight, none of which blocks (ttrpc on a UNIX
// socket).
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/client/error.h"
#include "tools/client/fd.h"
#include "tools/gateway/event_loop.h"

namespace spore::gateway {

// Descriptors that came and have not been claimed: answers claim theirs in the order they come.
using FdQueue = std::deque<client::Fd>;

class SporedLink {
 public:
  // The serialized answer; or why there is none.
  using OnReply = std::function<void(client::Result<std::string_view> payload, FdQueue& fds)>;

  static client::Result<std::unique_ptr<SporedLink>> Connect(EventLoop& loop,
                                                             const std::string& path);
  ~SporedLink();
  SporedLink(const SporedLink&) = delete;
  SporedLink& operator=(const SporedLink&) = delete;

  // Returns the call's stream id; `on_reply` runs once, never from inside this. Not for a link
  // that is lost.
  client::Result<uint32_t> Call(std::string_view service, std::string_view method,
                                const google::protobuf::MessageLite& request,
                                std::vector<client::Fd> fds, OnReply on_reply);
  // The call's answer is not waited for any more: spored is asked to end it.
  void Cancel(uint32_t stream_id);

  bool lost() const { return lost_; }
  std::size_t in_flight() const { return calls_.size(); }
  // When the link has ended, with all of its calls failed.
  void OnLost(std::function<void()> on_lost) { on_lost_ = std::move(on_lost); }

 private:
  struct Frame {
    std::string bytes;
    std::size_t sent = 0;
    std::vector<client::Fd> fds;  // go with its first byte
  };
  SporedLink(EventLoop& loop, client::Fd socket) : loop_(loop), socket_(std::move(socket)) {}

  void OnEvents(uint32_t events);
  void Flush();
  bool SendSome(Frame& frame);
  void Receive();
  bool TakeFrames();
  void Finish(uint32_t stream_id, client::Result<std::string_view> payload);
  void Lose(const client::Error& error);

  EventLoop& loop_;
  client::Fd socket_;
  EventLoop::WatchId watch_ = 0;
  std::deque<Frame> outgoing_;
  std::string incoming_;
  FdQueue fds_;
  std::unordered_map<uint32_t, OnReply> calls_;
  std::function<void()> on_lost_;
  uint32_t next_stream_id_ = 1;
  bool lost_ = false;
};

}  // namespace spore::gateway
