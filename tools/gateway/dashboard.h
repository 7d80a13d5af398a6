// The dashboard: a page that needs nothing from elsewhere, and the state that it asks for again and
// again.
//
// The page's three files are the same for everybody and hold nothing, so they are open: a browser
// has no token when it opens an address. The state is not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/gateway/dashboard_errors.h"
#include "tools/gateway/dashboard_state.h"
#include "tools/gateway/http_message.h"
#include "tools/gateway/service.h"

namespace spore::gateway {

void DashboardPage(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DashboardStyle(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DashboardScript(Service& service, const ExchangePtr& exchange, const RouteMatch& match);
void DashboardStateJson(Service& service, const ExchangePtr& exchange, const RouteMatch& match);

// Asks spored, about once a second at most however many browsers look.
class Dashboard : public std::enable_shared_from_this<Dashboard> {
 public:
  // The service holds this.
  explicit Dashboard(Service& service) : service_(service) {}
  void Ask(const ExchangePtr& exchange);

 private:
  // One call of a refresh; `take` has its answer, if there is one.
  template <typename Response, typename Request>
  void Fetch(const char* service, const char* method, const Request& request,
             std::function<void(Dashboard&, Response)> take);
  template <typename Response, typename Request>
  void Fetch(const char* service, const char* method, const Request& request,
             std::optional<Response> DashboardFacts::*into);
  void Refresh();
  void FetchLogs();
  void Done();
  void Finish();
  std::string Unanswered(const std::string& reason);

  Service& service_;
  DashboardFacts facts_;
  DashboardErrors errors_;
  bool logs_asked_ = false;  // in this refresh
  std::string unreachable_;  // why spored could not be asked
  int pending_ = 0;          // calls of a refresh that are under way
  int64_t refresh_ms_ = 0;   // when it began
  int64_t refresh_unix_ms_ = 0;
  std::string body_;
  int64_t until_ms_ = 0;
  int64_t down_since_unix_ms_ = 0;  // 0: it answered last time
  std::vector<ExchangePtr> waiting_;
};

}  // namespace spore::gateway
