#include "daemon/common/validate.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

std::string Words(const Result<>& result) {
  return result ? "" : result.error().Message();
}
std::string Words(const Result<v1::Limits>& result) {
  return result ? "" : result.error().Message();
}

TEST(ValidateTest, FunctionNames) {
  for (const char* good : {"a", "9", "Hello-World_2"}) {
    EXPECT_TRUE(ValidateFunctionName(good)) << good;
  }
  EXPECT_TRUE(ValidateFunctionName(std::string(64, 'a')));
  for (const char* bad : {"", "-a", "_a", "a.b", "a/b", "..", "a b", "na\u00efve"}) {
    EXPECT_FALSE(ValidateFunctionName(bad)) << bad;
  }
  EXPECT_FALSE(ValidateFunctionName(std::string(65, 'a')));
  EXPECT_FALSE(ValidateFunctionName(std::string("a\0b", 3)));
  EXPECT_EQ(
      "name: \"a\\x0ab\" is not valid; expected 1 to 64 of A-Z a-z 0-9 _ -, the first a "
      "letter or digit",
      Words(ValidateFunctionName("a\nb")));
}

TEST(ValidateTest, LongValuesAreCutBetweenCharacters) {
  std::string words = Words(ValidateFunctionName(std::string(99, 'a') + "\u00e9" + "tail"));
  EXPECT_NE(std::string::npos, words.find("aaa\u00e9...\" is not"));
}

TEST(ValidateTest, Handlers) {
  for (const char* good : {"app.handler", "a.b.c", "src/app.handler", "my-module.handle_1",
                           "m\u00f6dul.h\u00e4ndler"}) {
    EXPECT_TRUE(ValidateHandler("python", good)) << good;
  }
  for (const char* bad : {"", "app", ".handler", "app.", "app..handler", "../app.handler",
                          "/app.handler", "app.1x", "app.han dler", "a b.handler", "app.h()"}) {
    EXPECT_FALSE(ValidateHandler("python", bad)) << bad;
  }
  EXPECT_FALSE(ValidateHandler("python", std::string(200, 'a') + ".b"));
  EXPECT_EQ(
      "runtime: \"cobol\" is not known; expected \"java\", \"native\", \"node\", \"provided\" or "
      "\"python\"",
      Words(ValidateHandler("cobol", "a.b")));
}

TEST(ValidateTest, NodeHandlers) {
  for (const char* good : {"index.handler", "src/app.handler", "a.b.c", "my-app.$handle_1",
                           "a+b/c.handler", "node_modules/@me/x/index.default"}) {
    EXPECT_TRUE(ValidateHandler("node", good)) << good;
  }
  for (const char* bad : {"", "index", ".handler", "index.", "index..handler", "../index.handler",
                          "a/../b.handler", "./index.handler", "/index.handler", "index.1x",
                          "index.han dler", "a b/c.d", "a/.handler", "index.h()", "a//b.c"}) {
    EXPECT_FALSE(ValidateHandler("node", bad)) << bad;
  }
  EXPECT_EQ(
      "handler: \"index\" is not valid; expected file.function, as in \"index.handler\" for "
      "exports.handler in index.js or index.mjs, at most 128 bytes",
      Words(ValidateHandler("node", "index")));
}

TEST(ValidateTest, NativeHandlers) {
  for (const char* good : {"libhello.so:handle", "lib/libhello.so.1:_handle2", "hello:handle"}) {
    EXPECT_TRUE(ValidateHandler("native", good)) << good;
  }
  for (const char* bad :
       {"", "libhello.so", "libhello.handle", ":handle", "libhello.so:", "libhello.so:a-b",
        "libhello.so:1a", "/libhello.so:handle", "../libhello.so:handle", "./libhello.so:handle",
        "a//b.so:handle", "a b.so:handle", "a:b.so:handle", "libhello.so:h\u00e4ndler"}) {
    EXPECT_FALSE(ValidateHandler("native", bad)) << bad;
  }
  EXPECT_EQ(
      "handler: \"app.handler\" is not valid; expected file:symbol, as in \"libhello.so:handle\" "
      "for handle() in libhello.so, at most 128 bytes",
      Words(ValidateHandler("native", "app.handler")));
}

TEST(ValidateTest, JavaHandlers) {
  for (const char* good : {"Handler", "com.example.Handler", "com.example.Outer$Inner::handle",
                           "a.b_1.C::m$2", "k\u00f6ln.Dom::main"}) {
    EXPECT_TRUE(ValidateHandler("java", good)) << good;
  }
  for (const char* bad :
       {"", "com..Handler", ".Handler", "com.example.", "com/example/Handler", "1com.Handler",
        "com.example.Handler::", "::handle", "com.example.Handler:handle", "Handler.handle()",
        "com.example.Handler::a.b", "com.example.Handler::a::b", "com.exa mple.Handler"}) {
    EXPECT_FALSE(ValidateHandler("java", bad)) << bad;
  }
  EXPECT_EQ(
      "handler: \"com/Handler\" is not valid; expected package.Class or package.Class::method, as "
      "in \"com.example.Handler\", at most 128 bytes",
      Words(ValidateHandler("java", "com/Handler")));
}

TEST(ValidateTest, Environment) {
  google::protobuf::Map<std::string, std::string> environment;
  environment["PATH_2"] = "any\nvalue";
  EXPECT_TRUE(ValidateEnvironment(environment));
  environment["X"] = std::string("a\0b", 3);
  EXPECT_EQ("environment.X: the value holds a NUL byte", Words(ValidateEnvironment(environment)));
  environment["X"] = std::string(70000, 'x');
  EXPECT_FALSE(ValidateEnvironment(environment));
  for (const char* bad : {"", "A=B", "2X", "A-B"}) {
    environment.clear();
    environment[bad] = "v";
    EXPECT_FALSE(ValidateEnvironment(environment)) << bad;
  }
  environment.clear();
  for (int i = 0; i < 257; ++i) environment["V" + std::to_string(i)] = "";
  EXPECT_EQ("environment: 257 variables; expected at most 256",
            Words(ValidateEnvironment(environment)));
}

TEST(ValidateTest, DefaultsAreThoseOfTheProtocol) {
  v1::Limits limits = DefaultLimits();
  EXPECT_EQ(128u << 20, limits.memory_bytes());
  EXPECT_EQ(1000u, limits.cpu_millis());
  EXPECT_EQ(64u, limits.pids());
  EXPECT_EQ(64u << 20, limits.tmp_bytes());
  EXPECT_EQ(1024u, limits.open_files());
  EXPECT_EQ(30000u, limits.timeout_ms());
  EXPECT_EQ(6u << 20, limits.payload_bytes());
  EXPECT_EQ(6u << 20, limits.response_bytes());
  EXPECT_EQ(1u << 20, limits.output_bytes());
  EXPECT_EQ(100u, limits.max_instances());
  EXPECT_EQ(60000u, limits.idle_ms());
}

TEST(ValidateTest, LimitsAreFilledInAndChecked) {
  v1::Limits asked;
  asked.set_pids(7);
  v1::Limits base = DefaultLimits();
  base.set_timeout_ms(5000);
  auto resolved = ResolveLimits(asked, base);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(7u, resolved->pids());
  EXPECT_EQ(5000u, resolved->timeout_ms());
  EXPECT_EQ(128u << 20, resolved->memory_bytes());

  asked.set_memory_bytes(1024);
  EXPECT_EQ("limits.memory_bytes: 1024 is out of range; expected 16777216 to 68719476736",
            Words(ResolveLimits(asked, base)));
  asked.clear_memory_bytes();
  asked.set_pids(40000);
  EXPECT_EQ("limits.pids: 40000 is out of range; expected 1 to 32768",
            Words(ResolveLimits(asked, base)));
}

TEST(ValidateTest, ConfigurationNarrows) {
  v1::Limits asked, max;
  max.set_pids(32);
  max.set_memory_bytes(64u << 20);
  auto resolved = ResolveLimits(asked, DefaultLimits(), max);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(32u, resolved->pids());
  EXPECT_EQ(64u << 20, resolved->memory_bytes());
  asked.set_pids(33);
  EXPECT_EQ("limits.pids: 33 is out of range; expected 1 to 32",
            Words(ResolveLimits(asked, DefaultLimits(), max)));
}

// Every field of the message has a range: one that is added must be added here too.
TEST(ValidateTest, NoFieldIsForgotten) {
  EXPECT_EQ(11, v1::Limits::descriptor()->field_count());
}

}  // namespace
}  // namespace spore
