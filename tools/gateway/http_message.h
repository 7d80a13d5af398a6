// Requests and responses of HTTP/1.1, as the rest of the gateway sees them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace spore::gateway {

struct Header {
  std::string name;  // of a request: in lower case
  std::string value;
};

struct HttpRequest {
  std::string method;
  std::string target;  // as it came: percent-encoded, query included
  unsigned version = 11;
  std::vector<Header> headers;
  std::string body;
  std::string peer;  // address of the client; empty on a UNIX socket

  std::string_view path() const { return std::string_view(target).substr(0, target.find('?')); }
  std::string_view query() const {
    const std::size_t mark = target.find('?');
    return mark == std::string::npos ? std::string_view()
                                     : std::string_view(target).substr(mark + 1);
  }
  // The first of that name; empty when there is none.
  std::string_view Get(std::string_view name) const {
    for (const Header& header : headers) {
      if (header.name == name) return header.value;
    }
    return {};
  }
  bool Has(std::string_view name) const {
    for (const Header& header : headers) {
      if (header.name == name) return true;
    }
    return false;
  }
};

struct HttpResponse {
  int status = 200;
  std::vector<Header> headers;
  std::string body;
  bool close = false;  // the connection, after this
};

// One request and the place for its answer. Whoever handles it may hold it for as long as it takes.
class Exchange {
 public:
  virtual ~Exchange() = default;
  HttpRequest request;

  // Once; harmless when the client has gone.
  virtual void Respond(HttpResponse response) = 0;
  // Runs when the client goes away before the answer.
  virtual void OnVanish(std::function<void()> vanished) = 0;
  virtual bool vanished() const = 0;
};
using ExchangePtr = std::shared_ptr<Exchange>;

// What serves requests.
class HttpHandler {
 public:
  // What is decided when the headers are there and the body is not.
  struct Admission {
    bool admitted = false;
    std::size_t max_body = 0;  // when admitted
    HttpResponse refusal;      // else
    // Instead of the plain answer, when the body turns out larger than max_body.
    std::function<HttpResponse(std::size_t max_body)> too_large;
  };

  virtual ~HttpHandler() = default;
  virtual Admission Admit(const HttpRequest& head) = 0;
  virtual void Handle(const ExchangePtr& exchange) = 0;
};

}  // namespace spore::gateway
