// The gateway's configuration: TOML, and what the command line puts in its place.
#pragma once

#include <string>

#include "tools/client/error.h"
#include "tools/gateway/http_connection.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

struct Config {
  std::string listen = "127.0.0.1:8080";  // HOST:PORT, unix:PATH, systemd
  std::string socket = "/run/spore/spored.sock";
  std::string token_file;
  std::string key_file;
  std::string tls_certificate;  // with tls_key: PEM files
  std::string tls_key;
  std::string user;  // to become, when started as root
  bool public_functions = false;
  std::size_t spored_connections = 8;
  HttpLimits http;
  GatewayLimits limits;
};

// Only at the default path a missing file is fine.
client::Result<Config> LoadConfig(const std::string& path);
std::string DefaultConfigPath();

}  // namespace spore::gateway
