// Malformed, truncated, oversized and interleaved frames against a real server on a real socket.
// Deterministic: a seed gives the same bytes and the same cuts on every machine.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <thread>

#include "daemon/rpc/rpc_frame.h"
#include "daemon/rpc/rpc_server.h"
#include "spore/v1/spore.pb.h"
#include "tests/unit/rpc_frames.h"
#include "tests/unit/sockets.h"

namespace spore {
namespace {

std::string Request(uint32_t id, const std::string& method, const std::string& text) {
  v1::KillRequest kill;
  kill.set_id(text);
  v1::TtrpcRequest request;
  request.set_service("test.Service");
  request.set_method(method);
  request.set_payload(kill.SerializeAsString());
  return Frame(id, request.SerializeAsString());
}

// A conversation of valid frames.
std::string Conversation(std::mt19937& random) {
  const char* methods[] = {"Echo", "Files", "Drop", "None"};
  std::string bytes;
  const auto count = static_cast<unsigned>(1 + random() % 8);
  for (unsigned i = 0; i < count; ++i) {
    bytes += Request(2 * i + 1, methods[random() % 4], std::string(random() % 300, 'x'));
  }
  return bytes;
}

void Mutate(std::mt19937& random, std::string& bytes) {
  const auto edits = static_cast<unsigned>(random() % 6);
  for (unsigned i = 0; i < edits && !bytes.empty(); ++i) {
    const size_t at = random() % bytes.size();
    switch (random() % 6) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, 1 + random() % 20);
        break;
      case 4:
        bytes.insert(at, std::string(1 + random() % 20, static_cast<char>(random())));
        break;
      default:
        bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 100));
        break;
    }
  }
}

class MutationTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create({});
    ASSERT_TRUE(loop) << loop.error().Message();
    loop_ = std::move(*loop);
    server_ = RpcServer::Create(*loop_, {.max_message_bytes = 4096});
    RegisterMethod<v1::KillRequest>(*server_, "test.Service", "Echo",
                                    [](std::shared_ptr<Call> call, v1::KillRequest& request) {
                                      v1::KillResponse response;
                                      response.set_id(request.id());
                                      call->Reply(response);
                                    });
    RegisterMethod<v1::KillRequest>(*server_, "test.Service", "Drop",
                                    [](std::shared_ptr<Call>, v1::KillRequest&) {});
    RegisterMethod<v1::KillRequest>(
        *server_, "test.Service", "Files",
        [](std::shared_ptr<Call> call, v1::KillRequest&) {
          for (ClientFd& fd : call->TakeFds()) EXPECT_TRUE(fd.valid());
          call->Reply(v1::KillResponse());
        },
        [](const v1::KillRequest& request) { return request.id().size() % 3; });
    listener_ = Listen();
    ASSERT_TRUE(server_->Listen(std::move(listener_.fd)));
  }

  UniqueFd Connect() {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(0,
              connect(fd.get(), reinterpret_cast<sockaddr*>(&listener_.address), listener_.length));
    timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return fd;
  }

  // Sends in random pieces, some with a descriptor; stops when the server hangs up.
  void Send(std::mt19937& random, int socket, const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = std::min<size_t>(bytes.size() - at, 1 + random() % 400);
      iovec vector{const_cast<char*>(bytes.data() + at), piece};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr header{};
      header.msg_iov = &vector;
      header.msg_iovlen = 1;
      if (random() % 4 == 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof(control);
        cmsghdr* message = CMSG_FIRSTHDR(&header);
        message->cmsg_level = SOL_SOCKET;
        message->cmsg_type = SCM_RIGHTS;
        message->cmsg_len = CMSG_LEN(sizeof(int));
        const int null = 0;
        memcpy(CMSG_DATA(message), &null, sizeof(int));
      }
      if (sendmsg(socket, &header, MSG_NOSIGNAL) < 0) return;
      at += piece;
    }
  }

  // Everything that comes back must be whole response frames on streams a client may use.
  void CheckAnswers(int socket) {
    RpcFrameReader reader(8192);
    char buffer[4096];
    while (true) {
      const ssize_t count = recv(socket, buffer, sizeof(buffer), 0);
      if (count <= 0) {
        EXPECT_TRUE(count == 0 || errno == ECONNRESET) << strerror(errno);
        return;
      }
      std::span<const std::byte> data =
          std::as_bytes(std::span(buffer, static_cast<size_t>(count)));
      while (auto frame = reader.Next(data)) {
        v1::TtrpcResponse response;
        EXPECT_EQ(2, frame->header.type);
        EXPECT_NE(0u, frame->header.stream_id);
        EXPECT_TRUE(response.ParseFromString(std::string(frame->body)));
      }
    }
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<RpcServer> server_;
  Listener listener_;
};

TEST_F(MutationTest, ServerSurvivesAndGoesOnServing) {
  std::thread client([&] {
    for (unsigned seed = 0; seed < 1500; ++seed) {
      std::mt19937 random(seed);
      std::string bytes = Conversation(random);
      Mutate(random, bytes);
      UniqueFd socket = Connect();
      Send(random, socket.get(), bytes);
      if (random() % 4 == 0) continue;  // vanishes without reading
      shutdown(socket.get(), SHUT_WR);
      CheckAnswers(socket.get());
      if (HasFailure()) {
        ADD_FAILURE() << "seed " << seed;
        break;
      }
    }
    // After all of it a plain call is answered.
    UniqueFd socket = Connect();
    const std::string request = Request(1, "Echo", "alive");
    EXPECT_EQ(static_cast<ssize_t>(request.size()),
              send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL));
    char answer[64];
    EXPECT_GT(recv(socket.get(), answer, sizeof(answer), 0), 10);
    socket.Reset();
    for (int turn = 0; turn < 5000; ++turn) {
      std::atomic<int> left = -1;
      loop_->PostFromThread(
          [&] { left = static_cast<int>(server_->connections() + server_->calls_in_progress()); });
      while (left < 0) std::this_thread::yield();
      if (left == 0) break;
    }
    loop_->PostFromThread([this] { loop_->Stop(); });
  });
  auto result = loop_->Run();
  EXPECT_TRUE(result) << result.error().Message();
  client.join();
  EXPECT_EQ(0u, server_->connections());
  EXPECT_EQ(0u, server_->calls_in_progress());
}

}  // namespace
}  // namespace spore
