// The dashboard's page, as it lies in tools/gateway/dashboard/: compiled in by embed.py.
#pragma once

#include <string_view>

namespace spore::gateway {

extern const std::string_view kDashboardHtml;
extern const std::string_view kDashboardCss;
extern const std::string_view kDashboardJs;

}  // namespace spore::gateway
