#include "tools/gateway/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <string_view>

#include "tools/gateway/secret_file.h"

namespace spore::gateway {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

// Of the oldest error in the thread's queue, which is emptied.
std::string Reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "unknown" : text;
}

// Instead of the default, which asks on the terminal.
int NoPassword(char*, int, int, void*) {
  return -1;
}

// ALPN: HTTP/1.1, or no agreement with who does not offer it (RFC 7301).
int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_length,
                   const unsigned char* offered, unsigned int offered_length, void*) {
  static constexpr unsigned char kHttp[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, kHttp, sizeof kHttp - 1, offered,
                            offered_length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(SSL* ssl, int socket) : ssl_(ssl), socket_(socket) {}
  ~TlsTransport() override { SSL_free(ssl_); }

  ssize_t Read(char* buffer, std::size_t size) override {
    ERR_clear_error();
    return Done(SSL_read(ssl_, buffer, Bounded(size)));
  }
  ssize_t Write(const char* data, std::size_t size) override {
    ERR_clear_error();
    return Done(SSL_write(ssl_, data, Bounded(size)));
  }
  void EndWriting() override {
    ERR_clear_error();
    if (!broken_ && SSL_is_init_finished(ssl_) != 0) SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  bool plain() const override { return false; }

 private:
  static int Bounded(std::size_t size) {
    return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
  }
  ssize_t Done(int result) {
    if (result > 0) return result;
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      default:
        break;
    }
    // After this nothing may be asked of it any more (SSL_get_error(3)).
    if (!broken_ && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST) TellPlain();
    broken_ = true;
    ERR_clear_error();
    errno = EPROTO;
    return -1;
  }
  // To one who speaks HTTP without TLS, in what it understands.
  void TellPlain() {
    static constexpr std::string_view kAnswer =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 34\r\n"
        "Connection: close\r\n\r\nthis port speaks TLS: use https:\r\n";
    (void)::send(socket_, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::shutdown(socket_, SHUT_WR);
    // What is left unread would make the kernel reset the connection, and the answer be lost.
    std::array<char, 16 << 10> rest;
    (void)::recv(socket_, rest.data(), rest.size(), MSG_DONTWAIT);
  }

  SSL* ssl_;
  int socket_;
  bool broken_ = false;
};

std::string TimeText(const ASN1_TIME* time) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  if (!out || ASN1_TIME_print(out.get(), time) != 1) return "unknown";
  const long size = BIO_get_mem_data(out.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

BioPtr Memory(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

client::Result<> TlsContext::UseCertificates(const std::string& pem, const std::string& path) {
  const BioPtr in = Memory(pem);
  for (int count = 0;; ++count) {
    const CertificatePtr certificate(PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr));
    if (!certificate) {
      const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      const std::string reason = Reason();
      if (count > 0 && end) return {};
      return client::LocalError(path + ": expected certificates in PEM form, the server's first: " +
                                (end ? "holds none" : reason));
    }
    if (count == 0) {
      if (SSL_CTX_use_certificate(context_, certificate.get()) != 1)
        return client::LocalError(path + ": this certificate cannot be used: " + Reason());
      valid_until_ = TimeText(X509_get0_notAfter(certificate.get()));
      expired_ = X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0;
    } else if (SSL_CTX_add1_chain_cert(context_, certificate.get()) != 1) {
      return client::LocalError(path + ": certificate " + std::to_string(count + 1) +
                                " cannot be used: " + Reason());
    }
  }
}

client::Result<> TlsContext::UseKey(const std::string& pem, const std::string& path) {
  const BioPtr in = Memory(pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, NoPassword, nullptr));
  if (!key) {
    ERR_clear_error();
    const bool encrypted = pem.find("ENCRYPTED") != std::string::npos;
    return client::LocalError(path + ": expected a private key in PEM form, " +
                              (encrypted ? "not encrypted" : "found none"));
  }
  if (SSL_CTX_use_PrivateKey(context_, key.get()) == 1 && SSL_CTX_check_private_key(context_) == 1)
    return {};
  return client::LocalError(path + ": is not the key of the certificate: " + Reason());
}

client::Result<std::shared_ptr<TlsContext>> TlsContext::Load(const std::string& certificate,
                                                             const std::string& key) {
  auto certificate_text = ReadSmallFile(certificate);
  if (!certificate_text) return tl::unexpected(certificate_text.error());
  auto key_text = ReadSecretFile(key);
  if (!key_text) return tl::unexpected(key_text.error());
  std::shared_ptr<TlsContext> tls(new TlsContext);
  tls->context_ = SSL_CTX_new(TLS_server_method());
  if (tls->context_ == nullptr) return client::LocalError("TLS: " + Reason());
  SSL_CTX* context = tls->context_;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // A client that went without saying so is one that went: what HTTP needs to know, lengths say.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
  if (auto used = tls->UseCertificates(*certificate_text, certificate); !used)
    return tl::unexpected(used.error());
  if (auto used = tls->UseKey(*key_text, key); !used) return tl::unexpected(used.error());
  return tls;
}

std::unique_ptr<Transport> TlsContext::Accept(int socket) const {
  ERR_clear_error();
  SSL* ssl = SSL_new(context_);
  if (ssl == nullptr) return nullptr;
  if (SSL_set_fd(ssl, socket) != 1) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_accept_state(ssl);
  return std::make_unique<TlsTransport>(ssl, socket);
}

}  // namespace spore::gateway
