// Lambda's tags: /2017-03-31/tags/ARN.
#pragma once

#include <nlohmann/json.hpp>

#include "spore/v1/versions.pb.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/lambda_settings.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void ListTags(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void TagResource(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void UntagResource(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

// "Tags" of a description: names and texts.
Checked<> ReadTags(const nlohmann::json& json, v1::TagRequest* request);
nlohmann::json TagsOf(const v1::Function& function);

}  // namespace spore::gateway
