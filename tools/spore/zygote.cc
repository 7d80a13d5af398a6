// spore zygote ls, warm, evict and rotate.
#include <fmt/format.h>

#include <memory>

#include "tools/spore/context.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"
#include "tools/spore/zygote_tree.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Zygotes";

Expected<v1::ListZygotesResponse> Ask(const Context& context) {
  return CallDaemon<v1::ListZygotesResponse>(context, kService, "List", v1::ListZygotesRequest());
}

// A zygote's name in commands: of an image "python", of a library set of it "python/numpy".
std::string NameOf(const v1::Zygote& zygote) {
  return zygote.set().empty() ? zygote.image() : zygote.image() + "/" + zygote.set();
}
template <typename Request>
void SetName(const std::string& name, Request& request) {
  size_t slash = name.find('/');
  if (slash + 1 == name.size()) slash = name.npos;  // "python/" is the name of nothing
  request.set_image(name.substr(0, slash));
  if (slash != name.npos) request.set_set(name.substr(slash + 1));
}
void SetName(const std::string& name, v1::RotateZygoteRequest& request) {
  request.set_image(name);
}

std::string StartName(const v1::Zygote& zygote) {
  if (zygote.start_kind() == v1::START_KIND_RESTORE) return "restore";
  return zygote.start_kind() == v1::START_KIND_COLD ? "cold" : "-";
}

void PrintZygotes(const v1::ListZygotesResponse& response) {
  Table table({{"IMAGE"},
               {"STATE"},
               {"PID", Align::kRight},
               {"AGE", Align::kRight},
               {"START"},
               {"FORKS", Align::kRight},
               {"READY", Align::kRight},
               {"INSTANCES", Align::kRight},
               {"PRELOAD", Align::kRight},
               {"MEMORY", Align::kRight},
               {"FLAT", Align::kRight}});
  for (const v1::Zygote& zygote : response.zygotes()) {
    if (zygote.state() == v1::Zygote::ABSENT) continue;
    table.Add({NameOf(zygote), StateName(zygote.state()),
               zygote.pid() == 0 ? "-" : fmt::format("{}", zygote.pid()),
               HumanAge(zygote.started_unix_ms()), StartName(zygote),
               fmt::format("{}", zygote.forks()), fmt::format("{}", zygote.sandboxes_ready()),
               fmt::format("{}", zygote.instances()),
               zygote.preload_us() == 0 ? "-" : HumanMicroseconds(zygote.preload_us()),
               zygote.memory_bytes() == 0 ? "-" : HumanBytes(zygote.memory_bytes()),
               zygote.flat_bytes() == 0 ? "-" : HumanBytes(zygote.flat_bytes())});
  }
  table.Print();
  for (const v1::Zygote& zygote : response.zygotes()) {
    if (!zygote.start_reason().empty()) {
      fmt::print("\n{}: started cold: {}\n", zygote.image(), ForTerminal(zygote.start_reason(), 1));
    }
    if (zygote.rotation_error().empty()) continue;
    const int64_t next = zygote.next_rotation_unix_ms();
    fmt::print("\n{}: could not be replaced, {} times in a row: {}\n{}", zygote.image(),
               zygote.rotation_failures(), ForTerminal(zygote.rotation_error(), 1),
               next == 0 ? "" : fmt::format("The next try is at {}.\n", HumanTime(next)));
  }
}

Outcome List(const Context& context, bool tree) {
  auto response = Ask(context);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->zygotes());
  } else if (tree) {
    PrintZygoteTree(*response);
  } else {
    PrintZygotes(*response);
  }
  return kDone;
}

// Warm or Rotate: what comes back is the zygote that serves then.
template <typename Request>
Outcome Renew(const Context& context, const std::vector<std::string>& images, const char* method) {
  auto array = nlohmann::ordered_json::array();
  const auto call = [&](client::Connection& connection,
                        const std::string& image) -> client::Result<> {
    Request request;
    SetName(image, request);
    auto zygote = connection.Call<v1::Zygote>(kService, method, request);
    if (!zygote) return tl::unexpected(zygote.error());
    if (context.json) {
      array.push_back(ToJson(*zygote));
    } else {
      fmt::print("{}\n", image);
    }
    return {};
  };
  const Outcome outcome = CallForEach(context, images, call);
  if (context.json) PrintJson(array);
  return outcome;
}

Outcome Warm(const Context& context, const std::vector<std::string>& images) {
  return Renew<v1::WarmZygoteRequest>(context, images, "Warm");
}

// One after the other, so that a host is never busy with all of them at once.
Outcome Rotate(const Context& context, std::vector<std::string> images, bool all) {
  if (all == !images.empty()) {
    return Fail(kUsage,
                "rotate: expected either images or --all\nTry 'spore zygote rotate --help'.");
  }
  if (all) {
    auto response = Ask(context);
    if (!response) return tl::unexpected(response.error());
    for (const v1::Zygote& zygote : response->zygotes()) {
      if (zygote.state() == v1::Zygote::READY && zygote.set().empty())
        images.push_back(zygote.image());
    }
  }
  for (const std::string& image : images) {
    if (image.find('/') == image.npos) continue;
    return Fail(kUsage, "rotate: " + image +
                            ": a library set's zygote is a copy of its image's and " +
                            "has the same layout: rotate " + image.substr(0, image.find('/')));
  }
  return Renew<v1::RotateZygoteRequest>(context, images, "Rotate");
}

Outcome Evict(const Context& context, const std::vector<std::string>& images, bool force) {
  return CallForEach(
      context, images, [&](client::Connection& connection, const auto& image) -> client::Result<> {
        v1::EvictZygoteRequest request;
        SetName(image, request);
        request.set_force(force);
        auto evicted = connection.Call<v1::EvictZygoteResponse>(kService, "Evict", request);
        if (!evicted) return tl::unexpected(evicted.error());
        fmt::print("{}\n", image);
        return {};
      });
}

struct Arguments {
  std::vector<std::string> images;
  bool flag = false;
};

}  // namespace

void AddZygote(CLI::App& app, Context& context) {
  CLI::App* zygote = app.add_subcommand("zygote", "List, start, end and replace zygotes");
  zygote->require_subcommand(1);

  CLI::App* list = AddCommand(*zygote, context, "ls", "List zygotes");
  auto tree = std::make_shared<bool>(false);
  list->add_flag("--tree", *tree,
                 "Show library sets below their images, those without a zygote too");
  list->callback(
      [&context, tree] { context.command = [&context, tree] { return List(context, *tree); }; });

  CLI::App* warm =
      AddCommand(*zygote, context, "warm", "Start zygotes and wait until they are ready");
  auto warmed = std::make_shared<Arguments>();
  warm->add_option("IMAGE", warmed->images, "Images, or IMAGE/SET")->required();
  warm->callback([&context, warmed] {
    context.command = [&context, warmed] { return Warm(context, warmed->images); };
  });

  CLI::App* evict = AddCommand(*zygote, context, "evict", "End zygotes that nobody needs");
  auto evicted = std::make_shared<Arguments>();
  evict->add_option("IMAGE", evicted->images, "Images, or IMAGE/SET")->required();
  evict->add_flag("--force", evicted->flag, "Kill all instances of the images first");
  evict->callback([&context, evicted] {
    context.command = [&context, evicted] {
      return Evict(context, evicted->images, evicted->flag);
    };
  });

  CLI::App* rotate = AddCommand(*zygote, context, "rotate",
                                "Replace zygotes by fresh ones while they go on serving");
  auto rotated = std::make_shared<Arguments>();
  rotate->add_option("IMAGE", rotated->images, "Images");
  rotate->add_flag("--all", rotated->flag, "All images that have a zygote");
  rotate->callback([&context, rotated] {
    context.command = [&context, rotated] {
      return Rotate(context, rotated->images, rotated->flag);
    };
  });
}

}  // namespace spore::cli
