// Lambda's published versions of a function.
#pragma once

#include <string>

#include "spore/v1/versions.pb.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void PublishVersion(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void ListVersions(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

// Publishes, and answers with the version's configuration and `status`.
void Publish(Service& service, const ExchangePtr& exchange,
             const v1::PublishVersionRequest& request, int status);

}  // namespace spore::gateway
