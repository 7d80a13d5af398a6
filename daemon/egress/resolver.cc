#include "daemon/egress/resolver.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <utility>

#include "daemon/egress/rules.h"

namespace spore::egress {
namespace {

constexpr size_t kRounds = 2;  // through all servers
constexpr uint64_t kPatienceMs = 2000;
constexpr size_t kMaxServers = 3;
constexpr size_t kMaxHosts = 4096;
constexpr int kMaxPackets = 32;  // taken at once

void KeepFew(std::vector<Address>* to, const std::vector<Address>& from) {
  for (const Address& address : from) {
    if (to->size() >= kMaxAddresses) return;
    if (std::find(to->begin(), to->end(), address) == to->end()) to->push_back(address);
  }
}

}  // namespace

std::vector<Endpoint> ParseResolvConf(const std::string& text) {
  std::vector<Endpoint> servers;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && servers.size() < kMaxServers;) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    if (key != "nameserver") continue;
    if (const auto address = ParseAddress(value)) servers.push_back({*address, 53});
  }
  if (servers.empty()) servers.push_back({*ParseAddress("127.0.0.1"), 53});
  return servers;
}

Resolver::Resolver(Poller& poller, std::vector<Endpoint> servers, const std::string& hosts_text)
    : poller_(poller), servers_(std::move(servers)) {
  std::istringstream lines(hosts_text);
  for (std::string line; std::getline(lines, line) && hosts_.size() < kMaxHosts;) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;
    const auto address = ParseAddress(word);
    while (address && words >> word)
      if (const auto name = NormalName(word)) KeepFew(&hosts_[*name], {*address});
  }
}

Resolver::~Resolver() {
  for (auto& [id, lookup] : lookups_) CloseSocket(lookup);
}

void Resolver::CloseSocket(Lookup& lookup) {
  if (lookup.socket) poller_.Remove(lookup.socket.get());
  lookup.socket.Reset();
}

uint64_t Resolver::Resolve(const std::string& name, Done done) {
  const uint64_t id = next_id_++;
  Lookup& lookup = lookups_[id];
  lookup.name = name;
  lookup.done = std::move(done);
  const auto known = hosts_.find(name);
  if (known == hosts_.end()) {
    Ask(id);
  } else {
    lookup.known = known->second;  // told by the next Tick
  }
  return id;
}

void Resolver::Cancel(uint64_t id) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  CloseSocket(found->second);
  lookups_.erase(found);
}

// A socket of its own for each attempt: its port is random, and connected, so that only that
// server's answers come in.
void Resolver::Ask(uint64_t id) {
  Lookup& lookup = lookups_.at(id);
  CloseSocket(lookup);
  lookup.until_ms = 0;  // where something fails the next attempt follows at once
  sockaddr_storage address;
  const socklen_t length = ToSockaddr(servers_[lookup.attempt % servers_.size()], &address);
  lookup.socket.Reset(socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!lookup.socket ||
      connect(lookup.socket.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    lookup.socket.Reset();
    return;
  }
  if (!poller_.Add(lookup.socket.get(), EPOLLIN, [this, id](uint32_t) { Answered(id); })) {
    lookup.socket.Reset();
    return;
  }
  std::array<uint16_t, 2> ids{};
  if (getrandom(ids.data(), sizeof ids, 0) != sizeof ids) return;
  for (size_t i = 0; i < 2; ++i) {
    Lookup::Question& question = lookup.questions[i];
    question.type = i == 0 ? kTypeA : kTypeAaaa;
    question.id = ids[i];
    if (question.answered) continue;
    const std::string query = MakeQuery(question.id, lookup.name, question.type);
    if (send(lookup.socket.get(), query.data(), query.size(), MSG_NOSIGNAL) < 0) return;
  }
  lookup.until_ms = NowMs() + kPatienceMs;
}

// False: the socket has failed, so nobody listens there.
bool Resolver::TakeAnswers(Lookup& lookup) {
  for (int i = 0; i < kMaxPackets; ++i) {
    std::array<uint8_t, 4096> packet;
    const ssize_t size = recv(lookup.socket.get(), packet.data(), packet.size(), 0);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    for (Lookup::Question& question : lookup.questions) {
      if (question.answered) continue;
      const auto answer = ParseAnswer(std::span(packet.data(), static_cast<size_t>(size)),
                                      question.id, lookup.name, question.type);
      if (!answer) continue;
      question.answer = *answer;
      // What a server could not answer another may.
      question.answered = answer->code != DnsAnswer::Code::kFailed;
      if (!question.answered) return false;
    }
  }
  return true;
}

void Resolver::Answered(uint64_t id) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  const bool goes_on = TakeAnswers(lookup);
  if (lookup.questions[0].answered && lookup.questions[1].answered) return Finish(id, "");
  if (!goes_on) {
    CloseSocket(lookup);
    lookup.until_ms = 0;
  }
}

void Resolver::Finish(uint64_t id, const std::string& problem) {
  auto lookup = lookups_.extract(id);
  CloseSocket(lookup.mapped());
  Resolved resolved;
  resolved.addresses = lookup.mapped().known;
  bool exists = false, cut = false;
  for (const auto& question : lookup.mapped().questions) {
    KeepFew(&resolved.addresses, question.answer.addresses);
    exists = exists || (question.answered && question.answer.code != DnsAnswer::Code::kNoSuchName);
    cut = cut || question.answer.code == DnsAnswer::Code::kCut;
  }
  std::stable_sort(resolved.addresses.begin(), resolved.addresses.end(),
                   [](const Address& a, const Address& b) { return a.v4 && !b.v4; });
  if (resolved.addresses.empty()) {
    resolved.problem = !problem.empty() ? problem
                       : cut            ? "the name server's answer is too long"
                       : exists         ? "the name has no address"
                                        : "there is no such name";
  }
  lookup.mapped().done(resolved);
}

void Resolver::Tick(uint64_t now_ms) {
  std::vector<uint64_t> due;
  for (const auto& [id, lookup] : lookups_)
    if (lookup.until_ms <= now_ms) due.push_back(id);
  for (const uint64_t id : due) {
    const auto found = lookups_.find(id);
    if (found == lookups_.end()) continue;
    Lookup& lookup = found->second;
    if (!lookup.known.empty()) {
      Finish(id, "");
    } else if (++lookup.attempt < kRounds * servers_.size()) {
      Ask(id);
    } else {
      Finish(id, "no name server has answered");
    }
  }
}

}  // namespace spore::egress
