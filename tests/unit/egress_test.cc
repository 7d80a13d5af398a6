// What the proxy of a session reads: rules, addresses, name servers' answers, clients' requests.
#include <gtest/gtest.h>

#include <random>

#include "daemon/egress/dns.h"
#include "daemon/egress/proxy.h"
#include "daemon/egress/request.h"
#include "daemon/egress/resolver.h"
#include "daemon/egress/rules.h"

namespace spore::egress {
namespace {

std::vector<Rule> Rules(const std::string& text) {
  if (text.empty()) return {};
  auto rules = ParseRules(text);
  EXPECT_TRUE(rules) << (rules ? "" : rules.error().Message());
  return rules ? *rules : std::vector<Rule>();
}

std::string ProblemOf(const std::string& text) {
  const auto rules = ParseRules(text);
  return rules ? "" : rules.error().Message();
}

Kind KindOfText(const std::string& text) {
  return KindOf(*ParseAddress(text));
}

TEST(Address, Forms) {
  for (const char* text : {"127.1", "0x7f.0.0.1", "2130706433", "010.0.0.1", "1.2.3.4.5", "",
                           "1.2.3.4 ", "fe80::1%lo", "[::1]", "localhost"})
    EXPECT_FALSE(ParseAddress(text)) << text;
  EXPECT_EQ(ToText(*ParseAddress("2001:DB8:0::1")), "2001:db8::1");
  EXPECT_EQ(*ParseAddress("::ffff:10.1.2.3"), *ParseAddress("10.1.2.3"));
  EXPECT_EQ(ToText(*ParseEndpoint("[2001:db8::1]:53", 1)), "[2001:db8::1]:53");
  EXPECT_EQ(ToText(*ParseEndpoint("2001:db8::1", 53)), "[2001:db8::1]:53");
  EXPECT_EQ(ToText(*ParseEndpoint("192.0.2.1:5353", 53)), "192.0.2.1:5353");
  for (const char* text :
       {"192.0.2.1:0", "192.0.2.1:", "[192.0.2.1", "x:53", ":53", "[]:1", "[::1]53"})
    EXPECT_FALSE(ParseEndpoint(text, 53)) << text;
}

TEST(Address, Kinds) {
  for (const char* text :
       {"8.8.8.8", "198.51.100.1", "2001:db8::1", "2606:4700::1111", "172.32.0.1"})
    EXPECT_EQ(KindOfText(text), Kind::kPublic) << text;
  for (const char* text :
       {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.19.0.1",
        "fd00::1", "fec0::1", "64:ff9b::a00:1", "2002:a00:1::1", "2001::1"})
    EXPECT_EQ(KindOfText(text), Kind::kPrivate) << text;
  for (const char* text :
       {"127.0.0.1", "127.255.0.1", "169.254.169.254", "::1", "fe80::1", "168.63.129.16",
        "64:ff9b::7f00:1", "2002:a9fe:a9fe::", "::ffff:127.0.0.1"})
    EXPECT_EQ(KindOfText(text), Kind::kHost) << text;
  for (const char* text : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1",
                           "::", "::1.2.3.4", "ff02::1", "64:ff9b::e000:1"})
    EXPECT_EQ(KindOfText(text), Kind::kNever) << text;
}

TEST(Rules, TextAndBack) {
  const std::string text =
      "pypi.org:443,*.example.com:80-90,*:443,10.0.0.0/8:*,10.1.2.3:5432,[2001:db8::/"
      "32]:443,[::1]:1";
  EXPECT_EQ(ToText(Rules(text)), text);
  EXPECT_EQ(ToText(Rules("PyPI.org.:443,pypi.org:443,1.2.3.4/32:1")), "pypi.org:443,1.2.3.4:1");
}

TEST(Rules, WhatIsNone) {
  for (const char* text : {"",
                           ",",
                           "a",
                           "a:",
                           ":1",
                           "a:0",
                           "a:65536",
                           "a:1-",
                           "a:2-1",
                           "a:x",
                           "a:-1",
                           "a:1,",
                           "*.*:1",
                           "*.:1",
                           "a*.b:1",
                           "**:1",
                           "a..b:1",
                           "-a:1",
                           "a-:1",
                           "a b:1",
                           "[::1]",
                           "::1:1",
                           "[1.2.3.4]:1",
                           "[x]:1",
                           "1.2.3.4/33:1",
                           "1.2.3.4/x:1",
                           "1.2.3.4/8:1",
                           "[::1/129]:1",
                           "1.2.3:1",
                           "a/8:1",
                           "http://a:1",
                           "a:1:2"})
    EXPECT_NE(ProblemOf(text).find("rule \""), std::string::npos)
        << text << ": " << ProblemOf(text);
}

TEST(Rules, Ceiling) {
  const auto covers = [](const std::string& ceiling, const std::string& asked) {
    const auto wide = Rules(ceiling), narrow = Rules(asked);
    return FirstBeyond(wide, narrow) == nullptr;
  };
  EXPECT_TRUE(covers("a.test:1-9", "a.test:2-3"));
  EXPECT_FALSE(covers("a.test:1-9", "a.test:9-10"));
  EXPECT_FALSE(covers("a.test:1", "b.a.test:1"));
  EXPECT_TRUE(covers("*.a.test:*", "b.a.test:1,*.a.test:2,*.c.a.test:3"));
  EXPECT_FALSE(covers("*.a.test:*", "a.test:1"));
  EXPECT_FALSE(covers("*.a.test:*", "*:1"));
  EXPECT_FALSE(covers("*.a.test:*", "*.test:1"));
  EXPECT_TRUE(covers("*:443", "a.test:443,*.b.test:443,*:443,8.8.8.8:443"));
  EXPECT_FALSE(covers("*:443", "10.0.0.1:443"));
  EXPECT_FALSE(covers("*:443", "8.0.0.0/8:443"));
  EXPECT_TRUE(covers("10.0.0.0/8:*", "10.1.0.0/16:1,10.1.2.3:2"));
  EXPECT_FALSE(covers("10.1.0.0/16:*", "10.0.0.0/8:1"));
  EXPECT_FALSE(covers("0.0.0.0/0:*", "127.0.0.1:1"));
  EXPECT_TRUE(covers("127.0.0.1:*", "127.0.0.1:1"));
  EXPECT_FALSE(covers("0.0.0.0/0:*", "[::1]:1"));
  EXPECT_FALSE(covers("", "a.test:1"));
}

TEST(Rules, Refusals) {
  auto rules = Rules("a.test:1,*:2,10.0.0.0/8:3,127.0.0.1:4,10.0.0.5:4,0.0.0.0/0:5");
  VouchForHost(Rules("127.0.0.1:4"), rules);
  const auto why = [&](const char* address, uint16_t port, bool named, bool own = false) {
    return WhyRefused(rules, {*ParseAddress(address), port}, named, own);
  };
  EXPECT_EQ(why("8.8.8.8", 1, true), "");
  EXPECT_NE(why("8.8.8.8", 1, false), "");
  EXPECT_EQ(why("8.8.8.8", 2, false), "");
  EXPECT_NE(why("8.8.8.8", 2, false, true), "");
  EXPECT_NE(why("10.0.0.1", 1, true), "");
  EXPECT_EQ(why("10.0.0.1", 3, true), "");
  EXPECT_NE(why("10.0.0.1", 3, true, true), "");
  EXPECT_EQ(why("127.0.0.1", 4, false, true), "");
  EXPECT_NE(why("127.0.0.2", 4, false, true), "");
  EXPECT_EQ(why("10.0.0.5", 4, false), "");
  EXPECT_NE(why("10.0.0.5", 4, false, true), "");  // the operator has not listed that address
  EXPECT_NE(why("127.0.0.1", 5, false, true), "");
  EXPECT_NE(why("169.254.169.254", 5, false), "");
  EXPECT_NE(why("224.0.0.1", 5, false), "");
}

TEST(Rules, Names) {
  EXPECT_EQ(NormalName("A.b-c._x.ORG."), "a.b-c._x.org");
  for (const char* text : {"", ".", "a..b", "127.1", "a.1", "1", "0x7f.0x1", "a\n", "-a", "a-",
                           "a/b", "a:b", "\xc3\xa4.de"})
    EXPECT_FALSE(NormalName(text)) << text;
  EXPECT_FALSE(NormalName(std::string(64, 'a') + ".b"));
  EXPECT_FALSE(NormalName(std::string(300, 'a')));
  const auto rules = Rules("*.b.test:1");
  EXPECT_TRUE(AllowsName(rules, "a.b.test", 1));
  EXPECT_FALSE(AllowsName(rules, "b.test", 1) || AllowsName(rules, "xb.test", 1) ||
               AllowsName(rules, "a.b.test", 2));
}

// ---- answers of name servers ----

std::vector<uint8_t> Answer(const std::string& query, uint16_t flags, const std::string& records,
                            uint8_t count) {
  std::string message = query.substr(0, query.size() - 11) + records;
  message[2] = static_cast<char>(flags >> 8);
  message[3] = static_cast<char>(flags & 0xff);
  message[7] = static_cast<char>(count);
  message[11] = 0;
  return {message.begin(), message.end()};
}

using namespace std::string_literals;
const std::string kRecordA = "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xcb\0\x71\2"s;
const std::string kRecordMapped =
    "\xc0\x0c\0\x1c\0\1\0\0\0\5\0\x10\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"s;
const std::string kRecordCname = "\xc0\x0c\0\5\0\1\0\0\0\5\0\4\1x\xc0\x0c"s;

TEST(Dns, Answers) {
  const std::string query = MakeQuery(7, "web.test", kTypeA);
  const auto parse = [&](const std::vector<uint8_t>& message, const char* name = "web.test",
                         uint16_t type = kTypeA) { return ParseAnswer(message, 7, name, type); };
  const auto good = parse(Answer(query, 0x8180, kRecordCname + kRecordA, 2));
  ASSERT_TRUE(good);
  ASSERT_EQ(good->addresses.size(), 1u);
  EXPECT_EQ(ToText(good->addresses[0]), "203.0.113.2");
  EXPECT_EQ(parse(Answer(query, 0x8183, "", 0))->code, DnsAnswer::Code::kNoSuchName);
  EXPECT_EQ(parse(Answer(query, 0x8182, "", 0))->code, DnsAnswer::Code::kFailed);
  EXPECT_EQ(parse(Answer(query, 0x8180, "", 0))->code, DnsAnswer::Code::kNone);
  EXPECT_EQ(parse(Answer(query, 0x8380, "", 0))->code, DnsAnswer::Code::kCut);
  EXPECT_FALSE(parse(Answer(query, 0x0100, kRecordA, 1)));                // a question
  EXPECT_FALSE(parse(Answer(query, 0x8180, kRecordA, 1), "other.test"));  // of another name
  EXPECT_FALSE(parse(Answer(query, 0x8180, kRecordA, 1), "web.test", kTypeAaaa));
  EXPECT_FALSE(ParseAnswer(Answer(query, 0x8180, kRecordA, 1), 8, "web.test", kTypeA));
  const auto mapped = parse(Answer(MakeQuery(7, "web.test", kTypeAaaa), 0x8180, kRecordMapped, 1),
                            "web.test", kTypeAaaa);
  ASSERT_TRUE(mapped && mapped->addresses.size() == 1);
  EXPECT_EQ(ToText(mapped->addresses[0]), "127.0.0.1");
}

TEST(Dns, Hostile) {
  const std::string query = MakeQuery(7, "web.test", kTypeA);
  std::string many;
  for (int i = 0; i < 100; ++i) many += kRecordA;
  EXPECT_EQ(ParseAnswer(Answer(query, 0x8180, many, 100), 7, "web.test", kTypeA)->addresses.size(),
            kMaxAddresses);
  // A name that leads to itself, or forward.
  for (const std::string& pointer : {"\xc0\x1a"s, "\xc0\xff"s, "\xff\xff"s, "\x80"s, "\x3f"s}) {
    const auto answer =
        ParseAnswer(Answer(query, 0x8180, pointer + kRecordA.substr(2), 1), 7, "web.test", kTypeA);
    EXPECT_TRUE(!answer || answer->addresses.empty());
  }
  const auto whole = Answer(query, 0x8180, kRecordCname + kRecordA, 2);
  for (size_t size = 0; size < whole.size(); ++size)
    (void)ParseAnswer(std::span(whole).first(size), 7, "web.test", kTypeA);
  std::mt19937 chance(1);
  for (int i = 0; i < 20000; ++i) {
    auto broken = whole;
    for (unsigned j = 0; j <= chance() % 4; ++j)
      broken[chance() % broken.size()] = static_cast<uint8_t>(chance());
    (void)ParseAnswer(broken, 7, "web.test", kTypeA);
  }
}

TEST(Dns, ResolvConf) {
  const auto servers =
      ParseResolvConf("# x\nsearch a\nnameserver 192.0.2.1\n nameserver ::1\nnameserver bad\n");
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(ToText(servers[1]), "[::1]:53");
  EXPECT_EQ(ToText(ParseResolvConf("")[0]), "127.0.0.1:53");
}

// ---- requests ----

struct Read {
  RequestReader::State state;
  Request request;
  std::string reply, rest;
};

// In pieces of so many bytes.
Read ReadAll(const std::string& text, size_t piece) {
  RequestReader reader;
  std::string input, reply;
  auto state = RequestReader::State::kMore;
  for (size_t at = 0; at < text.size(); at += piece) {
    input += text.substr(at, piece);
    if (state == RequestReader::State::kDone) continue;
    do {
      state = reader.Read(&input);
      if (state == RequestReader::State::kReply || state == RequestReader::State::kRefused)
        reply += reader.reply();
    } while (state == RequestReader::State::kReply);
    if (state == RequestReader::State::kRefused) break;
  }
  return {state, reader.request(), reply, input};
}

TEST(Requests, InWhateverPieces) {
  for (const size_t piece : {1u, 2u, 3u, 7u, 1000u}) {
    const Read connect = ReadAll("CONNECT Web.Test:443 HTTP/1.1\r\nX: y\r\n\r\nhello", piece);
    EXPECT_EQ(connect.state, RequestReader::State::kDone);
    EXPECT_EQ(connect.request.Place(), "web.test:443");
    EXPECT_EQ(connect.rest, "hello");
    const Read six = ReadAll("CONNECT [::ffff:10.0.0.1]:1 HTTP/1.0\r\n\r\n", piece);
    EXPECT_EQ(six.request.Place(), "10.0.0.1:1");
    const Read plain = ReadAll(
        "GET HTTP://web.test?q HTTP/1.1\r\nHost: other\r\nProxy-Connection: x\r\nConnection: "
        "y\r\nA: b\r\n\r\n",
        piece);
    EXPECT_EQ(plain.request.head,
              "GET /?q HTTP/1.1\r\nHost: web.test\r\nA: b\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(plain.request.Place(), "web.test:80");
    const Read upgrade = ReadAll(
        "GET HTTP://w.test:81/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        piece);
    EXPECT_NE(upgrade.request.head.find("Connection: Upgrade\r\n"), std::string::npos);
    const Read socks =
        ReadAll("\x05\x02\x02\0\x05\x01\0\x03\x08Web.TestIC!"s.replace(17, 2, "\x01\xbb"), piece);
    EXPECT_EQ(socks.state, RequestReader::State::kDone) << piece;
    EXPECT_EQ(socks.request.Place(), "web.test:443");
    EXPECT_EQ(socks.reply, "\x05\0"s);
    EXPECT_EQ(socks.rest, "!");
  }
}

TEST(Requests, Bounded) {
  RequestReader reader;
  std::string input = "GET http://a/ HTTP/1.1\r\nA: ";
  size_t fed = 0;
  auto state = RequestReader::State::kMore;
  for (; state == RequestReader::State::kMore && fed < 1'000'000; fed += 100) {
    input += std::string(100, 'x');
    state = reader.Read(&input);
  }
  EXPECT_EQ(state, RequestReader::State::kRefused);
  EXPECT_LT(fed, kMaxHead + 200);
  EXPECT_TRUE(reader.reply().starts_with("HTTP/1.1 431 "));
}

TEST(Requests, ByChance) {
  std::mt19937 chance(2);
  const std::string seeds[] = {"CONNECT web.test:443 HTTP/1.1\r\nX: y\r\n\r\n",
                               "GET HTTP://web.test/a HTTP/1.1\r\nHost: b\r\nC: d\r\n\r\n",
                               "\x05\x01\0\x05\x01\0\x03\x08web.test\x01\xbb"s};
  for (int i = 0; i < 30000; ++i) {
    std::string text = seeds[chance() % 3];
    for (unsigned j = 0; j <= chance() % 5; ++j) {
      const size_t at = chance() % text.size();
      text.replace(at, chance() % 3, std::string(chance() % 3, static_cast<char>(chance())));
      if (text.empty()) text = "x";
    }
    const Read read = ReadAll(text, 1 + chance() % 50);
    if (read.state != RequestReader::State::kDone) continue;
    EXPECT_NE(read.request.port, 0);
    EXPECT_TRUE(read.request.address || NormalName(read.request.name) == read.request.name) << text;
    EXPECT_EQ(read.request.head.find('\0'), std::string::npos);
  }
}

TEST(Settings, Text) {
  const auto settings =
      ParseSettings("rule a.test:1\nhost-rule 127.0.0.1:2\nserver 192.0.2.1:53\n");
  ASSERT_TRUE(settings);
  EXPECT_TRUE(settings->rules[1].reaches_host && !settings->rules[0].reaches_host);
  EXPECT_EQ(ToText(settings->servers[0]), "192.0.2.1:53");
  EXPECT_FALSE(ParseSettings("nonsense\n"));
}

}  // namespace
}  // namespace spore::egress
