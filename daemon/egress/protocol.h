// What spored and the proxy of a session say to each other, over a SOCK_SEQPACKET socket.
//
//   spored -> proxy   once, first: lines of text, "rule R", "host-rule R" (reaches_host), "server
//   A:P" proxy -> spored   Reports: the first when it serves; then when something has changed. To
//   spored
//                     they are hostile: the proxy reads what a tenant sends.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spore::egress {

constexpr uint32_t kReportMagic = 0x45475201;
constexpr size_t kMaxLine = 400;

struct Counters {
  uint64_t connections = 0;  // that were let through
  uint64_t refused = 0;      // by the rules
  uint64_t failed = 0;       // name not found, no answer, a broken request, too many at once
  uint64_t sent_bytes = 0;   // out of the sandbox
  uint64_t received_bytes = 0;
  uint32_t open = 0;  // now
  uint32_t reserved = 0;
};

struct Report {
  uint32_t magic = kReportMagic;
  uint32_t reserved = 0;
  Counters counters;         // of this proxy, since its start
  char line[kMaxLine] = {};  // for the session's log; empty: none. NUL-terminated
};

// In the sandbox; the variables of its environment name it.
constexpr uint16_t kProxyPort = 3128;

constexpr uint32_t kMaxConnections = 128;  // of a session, at once
constexpr int kListenerFd = 3;
constexpr int kControlFd = 4;

}  // namespace spore::egress
