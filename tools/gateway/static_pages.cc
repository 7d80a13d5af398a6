#include "tools/gateway/static_pages.h"

#include <array>
#include <string_view>

namespace spore::gateway {
namespace {

struct Page {
  std::string_view path;
  std::string_view type;
  std::string_view content;
};

constexpr std::string_view kIndex = R"(spore-gateway: AWS Lambda's interface to Spore.

  /2015-03-31/functions ..   aws lambda --endpoint-url, boto3
  /fn/NAME/ ..               a function as a web page
  /dashboard                 what runs, in a browser
  /metrics                   OpenMetrics
  /healthz                   200 while spored answers

man spore-gateway says the rest.
)";

constexpr std::array kPages = {
    Page{"/", "text/plain; charset=utf-8", kIndex},
};

}  // namespace

std::optional<HttpResponse> StaticPage(const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return std::nullopt;
  for (const Page& page : kPages) {
    if (request.path() != page.path) continue;
    HttpResponse response;
    response.headers = {{"Content-Type", std::string(page.type)},
                        {"Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"},
                        {"X-Content-Type-Options", "nosniff"},
                        {"Cache-Control", "no-cache"}};
    response.body = page.content;
    return response;
  }
  return std::nullopt;
}

}  // namespace spore::gateway
