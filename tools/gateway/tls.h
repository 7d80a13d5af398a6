// TLS for the gateway's clients (OpenSSL): a certificate with its key, and connections that show
// it.
#pragma once

#include <memory>
#include <string>

#include "tools/client/error.h"
#include "tools/gateway/transport.h"

struct ssl_ctx_st;

namespace spore::gateway {

// TLS 1.2 and later; HTTP/1.1 is the only protocol that is agreed on. Connections that have been
// made keep what they need of it.
class TlsContext {
 public:
  // `certificate`: PEM, the server's own first, then those that lead to its authority. `key`: PEM,
  // not encrypted, and for its owner only. An error names the file and what is wrong with it.
  static client::Result<std::shared_ptr<TlsContext>> Load(const std::string& certificate,
                                                          const std::string& key);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // For a client on `socket`, which stays the caller's; null when there is no memory. The handshake
  // is part of the first reads.
  std::unique_ptr<Transport> Accept(int socket) const;
  // For people: until when the certificate is good.
  const std::string& valid_until() const { return valid_until_; }
  bool expired() const { return expired_; }

 private:
  TlsContext() = default;
  client::Result<> UseCertificates(const std::string& pem, const std::string& path);
  client::Result<> UseKey(const std::string& pem, const std::string& path);

  ssl_ctx_st* context_ = nullptr;
  std::string valid_until_;
  bool expired_ = false;
};

}  // namespace spore::gateway
