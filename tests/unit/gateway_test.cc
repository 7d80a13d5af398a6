// The gateway's parts that are pure: names, encodings, signatures, JSON, the HTTP parser.
#include <gtest/gtest.h>

#include <string>

#include "tools/gateway/bounded_json.h"
#include "tools/gateway/encoding.h"
#include "tools/gateway/function_url.h"
#include "tools/gateway/http_parser.h"
#include "tools/gateway/http_serialize.h"
#include "tools/gateway/lambda_name.h"
#include "tools/gateway/sigv4.h"

namespace spore::gateway {
namespace {

TEST(FunctionNameTest, TakesEveryForm) {
  for (const char* text : {"f", "function:f", "123456789012:function:f",
                           "arn:aws:lambda:eu-west-1:123456789012:function:f"}) {
    const auto name = ParseFunctionName(text);
    ASSERT_TRUE(name) << text;
    EXPECT_EQ(name->name, "f");
    EXPECT_EQ(name->qualifier, "");
    const auto qualified = ParseFunctionName(std::string(text) + ":live");
    ASSERT_TRUE(qualified) << text;
    EXPECT_EQ(qualified->qualifier, "live");
  }
  for (const char* text : {"", ":", "f:", ":f", "a:b:c", "arn:aws:lambda", "a/b", "a b", "f:a.b",
                           "arn:aws:s3:::function:f", "f:$OTHER"}) {
    EXPECT_FALSE(ParseFunctionName(text)) << text;
  }
}

TEST(EncodingTest, PercentAndBase64) {
  EXPECT_EQ(PercentDecode("a%20b%2f"), "a b/");
  EXPECT_EQ(PercentDecode("a+b", true), "a b");
  for (const char* text : {"%", "%1", "%zz", "%00"}) EXPECT_FALSE(PercentDecode(text)) << text;
  EXPECT_EQ(PercentEncode("a b/~\xc3", true), "a%20b/~%C3");
  EXPECT_EQ(FromBase64("AAECAw=="), std::string("\0\1\2\3", 4));
  for (const char* text : {"A", "A=", "====", "AA=A", "!!!!"})
    EXPECT_FALSE(FromBase64(text)) << text;
}

TEST(EncodingTest, Utf8) {
  for (const char* text : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"})
    EXPECT_TRUE(IsUtf8(text)) << text;
  for (const char* text : {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                           "\xc3", "\xe2\x82", "a\x80"})
    EXPECT_FALSE(IsUtf8(text));
}

TEST(BoundedJsonTest, RefusesWhatIsDeepOrWide) {
  EXPECT_EQ(*ParseBounded(R"({"a": [1, {"b": null}], "a": 2})"), nlohmann::json({{"a", 2}}));
  EXPECT_FALSE(ParseBounded(std::string(100, '[') + std::string(100, ']')));
  EXPECT_FALSE(ParseBounded(std::string(1'000'000, '[')));
  std::string wide = "[0";
  for (std::size_t i = 0; i < kMaxJsonValues; ++i) wide += ",0";
  EXPECT_FALSE(ParseBounded(wide + "]"));
  for (const char* text : {"", "{", "[1,]", "nul", "\"\xff\"", "1 2"})
    EXPECT_FALSE(ParseBounded(text));
}

// AWS's own example of a signature ("get-vanilla" of its test suite): right, but of another
// service.
TEST(SigV4Test, RefusesAnotherServiceAndNonsense) {
  HttpRequest request;
  request.method = "GET";
  request.target = "/";
  request.headers = {
      {"host", "example.amazonaws.com"},
      {"x-amz-date", "20150830T123600Z"},
      {"authorization",
       "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
       "aws4_request, SignedHeaders=host;x-amz-date, "
       "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"}};
  const SigningKeys keys = {{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}};
  EXPECT_EQ(CheckSignature(request, keys, 1440938160)->type, "IncompleteSignatureException");
  request.headers.back().value = "AWS4-HMAC-SHA256 ";
  EXPECT_TRUE(CheckSignature(request, keys, 1440938160));
}

// However the bytes come, what is made of them is the same.
TEST(HttpParserTest, CutAnywhere) {
  const std::string text =
      "POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
      "0\r\nX-Trailer: y\r\n\r\nGET";
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    HttpParser parser;
    std::string buffer;
    auto progress = HttpParser::Progress::kMore;
    for (const std::string& part : {text.substr(0, cut), text.substr(cut)}) {
      buffer += part;
      while (progress != HttpParser::Progress::kDone) {
        std::string_view rest = buffer;
        progress = parser.Parse(rest);
        buffer.erase(0, buffer.size() - rest.size());
        ASSERT_NE(progress, HttpParser::Progress::kFailed) << parser.reason() << " at " << cut;
        if (progress == HttpParser::Progress::kHead) parser.SetMaxBody(5);
        if (progress == HttpParser::Progress::kMore) break;
      }
    }
    EXPECT_EQ(progress, HttpParser::Progress::kDone) << cut;
    EXPECT_EQ(parser.request().body, "abcde");
    EXPECT_EQ(parser.request().headers.size(), 2u);
    EXPECT_EQ(buffer, "GET");
  }
}

TEST(HttpParserTest, ABodyThatIsTooLarge) {
  for (const char* text : {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n",
                           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "6\r\nabcdef\r\n0\r\n\r\n"}) {
    HttpParser parser;
    std::string_view rest = text;
    ASSERT_EQ(parser.Parse(rest), HttpParser::Progress::kHead);
    parser.SetMaxBody(5);
    EXPECT_EQ(parser.Parse(rest), HttpParser::Progress::kFailed);
    EXPECT_EQ(parser.status(), 413);
  }
}

TEST(SerializeTest, LeavesOutWhatWouldBreakTheHead) {
  HttpResponse response;
  response.headers = {{"Good", "yes"}, {"Bad\r\nX", "1"}, {"Bad", "a\r\nX: 1"}, {"", "x"}};
  response.body = "body";
  std::string out;
  Serialize(response, true, false, &out);
  EXPECT_NE(out.find("\r\nGood: yes\r\n"), std::string::npos);
  EXPECT_EQ(out.find("Bad"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\nbody"));
  EXPECT_EQ(HttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(UrlResponseTest, PlainValuesAndNonsense) {
  EXPECT_EQ(UrlResponse("\"text\"")->body, "\"text\"");
  EXPECT_EQ(UrlResponse(R"({"statusCode": 404, "body": "x"})")->status, 404);
  EXPECT_FALSE(UrlResponse(R"({"statusCode": 1e300})"));
  EXPECT_FALSE(UrlResponse(R"({"statusCode": 200, "headers": {"A": "b\n"}})"));
}

}  // namespace
}  // namespace spore::gateway
