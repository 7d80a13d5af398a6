// Pages that are compiled in.
#pragma once

#include <optional>

#include "tools/gateway/http_message.h"

namespace spore::gateway {

// The page at the request's path, when there is one and it is asked for with GET or HEAD.
std::optional<HttpResponse> StaticPage(const HttpRequest& request);

}  // namespace spore::gateway
