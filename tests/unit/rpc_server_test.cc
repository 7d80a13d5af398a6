#include "daemon/rpc/rpc_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <thread>

#include "daemon/rpc/rpc_frame.h"
#include "spore/v1/spore.pb.h"
#include "tests/unit/rpc_frames.h"
#include "tests/unit/sockets.h"

namespace spore {
namespace {

using std::chrono::milliseconds;

// A blocking client, used on a thread of its own.
class Client {
 public:
  explicit Client(const sockaddr_un& address, socklen_t length)
      : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(0, connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length));
    timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  }

  static std::string Request(uint32_t id, const std::string& method, const std::string& payload,
                             int64_t timeout_nano = 0) {
    v1::TtrpcRequest request;
    request.set_service("test.Service");
    request.set_method(method);
    request.set_payload(payload);
    request.set_timeout_nano(timeout_nano);
    return Frame(id, request.SerializeAsString());
  }
  static std::string Kill(const std::string& id) {
    v1::KillRequest request;
    request.set_id(id);
    return request.SerializeAsString();
  }

  void Send(const std::string& bytes, const std::vector<int>& fds = {}) {
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()), SendWithFds(socket_.get(), bytes, fds));
  }

  struct Answer {
    uint32_t id = 0;
    int code = 0;
    std::string message;
    std::string payload;
    std::vector<UniqueFd> fds;
  };
  // Nothing when the server closed the connection.
  std::optional<Answer> Receive() {
    Answer answer;
    std::string header = ReadExactly(RpcFrameHeader::kBytes, &answer.fds);
    if (header.empty()) return std::nullopt;
    const auto decoded = RpcFrameHeader::Decode(header.data());
    EXPECT_EQ(2, decoded.type);
    v1::TtrpcResponse response;
    EXPECT_TRUE(response.ParseFromString(ReadExactly(decoded.length, &answer.fds)));
    answer.id = decoded.stream_id;
    answer.code = response.status().code();
    answer.message = response.status().message();
    answer.payload = response.payload();
    return answer;
  }
  // The code of the next answer; -1 when the connection ended instead.
  int Code() {
    auto answer = Receive();
    return answer ? answer->code : -1;
  }
  void Close() { socket_.Reset(); }

 private:
  std::string ReadExactly(size_t count, std::vector<UniqueFd>* fds) {
    std::string bytes(count, '\0');
    for (size_t at = 0; at < count;) {
      iovec vector{bytes.data() + at, count - at};
      char control[256];
      msghdr header{};
      header.msg_iov = &vector;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      const ssize_t got = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
      if (got <= 0) {
        EXPECT_TRUE(got == 0 || errno == ECONNRESET) << strerror(errno);
        return {};
      }
      for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
           part = CMSG_NXTHDR(&header, part)) {
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
          fds->emplace_back(fd);
        }
      }
      at += static_cast<size_t>(got);
    }
    return bytes;
  }
  UniqueFd socket_;
};

UniqueFd MemoryFile(const std::string& text) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(static_cast<ssize_t>(text.size()), write(fd.get(), text.data(), text.size()));
  return fd;
}

std::string Contents(const UniqueFd& fd) {
  char text[64] = {};
  const ssize_t count = pread(fd.get(), text, sizeof(text), 0);
  return {text, static_cast<size_t>(std::max<ssize_t>(count, 0))};
}

class RpcServerTest : public testing::Test {
 protected:
  void Start(RpcServer::Options options = {}) {
    auto loop = EventLoop::Create({});
    ASSERT_TRUE(loop) << loop.error().Message();
    loop_ = std::move(*loop);
    server_ = RpcServer::Create(*loop_, options);
    listener_ = Listen();
    auto result = server_->Listen(std::move(listener_.fd));
    ASSERT_TRUE(result) << result.error().Message();
    RegisterMethods();
  }

  void RegisterMethods() {
    Add("Echo", [](std::shared_ptr<Call> call, v1::KillRequest& request) {
      v1::KillResponse response;
      response.set_id(std::move(*request.mutable_id()));
      call->Reply(response);
    });
    Add("Whose", [](std::shared_ptr<Call> call, v1::KillRequest&) {
      v1::KillResponse response;
      response.set_id(std::to_string(call->peer().uid) + " " + std::to_string(call->peer().pid));
      call->Reply(response);
    });
    Add("Keep", [this](std::shared_ptr<Call> call, v1::KillRequest&) {
      call->OnCancel([this, weak = std::weak_ptr(call)] {
        ++cancelled_;
        // What a service may do: answer a call that is over.
        if (auto over = weak.lock()) over->Reply(v1::KillResponse());
      });
      kept_.push_back(std::move(call));
    });
    Add("Release", [this](std::shared_ptr<Call> call, v1::KillRequest&) {
      for (auto& kept : kept_) kept->Reply(v1::KillResponse());
      kept_.clear();
      call->Reply(v1::KillResponse());
    });
    Add("Drop", [](std::shared_ptr<Call>, v1::KillRequest&) {});
    Add("Refuse", [](std::shared_ptr<Call> call, v1::KillRequest& request) {
      Error error{static_cast<ErrorKind>(std::stoi(request.id())), ENOSPC, "write", "/x", "why"};
      call->Fail(error);
      call->Reply(v1::KillResponse());  // one too many: harmless
    });
    Add("Huge", [](std::shared_ptr<Call> call, v1::KillRequest& request) {
      v1::KillResponse response;
      response.set_id(std::string(std::stoul(request.id()), 'h'));
      call->Reply(response);
    });
    // Takes as many descriptors as the id says; answers their contents, and sends them back.
    RegisterMethod<v1::KillRequest>(
        *server_, "test.Service", "Files",
        [](std::shared_ptr<Call> call, v1::KillRequest&) {
          v1::KillResponse response;
          std::vector<UniqueFd> fds;
          for (ClientFd& fd : call->TakeFds()) fds.push_back(fd.Take());
          for (auto& fd : fds) response.mutable_id()->append(Contents(fd) + ";");
          call->Reply(response, std::move(fds));
        },
        [](const v1::KillRequest& request) { return std::stoul(request.id()); });
    // As many as the id says, and no more.
    RegisterMethod<v1::KillRequest>(
        *server_, "test.Service", "Exact",
        [](std::shared_ptr<Call> call, v1::KillRequest&) { call->Reply(v1::KillResponse()); },
        [](const v1::KillRequest& request) {
          return FdNeed(std::stoul(request.id()), "too few", "too many");
        });
  }
  void Add(const char* name, std::function<void(std::shared_ptr<Call>, v1::KillRequest&)> handler) {
    RegisterMethod<v1::KillRequest>(*server_, "test.Service", name, std::move(handler));
  }

  // Runs `client` on a thread while the loop serves.
  void Serve(const std::function<void()>& client) {
    std::thread thread([&] {
      client();
      loop_->PostFromThread([this] { loop_->Stop(); });
    });
    auto result = loop_->Run();
    EXPECT_TRUE(result) << result.error().Message();
    thread.join();
  }
  // On the loop's thread, from the client's.
  void OnLoop(const std::function<void()>& task) {
    std::atomic<bool> done = false;
    loop_->PostFromThread([&] {
      task();
      done = true;
    });
    while (!done) std::this_thread::sleep_for(milliseconds(1));
  }
  // Until the loop's thread finds it true.
  void WaitFor(const std::function<bool()>& condition) {
    bool met = false;
    for (int turn = 0; turn < 10'000 && !met; ++turn) OnLoop([&] { met = condition(); });
    EXPECT_TRUE(met);
  }
  Client Connect() { return Client(listener_.address, listener_.length); }
  static std::string IdOf(const std::string& payload) {
    v1::KillResponse response;
    EXPECT_TRUE(response.ParseFromString(payload));
    return response.id();
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<RpcServer> server_;
  std::vector<std::shared_ptr<Call>> kept_;
  int cancelled_ = 0;
  Listener listener_;
};

TEST_F(RpcServerTest, AnswersCallsWithTheirStreamAndPeer) {
  Start();
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "Echo", Client::Kill("one")) +
                Client::Request(3, "Echo", Client::Kill("three")));
    auto first = client.Receive(), second = client.Receive();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(1u, first->id);
    EXPECT_EQ("one", IdOf(first->payload));
    EXPECT_EQ(3u, second->id);
    EXPECT_EQ("three", IdOf(second->payload));
    client.Send(Client::Request(5, "Whose", ""));
    EXPECT_EQ(std::to_string(getuid()) + " " + std::to_string(getpid()),
              IdOf(client.Receive()->payload));
  });
  EXPECT_EQ(0u, server_->calls_in_progress());
}

TEST_F(RpcServerTest, DataMayBeCutAnywhere) {
  Start();
  Serve([&] {
    Client client = Connect();
    const std::string bytes = Client::Request(1, "Echo", Client::Kill("one")) +
                              Client::Request(3, "Echo", Client::Kill("three"));
    for (char byte : bytes) client.Send(std::string(1, byte));
    EXPECT_EQ("one", IdOf(client.Receive()->payload));
    EXPECT_EQ("three", IdOf(client.Receive()->payload));
  });
}

TEST_F(RpcServerTest, LargeMessagesFitUpToTheLimit) {
  Start();
  Serve([&] {
    Client client = Connect();
    const std::string large((4u << 20) - 200, 'x');
    client.Send(Client::Request(1, "Echo", Client::Kill(large)));
    auto answer = client.Receive();
    ASSERT_TRUE(answer);
    EXPECT_TRUE(IdOf(answer->payload) == large);
    client.Send(Client::Request(3, "Huge", Client::Kill(std::to_string(4u << 20))));
    EXPECT_EQ(13, client.Code());
    client.Send(Client::Request(5, "Echo", Client::Kill(std::string(4u << 20, 'y'))));
    auto refused = client.Receive();
    ASSERT_TRUE(refused);
    EXPECT_EQ(3, refused->code);
    EXPECT_EQ(5u, refused->id);
    client.Send(Client::Request(7, "Echo", Client::Kill("still here")));
    EXPECT_EQ("still here", IdOf(client.Receive()->payload));
  });
}

TEST_F(RpcServerTest, ErrorKindsHaveTheCodesOfTheProtocol) {
  Start();
  Serve([&] {
    Client client = Connect();
    const std::map<ErrorKind, int> codes = {
        {ErrorKind::kInternal, 13},    {ErrorKind::kInvalid, 3},     {ErrorKind::kNotFound, 5},
        {ErrorKind::kExists, 6},       {ErrorKind::kDenied, 7},      {ErrorKind::kOverloaded, 8},
        {ErrorKind::kPrecondition, 9}, {ErrorKind::kUnavailable, 14}};
    uint32_t id = 1;
    for (auto [kind, code] : codes) {
      client.Send(
          Client::Request(id, "Refuse", Client::Kill(std::to_string(static_cast<int>(kind)))));
      id += 2;
      auto answer = client.Receive();
      ASSERT_TRUE(answer);
      EXPECT_EQ(code, answer->code);
      EXPECT_EQ("write /x: No space left on device (why)", answer->message);
    }
  });
}

TEST_F(RpcServerTest, BadRequestsAreAnsweredAndTheConnectionGoesOn) {
  Start();
  Serve([&] {
    Client client = Connect();
    v1::TtrpcRequest unknown;
    unknown.set_service("no.Service");
    client.Send(Frame(1, unknown.SerializeAsString()));
    EXPECT_EQ(12, client.Code());
    client.Send(Client::Request(3, "NoMethod", ""));
    EXPECT_EQ(12, client.Code());
    client.Send(Client::Request(5, "Echo", "\xff\xff not a message"));
    EXPECT_EQ(3, client.Code());
    client.Send(Frame(7, "\xff\xff not an envelope"));
    EXPECT_EQ(3, client.Code());
    client.Send(Frame(4, ""));  // even
    EXPECT_EQ(3, client.Code());
    client.Send(Frame(7, ""));  // used
    EXPECT_EQ(3, client.Code());
    client.Send(Frame(9, "", 3));  // data
    EXPECT_EQ(3, client.Code());
    client.Send(Frame(9, "", 1, 2));  // a stream
    EXPECT_EQ(12, client.Code());
    client.Send(Client::Request(11, "Drop", ""));
    EXPECT_EQ(13, client.Code());
    client.Send(Client::Request(13, "Echo", Client::Kill("fine")));
    EXPECT_EQ("fine", IdOf(client.Receive()->payload));
  });
}

TEST_F(RpcServerTest, LostFramingClosesTheConnection) {
  Start();
  Serve([&] {
    Client zero = Connect();
    zero.Send(Frame(0, "abc"));
    EXPECT_EQ(-1, zero.Code());
    Client http = Connect();
    http.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    http.Close();
    Client type = Connect();
    type.Send(Frame(1, "abc", 77));
    EXPECT_EQ(3, type.Code());
    EXPECT_EQ(-1, type.Code());
  });
}

TEST_F(RpcServerTest, DescriptorsGoToTheCallTheyCameWith) {
  Start();
  UniqueFd a = MemoryFile("a"), b = MemoryFile("b"), c = MemoryFile("c");
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "Files", Client::Kill("2")), {a.get(), b.get()});
    client.Send(Client::Request(3, "Echo", Client::Kill("between")));
    client.Send(Client::Request(5, "Files", Client::Kill("1")), {c.get()});
    auto first = client.Receive();
    ASSERT_TRUE(first);
    EXPECT_EQ("a;b;", IdOf(first->payload));
    ASSERT_EQ(2u, first->fds.size());
    EXPECT_EQ("a", Contents(first->fds[0]));
    EXPECT_EQ("b", Contents(first->fds[1]));
    EXPECT_EQ(0, client.Code());
    auto last = client.Receive();
    ASSERT_TRUE(last);
    EXPECT_EQ("c;", IdOf(last->payload));
  });
}

TEST_F(RpcServerTest, DescriptorsOfARefusedCallNeverReachAnother) {
  Start();
  UniqueFd wrong = MemoryFile("wrong"), right = MemoryFile("right");
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "NoMethod", Client::Kill("1")), {wrong.get()});
    EXPECT_EQ(12, client.Code());
    client.Send(Client::Request(3, "Files", Client::Kill("1")), {right.get()});
    auto answer = client.Receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ("right;", IdOf(answer->payload));
    // More than asked for, and none where some are needed.
    client.Send(Client::Request(5, "Files", Client::Kill("1")), {right.get(), wrong.get()});
    EXPECT_EQ("right;", IdOf(client.Receive()->payload));
    client.Send(Client::Request(7, "Files", Client::Kill("1")));
    EXPECT_EQ(3, client.Code());
    // A frame too long with one in its middle.
    std::string big = Frame(9, std::string(5u << 20, 'x'));
    client.Send(big.substr(0, 1u << 20));
    client.Send(big.substr(1u << 20), {wrong.get()});
    EXPECT_EQ(3, client.Code());
    client.Send(Client::Request(11, "Files", Client::Kill("1")), {right.get()});
    EXPECT_EQ("right;", IdOf(client.Receive()->payload));
  });
}

TEST_F(RpcServerTest, AMethodMayWantNoMoreDescriptorsThanItsOwn) {
  Start();
  UniqueFd a = MemoryFile("a"), b = MemoryFile("b");
  Serve([&] {
    Client client = Connect();
    const auto exact = [](uint32_t id, const char* count) {
      return Client::Request(id, "Exact", Client::Kill(count));
    };
    client.Send(exact(1, "1"));
    EXPECT_EQ(3, client.Code());
    client.Send(exact(3, "0"), {a.get()});
    EXPECT_EQ(3, client.Code());
    client.Send(exact(5, "1"), {a.get(), b.get()});
    EXPECT_EQ(3, client.Code());
    client.Send(exact(7, "1"), {a.get()});
    EXPECT_EQ(0, client.Code());
    // One write: it is the second one's.
    client.Send(exact(9, "0") + Client::Request(11, "Files", Client::Kill("1")), {b.get()});
    EXPECT_EQ(0, client.Code());
    EXPECT_EQ("b;", IdOf(client.Receive()->payload));
  });
}

TEST_F(RpcServerTest, UnclearDescriptorsCloseTheConnection) {
  Start();
  UniqueFd file = MemoryFile("file");
  Serve([&] {
    Client client = Connect();
    // One write: whose the descriptor is cannot be told once the first request is refused.
    client.Send(Client::Request(1, "NoMethod", "") + Client::Request(3, "Files", Client::Kill("1")),
                {file.get()});
    EXPECT_EQ(12, client.Code());
    EXPECT_EQ(-1, client.Code());
    Client hoarder = Connect();
    for (int i = 0; i < 3; ++i) hoarder.Send("x", std::vector<int>(7, file.get()));
    EXPECT_EQ(-1, hoarder.Code());
  });
}

TEST_F(RpcServerTest, VanishedClientCancelsItsCalls) {
  Start();
  Serve([&] {
    {
      Client client = Connect();
      client.Send(Client::Request(1, "Keep", "") + Client::Request(3, "Keep", ""));
      WaitFor([&] { return server_->calls_in_progress() == 2; });
    }
    WaitFor([&] { return cancelled_ == 2; });
    OnLoop([&] {
      EXPECT_EQ(0u, server_->calls_in_progress());
      EXPECT_EQ(0u, server_->connections());
      EXPECT_TRUE(kept_[0]->cancelled());
      bool told = false;
      kept_[0]->OnCancel([&] { told = true; });
      EXPECT_TRUE(told);
      kept_.clear();
    });
  });
}

TEST_F(RpcServerTest, TimeoutOfACallIsKept) {
  Start();
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "Keep", "", 5'000'000));
    EXPECT_EQ(4, client.Code());
    client.Send(Client::Request(3, "Echo", Client::Kill("x"), 10'000'000'000));
    EXPECT_EQ(0, client.Code());
    OnLoop([&] { EXPECT_EQ(1, cancelled_); });
  });
}

TEST_F(RpcServerTest, LimitsOfCallsAndConnections) {
  Start({.max_connections = 2, .max_calls_per_connection = 3});
  Serve([&] {
    Client client = Connect();
    for (uint32_t id = 1; id <= 7; id += 2) client.Send(Client::Request(id, "Keep", ""));
    auto answer = client.Receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(8, answer->code);
    EXPECT_EQ(7u, answer->id);
    Client second = Connect(), third = Connect();
    EXPECT_EQ(8, third.Code());
    EXPECT_EQ(-1, third.Code());
    second.Send(Client::Request(1, "Release", ""));
    EXPECT_EQ(0, second.Code());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(0, client.Code());
    client.Close();
    Client again = Connect();
    again.Send(Client::Request(1, "Echo", Client::Kill("x")));
    auto code = again.Code();
    EXPECT_TRUE(code == 0 || code == 8) << code;  // 8: the close was not seen yet
  });
}

TEST_F(RpcServerTest, ClientThatDoesNotReadIsCutOff) {
  Start({.max_pending_write_bytes = 8u << 20});
  Serve([&] {
    Client lazy = Connect();
    std::string requests;
    for (uint32_t id = 1; id < 20; id += 2) {
      requests += Client::Request(id, "Huge", Client::Kill("3000000"));
    }
    lazy.Send(requests);
    WaitFor([&] { return server_->connections() == 0; });
    Client other = Connect();
    other.Send(Client::Request(1, "Echo", Client::Kill("served")));
    EXPECT_EQ(0, other.Code());
  });
}

TEST_F(RpcServerTest, DrainingRefusesNewCallsAndFinishesOldOnes) {
  Start();
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "Keep", ""));
    client.Send(Client::Request(3, "Echo", Client::Kill("x")));
    EXPECT_EQ(0, client.Code());
    OnLoop([&] { server_->Drain(); });
    client.Send(Client::Request(5, "Echo", Client::Kill("x")));
    EXPECT_EQ(14, client.Code());
    OnLoop([&] {
      EXPECT_EQ(1u, server_->calls_in_progress());
      for (auto& call : kept_) call->Reply(v1::KillResponse());
      kept_.clear();
      EXPECT_EQ(0u, server_->calls_in_progress());
    });
    auto answer = client.Receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(1u, answer->id);
    EXPECT_EQ(0, answer->code);
  });
}

TEST_F(RpcServerTest, CallsMayOutliveTheirServer) {
  Start();
  Serve([&] {
    Client client = Connect();
    client.Send(Client::Request(1, "Keep", "") + Client::Request(3, "Echo", Client::Kill("x")));
    EXPECT_EQ(0, client.Code());
  });
  server_.reset();
  for (auto& call : kept_) call->Reply(v1::KillResponse());
  kept_.clear();
}

}  // namespace
}  // namespace spore
