// The client library: frames against bytes, calls against a tiny server of ours on a socket pair.
#include "tools/client/connection.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "spore/v1/spore.pb.h"
#include "tests/unit/sockets.h"
#include "tools/client/frame.h"
#include "tools/client/memfd.h"
#include "tools/client/pack.h"

namespace spore::client {
namespace {

constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

TEST(FrameTest, HeaderIsBigEndianInProtocolOrder) {
  const auto bytes = EncodeHeader({0x01020304, 0x05060708, 1, 0});
  const std::array<char, 10> expected{1, 2, 3, 4, 5, 6, 7, 8, 1, 0};
  EXPECT_EQ(bytes, expected);
}

TEST(FrameTest, DecodesWhatItEncodes) {
  const FrameHeader header{0xfffffffe, 0x80000001, kFrameResponse, 0xff};
  const auto bytes = EncodeHeader(header);
  const auto decoded = DecodeHeader({bytes.data(), bytes.size()});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, header);
}

TEST(FrameTest, NineBytesAreNoHeader) {
  EXPECT_FALSE(DecodeHeader(std::string(9, '\0')));
  EXPECT_TRUE(DecodeHeader(std::string(10, '\0')));
}

// One request as it stands on the wire.
struct Received {
  FrameHeader header;
  v1::TtrpcRequest request;
  std::vector<Fd> fds;
};

// The server's end of a socket pair: reads frames by hand, answers with the bytes it is given.
class FakeServer {
 public:
  FakeServer() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    socket_.Reset(ends[0]);
    client_end_.Reset(ends[1]);
  }

  Connection Connect() { return Connection(std::move(client_end_)); }

  Received Read() {
    Received received;
    std::string header = ReadBytes(kFrameHeaderBytes, received.fds);
    received.header = *DecodeHeader(header);
    EXPECT_TRUE(received.request.ParseFromString(ReadBytes(received.header.length, received.fds)));
    return received;
  }

  void Write(const std::string& bytes, const std::vector<int>& fds = {}) {
    EXPECT_EQ(SendWithFds(socket_.get(), bytes, fds), static_cast<ssize_t>(bytes.size()));
  }

  void Answer(uint32_t stream_id, const google::protobuf::MessageLite& message,
              const std::vector<int>& fds = {}) {
    v1::TtrpcResponse envelope;
    envelope.set_payload(message.SerializeAsString());
    Write(Frame(stream_id, envelope), fds);
  }

  void Refuse(uint32_t stream_id, int code, const std::string& why) {
    v1::TtrpcResponse envelope;
    envelope.mutable_status()->set_code(code);
    envelope.mutable_status()->set_message(why);
    Write(Frame(stream_id, envelope));
  }

  static std::string Frame(uint32_t stream_id, const v1::TtrpcResponse& envelope) {
    const std::string body = envelope.SerializeAsString();
    const auto header =
        EncodeHeader({static_cast<uint32_t>(body.size()), stream_id, kFrameResponse, 0});
    return std::string(header.data(), header.size()) + body;
  }

  void Close() { socket_.Reset(); }

 private:
  std::string ReadBytes(std::size_t bytes, std::vector<Fd>& fds) {
    std::string data(bytes, '\0');
    for (std::size_t done = 0; done < bytes;) {
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 4)> control{};
      iovec part{data.data() + done, bytes - done};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
      if (got <= 0) {
        ADD_FAILURE() << "the client closed in the middle of a frame";
        return data;
      }
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
        EXPECT_EQ(done, 0u) << "descriptors must come with the frame's first byte";
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
          fds.emplace_back(fd);
        }
      }
      done += static_cast<std::size_t>(got);
    }
    return data;
  }

  Fd socket_;
  Fd client_end_;
};

v1::InspectRequest Inspect(const std::string& id) {
  v1::InspectRequest request;
  request.set_id(id);
  return request;
}

TEST(ConnectionTest, RequestOnTheWire) {
  FakeServer server;
  Connection connection = server.Connect();
  ASSERT_EQ(*connection.Send("spore.v1.Instances", "Inspect", Inspect("abc")), 1u);
  ASSERT_EQ(*connection.Send("spore.v1.Instances", "Inspect", Inspect("def")), 3u);
  const Received first = server.Read();
  EXPECT_EQ(first.header.type, kFrameRequest);
  EXPECT_EQ(first.header.flags, 0);
  EXPECT_EQ(first.header.stream_id, 1u);
  EXPECT_EQ(first.request.service(), "spore.v1.Instances");
  EXPECT_EQ(first.request.method(), "Inspect");
  EXPECT_EQ(first.request.payload(), Inspect("abc").SerializeAsString());
  EXPECT_EQ(server.Read().header.stream_id, 3u);
}

TEST(ConnectionTest, CallReturnsTheAnswer) {
  FakeServer server;
  Connection connection = server.Connect();
  std::thread answering([&server] {
    const Received received = server.Read();
    v1::Instance instance;
    instance.set_id("abcdef");
    server.Answer(received.header.stream_id, instance);
  });
  const auto instance =
      connection.Call<v1::Instance>("spore.v1.Instances", "Inspect", Inspect("abc"));
  answering.join();
  ASSERT_TRUE(instance) << instance.error().message;
  EXPECT_EQ(instance->id(), "abcdef");
}

TEST(ConnectionTest, RefusalCarriesCodeAndMessage) {
  FakeServer server;
  Connection connection = server.Connect();
  server.Refuse(1, kNotFound, "no function 'x'");
  const auto instance =
      connection.Call<v1::Instance>("spore.v1.Instances", "Inspect", Inspect("x"));
  ASSERT_FALSE(instance);
  EXPECT_EQ(instance.error().kind, ErrorKind::kRefused);
  EXPECT_EQ(instance.error().code, kNotFound);
  EXPECT_EQ(instance.error().message, "no function 'x'");
}

TEST(ConnectionTest, DescriptorsGoWithTheirRequest) {
  FakeServer server;
  Connection connection = server.Connect();
  const auto memfd = SealedMemfd("test", "archive");
  ASSERT_TRUE(memfd);
  ASSERT_TRUE(connection.Send("s", "first", Inspect("1")));
  ASSERT_TRUE(connection.Send("s", "second", Inspect("2"), {memfd->get(), memfd->get()}));
  EXPECT_EQ(server.Read().fds.size(), 0u);
  Received second = server.Read();
  ASSERT_EQ(second.fds.size(), 2u);
  EXPECT_EQ(*ReadMemfd(second.fds[1], 100), "archive");
}

TEST(ConnectionTest, DescriptorsStayWithTheirAnswer) {
  FakeServer server;
  Connection connection = server.Connect();
  const auto memfd = SealedMemfd("test", "payload");
  ASSERT_TRUE(memfd);
  server.Answer(1, Inspect("plain"));
  server.Answer(3, Inspect("attached"), {memfd->get()});
  server.Answer(5, Inspect("plain"));
  EXPECT_TRUE(connection.Receive()->fds.empty());
  auto reply = connection.Receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->stream_id, 3u);
  ASSERT_EQ(reply->fds.size(), 1u);
  EXPECT_EQ(*ReadMemfd(reply->fds[0], 100), "payload");
  EXPECT_NE(::fcntl(reply->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(connection.Receive()->fds.empty());
}

TEST(ConnectionTest, AnswerMayComeByteByByte) {
  FakeServer server;
  Connection connection = server.Connect();
  v1::TtrpcResponse envelope;
  envelope.set_payload(Inspect("slow").SerializeAsString());
  std::thread answering([&server, &envelope] {
    for (char byte : FakeServer::Frame(1, envelope)) server.Write(std::string(1, byte));
  });
  const auto reply = connection.Receive();
  answering.join();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->payload, Inspect("slow").SerializeAsString());
}

TEST(ConnectionTest, LargeRequestsArriveWhole) {
  FakeServer server;
  Connection connection = server.Connect();
  const std::string id(3u << 20, 'x');
  std::thread sending([&connection, &id] { EXPECT_TRUE(connection.Send("s", "m", Inspect(id))); });
  const Received received = server.Read();
  sending.join();
  EXPECT_EQ(received.request.payload(), Inspect(id).SerializeAsString());
}

TEST(ConnectionTest, TooLargeRequestIsRefusedHere) {
  FakeServer server;
  Connection connection = server.Connect();
  const auto sent = connection.Send("s", "m", Inspect(std::string(kMaxMessageBytes, 'x')));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind, ErrorKind::kLocal);
}

TEST(ConnectionTest, WhatIsNotTtrpcIsNoticed) {
  const std::map<std::string, std::string> cases{
      {"text", "HTTP/1.1 400 Bad Request\r\n\r\n"},
      {"request type", std::string("\0\0\0\0\0\0\0\1\1\0", 10)},
      {"length", std::string("\x7f\0\0\0\0\0\0\1\2\0", 10)},
      {"message", std::string("\0\0\0\1\0\0\0\1\2\0\xff", 11)},
  };
  for (const auto& [name, bytes] : cases) {
    FakeServer server;
    Connection connection = server.Connect();
    server.Write(bytes);
    const auto reply = connection.Receive();
    ASSERT_FALSE(reply) << name;
    EXPECT_EQ(reply.error().kind, ErrorKind::kLost) << name;
  }
}

TEST(ConnectionTest, ServerThatGoesAway) {
  for (const std::string& sent :
       {std::string(), std::string("\0\0\0", 3), std::string("\0\0\0\x09\0\0\0\1\2\0abc", 13)}) {
    FakeServer server;
    Connection connection = server.Connect();
    if (!sent.empty()) server.Write(sent);
    server.Close();
    const auto reply = connection.Receive();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, ErrorKind::kLost);
    const auto again = connection.Send("s", "m", Inspect("x"));
    ASSERT_FALSE(again) << "and no SIGPIPE";
    EXPECT_EQ(again.error().kind, ErrorKind::kLost);
  }
}

TEST(ConnectionTest, UnreachableTellsWhereAndWhy) {
  const auto missing = Connection::Open("/nonexistent/spored.sock");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kUnreachable);
  EXPECT_EQ(missing.error().errno_value, ENOENT);
  EXPECT_NE(missing.error().message.find("/nonexistent/spored.sock"), std::string::npos);
  EXPECT_EQ(Connection::Open(std::string(200, 'x')).error().errno_value, ENAMETOOLONG);
}

TEST(MemfdTest, SealedForGood) {
  const auto memfd = SealedMemfd("test", "contents");
  ASSERT_TRUE(memfd);
  EXPECT_EQ(::fcntl(memfd->get(), F_GET_SEALS) & kAllSeals, kAllSeals);
  EXPECT_EQ(::pwrite(memfd->get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(*ReadMemfd(*memfd, 8), "contents");
  EXPECT_FALSE(ReadMemfd(*memfd, 7)) << "the limit holds";
}

// A directory of its own for each test.
class PackTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "spore-pack-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& name, const std::string& contents) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << contents;
  }

  // Name of each entry with its contents, "-> target" of a link, "/" of a directory; in order.
  static std::vector<std::string> List(const Fd& fd) {
    std::vector<std::string> entries;
    archive* reader = archive_read_new();
    archive_read_support_format_tar(reader);
    ::lseek(fd.get(), 0, SEEK_SET);
    EXPECT_EQ(archive_read_open_fd(reader, fd.get(), 4096), ARCHIVE_OK);
    archive_entry* entry = nullptr;
    while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
      std::string line = archive_entry_pathname(entry);
      if (archive_entry_filetype(entry) == AE_IFLNK) {
        line += std::string(" -> ") + archive_entry_symlink(entry);
      } else if (archive_entry_filetype(entry) == AE_IFREG) {
        std::string contents(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
        EXPECT_EQ(archive_read_data(reader, contents.data(), contents.size()),
                  static_cast<la_ssize_t>(contents.size()));
        line += "=" + contents;
      }
      EXPECT_EQ(archive_entry_uid(entry), 0);
      entries.push_back(line);
    }
    archive_read_free(reader);
    return entries;
  }

  std::filesystem::path root_;
};

TEST_F(PackTest, DirectorySortedAndRelative) {
  Write("b.py", "two");
  Write("a/inner.py", "one");
  Write("na\xc3\xafve \xff.txt", "odd");
  std::filesystem::create_symlink("b.py", root_ / "c.py");
  const auto fd = PackCode(root_.string() + "/");
  ASSERT_TRUE(fd) << fd.error().message;
  const std::vector<std::string> expected{"a/", "a/inner.py=one", "b.py=two", "c.py -> b.py",
                                          "na\xc3\xafve \xff.txt=odd"};
  EXPECT_EQ(List(*fd), expected);
  EXPECT_EQ(::fcntl(fd->get(), F_GET_SEALS) & kAllSeals, kAllSeals);
}

TEST_F(PackTest, SinglePythonFileKeepsItsName) {
  Write("real.py", "code");
  std::filesystem::create_symlink("real.py", root_ / "app.py");
  const auto fd = PackCode((root_ / "app.py").string());
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_EQ(List(*fd), std::vector<std::string>{"app.py=code"});
}

TEST_F(PackTest, SingleScriptOfNodeIsPackedToo) {
  for (const char* name : {"index.js", "index.cjs", "index.mjs"}) {
    Write(name, "code");
    const auto fd = PackCode((root_ / name).string());
    ASSERT_TRUE(fd) << fd.error().message;
    EXPECT_EQ(List(*fd), std::vector<std::string>{std::string(name) + "=code"});
  }
}

TEST_F(PackTest, OtherFilesGoAsTheyAre) {
  Write("code.zip", "not looked into");
  const auto fd = PackCode((root_ / "code.zip").string());
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_EQ(*ReadMemfd(*fd, 100), "not looked into");
  EXPECT_EQ(::fcntl(fd->get(), F_GET_SEALS) & kAllSeals, kAllSeals);
}

TEST_F(PackTest, LongNamesSurvive) {
  const std::string name = std::string(120, 'd') + "/" + std::string(200, 'f') + ".py";
  Write(name, "deep");
  const auto fd = PackCode(root_.string());
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_EQ(List(*fd).back(), name + "=deep");
}

TEST_F(PackTest, RefusesWithTheNameOfWhatIsWrong) {
  EXPECT_NE(PackCode((root_ / "missing").string()).error().message.find("missing"),
            std::string::npos);
  EXPECT_NE(PackCode(root_.string()).error().message.find("empty"), std::string::npos);
  ASSERT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
  EXPECT_NE(PackCode(root_.string()).error().message.find("pipe"), std::string::npos);
  EXPECT_FALSE(PackCode((root_ / "pipe").string())) << "and does not wait for a writer";
}

}  // namespace
}  // namespace spore::client
