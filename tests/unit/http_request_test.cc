// Requests of HTTP/1.1, whole and in every pair of pieces, and what is none.
#include "zygote/hosts/provided/http_request.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

using Status = HttpParser::Status;

// Feeds `text` cut at `cut`; the status is of what came last.
Status FeedIn(HttpParser& parser, std::string_view text, size_t cut) {
  std::string held;
  Status status = Status::kMore;
  for (std::string_view part : {text.substr(0, cut), text.substr(cut)}) {
    held += part;
    std::string_view data = held;
    do status = parser.Feed(data);
    while (status == Status::kContinue);
    held.erase(0, held.size() - data.size());
    if (status != Status::kMore) return status;
  }
  return status;
}

constexpr std::string_view kChunked =
    "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nTrailer: T\r\n\r\n"
    "4\r\nabcd\r\n00A;ext=1\r\n0123456789\r\n0\r\nT: end\r\n\r\n";

TEST(HttpParser, TakesRequestsInPieces) {
  const std::string_view plain =
      "\r\nPOST /a/b?c=d HTTP/1.1\r\nT:  end \t\r\nContent-Length: 14\r\n\r\nabcd0123456789";
  for (const std::string_view text : {plain, kChunked}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      HttpParser parser(100);
      ASSERT_EQ(FeedIn(parser, text, cut), Status::kRequest) << cut << parser.problem();
      const HttpRequest& request = parser.request();
      EXPECT_EQ(request.method, "POST");
      EXPECT_EQ(request.path, "/a/b");
      EXPECT_EQ(request.body, "abcd0123456789");
      EXPECT_EQ(request.Field("t"), "end");
      EXPECT_TRUE(request.keep_alive && !request.too_large && !request.may_forgo);
    }
  }
}

TEST(HttpParser, LeavesWhatFollows) {
  HttpParser parser(100);
  std::string_view data = "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n";
  ASSERT_EQ(parser.Feed(data), Status::kRequest);
  EXPECT_EQ(parser.request().path, "/1");
  EXPECT_FALSE(parser.request().keep_alive);
  parser.Reset();
  ASSERT_EQ(parser.Feed(data), Status::kRequest);
  EXPECT_EQ(parser.request().path, "/2");
  EXPECT_FALSE(parser.request().keep_alive);
  EXPECT_TRUE(data.empty());
}

TEST(HttpParser, AsksForABodyThatWaits) {
  HttpParser parser(100);
  std::string_view data = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_EQ(parser.Feed(data), Status::kContinue);
  EXPECT_TRUE(parser.request().may_forgo);
  EXPECT_EQ(parser.Feed(data), Status::kMore);
  data = "ok";
  EXPECT_EQ(parser.Feed(data), Status::kRequest);
  EXPECT_EQ(parser.request().body, "ok");
}

TEST(HttpParser, DropsABodyThatIsTooLarge) {
  for (const std::string_view text :
       {kChunked, std::string_view("POST / HTTP/1.1\r\nContent-Length: "
                                   "14\r\n\r\nabcd0123456789")}) {
    HttpParser parser(13);
    ASSERT_EQ(FeedIn(parser, text, text.size() / 2), Status::kRequest);
    EXPECT_TRUE(parser.request().too_large);
    EXPECT_EQ(parser.request().body, "");
  }
}

TEST(HttpParser, RefusesWhatIsNone) {
  const std::string get = "GET / HTTP/1.1\r\n", post = "POST / HTTP/1.1\r\n";
  const std::pair<int, std::string> cases[] = {
      {400, "GET / HTTP/1.1\n\n"},
      {400, "GET /\r\n\r\n"},
      {400, " GET / HTTP/1.1\r\n\r\n"},
      {400, "GET / x HTTP/1.1\r\n\r\n"},
      {400, "GET * HTTP/1.1\r\n\r\n"},
      {400, "G@T / HTTP/1.1\r\n\r\n"},
      {505, "GET / HTTP/3.0\r\n\r\n"},
      {400, "GET / FTP/1.1\r\n\r\n"},
      {400, std::string("GET /\0 HTTP/1.1\r\n\r\n", 19)},
      {400, get + ": empty\r\n\r\n"},
      {400, get + "no colon\r\n\r\n"},
      {400, get + "space : x\r\n\r\n"},
      {400, get + " folded: x\r\n\r\n"},
      {400, get + "a: b\rc\r\n\r\n"},
      {431, get + "a: " + std::string(3u << 20, 'b')},
      {400, post + "Content-Length: +1\r\n\r\n"},
      {400, post + "Content-Length: 1, 1\r\n\r\n"},
      {400, post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"},
      {400, post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {501, post + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\n"},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(2000, 'x')},
      {400, post + "Transfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n"},
  };
  for (const auto& [status, text] : cases) {
    HttpParser parser(100);
    std::string_view data = text;
    EXPECT_EQ(parser.Feed(data), Status::kBad) << text.substr(0, 80);
    EXPECT_EQ(parser.problem_status(), status) << text.substr(0, 80);
  }
}

}  // namespace
}  // namespace spore
