// The parser of what a tenant writes to its request channel.
#include "daemon/instances/instance_channel.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace spore {
namespace {

using Status = FrameParser::Status;
using wire::FrameType;

std::string Bytes(FrameType type, uint64_t id, uint32_t length, const std::string& body) {
  const wire::FrameHeader header{type, length, id};
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body;
}
std::string Whole(FrameType type, uint64_t id, const std::string& body) {
  return Bytes(type, id, static_cast<uint32_t>(body.size()), body);
}

struct Reader {
  explicit Reader(uint64_t limit = 100) : parser(limit) {}
  Status Feed(const std::string& bytes) {
    return parser.Feed(std::as_bytes(std::span(bytes)), [this](Frame& frame) {
      frames.push_back(std::move(frame));
      return true;
    });
  }
  FrameParser parser;
  std::vector<Frame> frames;
};

TEST(FrameParser, FramesComeOutHoweverTheBytesAreCut) {
  const std::string stream = Whole(FrameType::kLoaded, 0, "{\"began_us\":5,\"ended_us\":6}") +
                             Whole(FrameType::kResponse, 7, "\"answer\"") +
                             Whole(FrameType::kResponse, 8, "") +
                             Whole(FrameType::kFailed, 9, "{}");
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    Reader reader;
    for (size_t at = 0; at < stream.size(); at += piece) {
      ASSERT_EQ(reader.Feed(stream.substr(at, piece)), Status::kOk);
    }
    ASSERT_EQ(reader.frames.size(), 4u) << "pieces of " << piece;
    EXPECT_EQ(reader.frames[1].body, "\"answer\"");
    EXPECT_EQ(reader.frames[1].id, 7u);
    EXPECT_EQ(reader.frames[2].body, "");
    EXPECT_EQ(reader.frames[3].type, FrameType::kFailed);
    EXPECT_FALSE(reader.parser.mid_frame());
  }
}

TEST(FrameParser, AnnouncedResponseAboveTheLimitIsToldAtItsHeader) {
  Reader reader;
  EXPECT_EQ(reader.Feed(Bytes(FrameType::kResponse, 1, 101, "")), Status::kResponseTooLarge);
  Reader exact;
  EXPECT_EQ(exact.Feed(Whole(FrameType::kResponse, 1, std::string(100, 'x'))), Status::kOk);
  EXPECT_EQ(exact.frames.size(), 1u);
}

TEST(FrameParser, UnknownTypesAreRubbish) {
  for (const uint32_t type : {0u, 1u, 2u, 3u, 8u, 15u, 24u, 0x41414141u, 0xffffffffu}) {
    Reader reader;
    EXPECT_EQ(reader.Feed(Bytes(static_cast<FrameType>(type), 0, 0, "")), Status::kRubbish) << type;
    EXPECT_NE(reader.parser.problem(), "");
  }
}

TEST(FrameParser, LengthsOutsideAFramesOwnBoundsAreRubbish) {
  const std::pair<FrameType, uint32_t> cases[] = {
      {FrameType::kConfined, 0},
      {FrameType::kConfined, sizeof(wire::Confined) - 1},
      {FrameType::kConfined, sizeof(wire::Confined) + 1},
      {FrameType::kLoaded, kMaxLoadedBody + 1},
      {FrameType::kFailed, kMaxFailedBody + 1},
      {FrameType::kFatal, 0xffffffffu},
  };
  for (const auto& [type, length] : cases) {
    Reader reader(UINT64_MAX);
    EXPECT_EQ(reader.Feed(Bytes(type, 0, length, "")), Status::kRubbish) << length;
  }
  Reader reader(UINT64_MAX);
  EXPECT_EQ(reader.Feed(Bytes(FrameType::kResponse, 0, wire::kMaxFrame + 1, "")), Status::kRubbish);
}

TEST(FrameParser, StopsWhenToldTo) {
  FrameParser parser(100);
  int seen = 0;
  const std::string two = Whole(FrameType::kResponse, 1, "1") + Whole(FrameType::kResponse, 2, "2");
  EXPECT_EQ(parser.Feed(std::as_bytes(std::span(two)),
                        [&](Frame&) {
                          ++seen;
                          return false;
                        }),
            Status::kOk);
  EXPECT_EQ(seen, 1);
}

TEST(FrameParser, SurvivesNoise) {
  std::mt19937 random(20);
  for (int round = 0; round < 2000; ++round) {
    Reader reader(4096);
    for (int chunk = 0; chunk < 8; ++chunk) {
      std::string bytes(random() % 64, '\0');
      for (char& c : bytes) c = static_cast<char>(random());
      // Half of the time a header that is nearly right.
      if (random() % 2 == 0) {
        bytes = Bytes(static_cast<FrameType>(16 + random() % 6), random(), random() % 8192, bytes);
      }
      if (reader.Feed(bytes) != Status::kOk) break;
    }
    for (const Frame& frame : reader.frames) ASSERT_LE(frame.body.size(), 1u << 20);
  }
}

TEST(ParseFailed, TakesWhatTheHostSends) {
  auto error = ParseFailed(
      R"({"errorType":"KeyError","errorMessage":"'x'","stackTrace":["  File \"app.py\"", 3, "b"]})");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->type(), "KeyError");
  EXPECT_EQ(error->message(), "'x'");
  EXPECT_EQ(error->stack_trace_size(), 2);  // what is no text is left out
}

TEST(ParseFailed, NeverYieldsTextThatProtobufRefuses) {
  for (const std::string& body :
       {std::string("\xff\xfe"), std::string("{\"errorType\":\"\xc3\"}"),
        std::string(R"({"errorMessage":"\ud800"})"), std::string("{"), std::string("")}) {
    auto error = ParseFailed(body);
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->IsInitialized());
    EXPECT_FALSE(error->SerializeAsString().empty());
  }
  EXPECT_FALSE(ParseFailed("[]"));
  EXPECT_FALSE(ParseFailed("7"));
}

TEST(ParseFailed, BoundsTheStackAndItsOwnRecursion) {
  std::string lines = "\"a\"";
  for (int i = 0; i < 5000; ++i) lines += ",\"a\"";
  auto error = ParseFailed("{\"stackTrace\":[" + lines + "]}");
  ASSERT_TRUE(error);
  EXPECT_LE(error->stack_trace_size(), 256);
  const std::string deep = std::string(400000, '[') + std::string(400000, ']');
  EXPECT_TRUE(ParseFailed("{\"errorType\":" + deep + "}"));
}

TEST(ParseLoaded, WantsTwoNumbers) {
  const LoadTimes times = ParseLoaded(R"({"began_us":12,"ended_us":13})").value();
  EXPECT_EQ(times.began_ns, 12'000u);
  EXPECT_EQ(times.ended_ns, 13'000u);
  for (const char* body : {"", "{}", "[]", "\xff", R"({"began_us":1})", R"({"ended_us":1})",
                           R"({"began_us":"1","ended_us":2})", R"({"began_us":1,"ended_us":-2})"}) {
    EXPECT_FALSE(ParseLoaded(body)) << body;
  }
  // Times a thousand it must not overflow.
  const auto far = ParseLoaded(R"({"began_us":1,"ended_us":18446744073709551615})");
  EXPECT_GT(far.value().ended_ns, uint64_t{1} << 63);
}

TEST(ParseConfined, EndsStringsAndCountsThatDoNotEnd) {
  wire::Confined confined;
  memset(static_cast<void*>(&confined), 0x41, sizeof confined);
  auto parsed = ParseConfined({reinterpret_cast<const char*>(&confined), sizeof confined});
  ASSERT_TRUE(parsed);
  EXPECT_LE(parsed->steps.count, wire::Steps::kMaxSteps);
  EXPECT_LT(strlen(parsed->failure.operation), sizeof parsed->failure.operation);
  for (const auto& step : parsed->steps.step) EXPECT_LT(strlen(step.name), sizeof step.name);
  EXPECT_FALSE(ParseConfined("short"));
}

TEST(InvokeFrame, CarriesClientContextAsItIs) {
  InvokeMeta meta{"id", 5, "arn", R"({"custom":{"a":[1]}})"};
  auto frame = InvokeFrame(3, meta, "payload");
  ASSERT_TRUE(frame);
  EXPECT_NE(frame->find(R"("client_context":{"custom":{"a":[1]}})"), std::string::npos);
  EXPECT_TRUE(frame->ends_with("payload"));
  meta.client_context = "{";
  EXPECT_FALSE(InvokeFrame(3, meta, ""));
  meta.client_context = std::string(30000, '[') + std::string(30000, ']');
  EXPECT_TRUE(InvokeFrame(3, meta, ""));
}

TEST(LoadScriptFrame, RefusesWhatIsNotText) {
  v1::RunRequest run;
  run.set_script("print('\xff')");
  auto frame = LoadScriptFrame(run, "", {});
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().kind, ErrorKind::kInvalid);
}

}  // namespace
}  // namespace spore
