// A custom runtime for Lambda functions on bare sockets: one connection, one event after another.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void Fail(const char* what) {
  perror(what);
  exit(1);
}

int Connect() {
  const std::string api = getenv("AWS_LAMBDA_RUNTIME_API");
  const size_t colon = api.find(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(api.substr(colon + 1))));
  inet_pton(AF_INET, api.substr(0, colon).c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    Fail("connect");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

struct Answer {
  std::string head, body;
  std::string Field(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

Answer Ask(int fd, const std::string& request) {
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t part = send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (part <= 0) Fail("send");
    sent += static_cast<size_t>(part);
  }
  Answer answer;
  std::string& text = answer.head;
  static char buffer[1 << 16];
  size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) Fail("recv");
    text.append(buffer, static_cast<size_t>(got));
  }
  answer.body = text.substr(end + 4);
  text.resize(end + 2);
  const size_t length = std::stoul(answer.Field("Content-Length"));
  while (answer.body.size() < length) {
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) Fail("recv");
    answer.body.append(buffer, static_cast<size_t>(got));
  }
  return answer;
}

}  // namespace

int main() {
  const std::string base = "/2018-06-01/runtime/invocation/";
  const int fd = Connect();
  for (unsigned long count = 1;; ++count) {
    const Answer event = Ask(fd, "GET " + base + "next HTTP/1.1\r\nHost: here\r\n\r\n");
    const std::string id = event.Field("Lambda-Runtime-Aws-Request-Id");
    const std::string body =
        "{\"count\":" + std::to_string(count) + ",\"event\":" + event.body + "}";
    const Answer taken =
        Ask(fd, "POST " + base + id + "/response HTTP/1.1\r\nHost: here\r\nContent-Length: " +
                    std::to_string(body.size()) + "\r\n\r\n" + body);
    if (taken.head.find(" 202 ") == std::string::npos) Fail("not accepted");
  }
}
