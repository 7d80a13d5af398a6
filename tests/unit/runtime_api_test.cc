// The Runtime API's states: which request is answered how in which of them.
#include "zygote/hosts/provided/runtime_api.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

namespace spore {
namespace {

using nlohmann::json;
using wire::FrameType;

constexpr const char* kBase = "/2018-06-01/runtime/";

class RuntimeApiTest : public testing::Test {
 protected:
  RuntimeApi::Outcome Ask(const std::string& method, const std::string& path,
                          const std::string& body = "", const std::string& error_type = "") {
    HttpRequest request;
    request.method = method;
    request.path = kBase + path;
    request.body = body;
    if (!error_type.empty())
      request.fields.emplace_back("lambda-runtime-function-error-type", error_type);
    return api_.Handle(request);
  }
  // Status, and errorType where there is one.
  std::string Refusal(const std::string& method, const std::string& path) {
    const RuntimeApi::Outcome outcome = Ask(method, path, "{}");
    EXPECT_FALSE(outcome.report);
    if (!outcome.reply) return "waits";
    const json body = json::parse(outcome.reply->body);
    return std::to_string(outcome.reply->status) + " " + body.value("errorType", "");
  }
  void Give(const std::string& id) {
    EXPECT_FALSE(Ask("GET", "invocation/next").reply);
    EXPECT_TRUE(api_.may_take());
    const HttpReply reply = api_.Deliver({.frame_id = 7,
                                          .request_id = id,
                                          .arn = "arn:x",
                                          .client_context = "",
                                          .deadline_ms = 5,
                                          .payload = "[]"});
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "[]");
    EXPECT_FALSE(api_.may_take());
  }

  RuntimeApi api_{100};
};

TEST_F(RuntimeApiTest, AnEventIsAnsweredOnce) {
  Give("one");
  EXPECT_TRUE(api_.began());
  EXPECT_EQ(Refusal("GET", "invocation/next"), "403 InvalidStateTransition");
  EXPECT_EQ(Refusal("POST", "invocation/other/response"), "400 InvalidRequestID");
  EXPECT_EQ(Refusal("POST", "invocation/other/error"), "400 InvalidRequestID");
  EXPECT_EQ(Refusal("POST", "init/error"), "403 InvalidStateTransition");
  const RuntimeApi::Outcome done = Ask("POST", "invocation/one/response", "any bytes");
  ASSERT_TRUE(done.reply && done.report);
  EXPECT_EQ(done.reply->status, 202);
  EXPECT_EQ(json::parse(done.reply->body), json({{"status", "OK"}}));
  EXPECT_EQ(done.report->type, FrameType::kResponse);
  EXPECT_EQ(done.report->frame_id, 7u);
  EXPECT_EQ(done.report->body, "any bytes");
  EXPECT_EQ(Refusal("POST", "invocation/one/response"), "403 InvalidStateTransition");
  EXPECT_EQ(Refusal("POST", "invocation/one/error"), "403 InvalidStateTransition");
  Give("two");
  EXPECT_EQ(Refusal("POST", "invocation/one/response"), "400 InvalidRequestID");
}

TEST_F(RuntimeApiTest, ErrorsKeepWhatTheySay) {
  const struct {
    std::string body, header, type, message;
  } cases[] = {
      {R"({"errorType":"A","errorMessage":"m","stackTrace":["1",2,"3"]})", "H", "A", "m"},
      {R"({"errorMessage":"m"})", "H", "H", "m"},
      {"{}", "", "Runtime.UnknownReason", ""},
      {"text", "", "Runtime.UnknownReason", "text"},
      {"\xff", "H", "H", "\xef\xbf\xbd"},
  };
  for (const auto& expected : cases) {
    Give("one");
    const RuntimeApi::Outcome done =
        Ask("POST", "invocation/one/error", expected.body, expected.header);
    ASSERT_TRUE(done.reply && done.report);
    EXPECT_EQ(done.reply->status, 202);
    EXPECT_EQ(done.report->type, FrameType::kFailed);
    const json error = json::parse(done.report->body);
    EXPECT_EQ(error["errorType"], expected.type);
    EXPECT_EQ(error["errorMessage"], expected.message);
    if (expected.type == "A") {
      EXPECT_EQ(error["stackTrace"], json({"1", "3"}));
    }
  }
}

TEST_F(RuntimeApiTest, WhatIsTooLargeIsAnError) {
  Give("one");
  const RuntimeApi::Outcome done = Ask("POST", "invocation/one/response", std::string(101, 'x'));
  ASSERT_TRUE(done.reply && done.report);
  EXPECT_EQ(done.reply->status, 413);
  EXPECT_EQ(json::parse(done.reply->body)["errorType"], "RequestEntityTooLarge");
  EXPECT_EQ(done.report->type, FrameType::kFailed);
  EXPECT_EQ(json::parse(done.report->body)["errorType"], "Function.ResponseSizeTooLarge");
  Give("two");
  EXPECT_EQ(Ask("POST", "invocation/two/response", std::string(100, 'x')).reply->status, 202);
}

TEST_F(RuntimeApiTest, AStreamMayBreak) {
  Give("one");
  const RuntimeApi::Outcome done = Ask("POST", "invocation/one/response", "half", "Broken");
  EXPECT_EQ(done.report->type, FrameType::kFailed);
  EXPECT_EQ(json::parse(done.report->body)["errorType"], "Broken");
}

TEST_F(RuntimeApiTest, WhatWasNotReadIsGivenAgain) {
  Give("one");
  api_.TakeBack();
  Give("one");
  EXPECT_EQ(Ask("POST", "invocation/one/response", "1").reply->status, 202);
}

TEST_F(RuntimeApiTest, ABeginThatFails) {
  EXPECT_EQ(Refusal("POST", "invocation//response"), "403 InvalidStateTransition");
  EXPECT_EQ(Refusal("POST", "restore/error"), "403 InvalidStateTransition");
  EXPECT_FALSE(api_.began());
  const RuntimeApi::Outcome failed = Ask("POST", "init/error", "{\"errorType\":\"A\"}", "H");
  ASSERT_TRUE(failed.reply && failed.report);
  EXPECT_EQ(failed.reply->status, 202);
  EXPECT_EQ(failed.report->type, FrameType::kFatal);
  EXPECT_EQ(json::parse(failed.report->body)["errorType"], "A");
}

TEST_F(RuntimeApiTest, RestoringIsDoneAtOnce) {
  EXPECT_EQ(Refusal("GET", "restore/next"), "200 ");
  EXPECT_EQ(Refusal("GET", "restore/next"), "403 InvalidStateTransition");
  EXPECT_EQ(Ask("POST", "restore/error", "{}").report->type, FrameType::kFatal);
  Give("one");
  EXPECT_EQ(Refusal("POST", "restore/error"), "403 InvalidStateTransition");
}

TEST_F(RuntimeApiTest, OtherPathsAndMethods) {
  for (const char* path : {"", "invocation", "invocation/", "invocation/x", "invocation/x/y",
                           "next", "invocation/next/", "../runtime/invocation/next", "init"}) {
    EXPECT_EQ(Refusal("GET", path), "404 NotFound") << path;
  }
  EXPECT_EQ(Refusal("POST", "invocation/next"), "405 MethodNotAllowed");
  EXPECT_EQ(Refusal("GET", "invocation/x/response"), "405 MethodNotAllowed");
  EXPECT_EQ(Refusal("PUT", "init/error"), "405 MethodNotAllowed");
}

TEST(ParseEvent, TakesWhatSporedSends) {
  const std::string meta = R"({"request_id":"r","deadline_ms":9,"arn":"a","client_context":{ "x":)"
                           "\n\t1}}";
  const auto length = static_cast<uint32_t>(meta.size());
  std::string body(sizeof length, '\0');
  memcpy(body.data(), &length, sizeof length);
  const auto event = ParseEvent(3, body + meta);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->request_id, "r");
  EXPECT_EQ(event->deadline_ms, 9);
  EXPECT_EQ(event->client_context, "{ \"x\":  1}");
  EXPECT_EQ(event->payload, "null");
  EXPECT_EQ(ParseEvent(3, body + meta + "[1]")->payload, "[1]");
  EXPECT_FALSE(ParseEvent(3, "ab"));
  EXPECT_FALSE(ParseEvent(3, body));
}

}  // namespace
}  // namespace spore
