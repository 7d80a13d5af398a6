// Which handler answers a request, and whether it may be asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/gateway/access.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

struct Route;

class Router final : public HttpHandler {
 public:
  Router(Service service, Access access)
      : service_(std::move(service)), access_(std::move(access)) {}

  Admission Admit(const HttpRequest& head) override;
  void Handle(const ExchangePtr& exchange) override;

 private:
  std::size_t MaxBody(const Route& route) const;
  Guard GuardOf(const Route& route) const;

  Service service_;
  Access access_;
};

}  // namespace spore::gateway
