// spore checkpoint create, ls, restore and rm; checkpoint_transfer.cc has the rest.
#include <fmt/format.h>

#include <memory>

#include "tools/spore/checkpoint.h"
#include "tools/spore/output.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

constexpr const char* kService = "spore.v1.Checkpoints";

const char* MadeBy(const v1::Checkpoint& checkpoint) {
  if (checkpoint.imported_unix_ms() != 0) return "import";
  return checkpoint.automatic() ? "spored" : "request";
}

Outcome List(const Context& context) {
  auto response = CallDaemon<v1::ListCheckpointsResponse>(context, kService, "List",
                                                          v1::ListCheckpointsRequest());
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJsonList(response->checkpoints());
    return kDone;
  }
  Table table({{"ID"},
               {"IMAGE"},
               {"RUNTIME"},
               {"AGE", Align::kRight},
               {"MADE BY"},
               {"SIZE", Align::kRight},
               {"MEMORY", Align::kRight},
               {"USABLE"}});
  for (const v1::Checkpoint& checkpoint : response->checkpoints()) {
    const bool known = checkpoint.created_unix_ms() != 0;
    table.Add({checkpoint.id(), checkpoint.image(),
               checkpoint.runtime_version().empty() ? "-" : checkpoint.runtime_version(),
               known ? HumanAge(checkpoint.created_unix_ms()) : "-", MadeBy(checkpoint),
               known ? HumanBytes(checkpoint.archive_bytes()) : "-",
               known ? HumanBytes(checkpoint.memory_bytes()) : "-",
               checkpoint.unusable().empty() ? "yes" : "no"});
  }
  table.Print();
  for (const v1::Checkpoint& checkpoint : response->checkpoints()) {
    if (checkpoint.unusable().empty()) continue;
    fmt::print("\n{}: {}\n", checkpoint.id(), ForTerminal(checkpoint.unusable(), 1));
  }
  return kDone;
}

Outcome Create(const Context& context, const std::vector<std::string>& images) {
  auto array = nlohmann::ordered_json::array();
  const auto create = [&](client::Connection& connection,
                          const std::string& image) -> client::Result<> {
    v1::CreateCheckpointRequest request;
    request.set_image(image);
    auto made = connection.Call<v1::Checkpoint>(kService, "Create", request);
    if (!made) return tl::unexpected(made.error());
    if (context.json) {
      array.push_back(ToJson(*made));
    } else {
      fmt::print("{}\n", made->id());
    }
    return {};
  };
  const Outcome outcome = CallForEach(context, images, create);
  if (context.json) PrintJson(array);
  return outcome;
}

bool LooksLikeId(const std::string& word) {
  return word.size() == 12 && word.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Outcome Restore(const Context& context, const std::string& what) {
  v1::RestoreCheckpointRequest request;
  if (LooksLikeId(what)) {
    request.set_id(what);
  } else {
    request.set_image(what);
  }
  auto zygote = CallDaemon<v1::Zygote>(context, kService, "Restore", request);
  if (!zygote) return tl::unexpected(zygote.error());
  PrintOne(context.json, *zygote, zygote->image());
  return kDone;
}

Outcome Remove(const Context& context, const std::vector<std::string>& ids) {
  return CallForEach(
      context, ids, [](client::Connection& connection, const auto& id) -> client::Result<> {
        v1::RemoveCheckpointRequest request;
        request.set_id(id);
        auto removed = connection.Call<v1::RemoveCheckpointResponse>(kService, "Remove", request);
        if (!removed) return tl::unexpected(removed.error());
        fmt::print("{}\n", id);
        return {};
      });
}

}  // namespace

void AddCheckpoint(CLI::App& app, Context& context) {
  CLI::App* checkpoint =
      app.add_subcommand("checkpoint", "Keep zygotes on disk, and bring them back from there");
  checkpoint->require_subcommand(1);

  CLI::App* create = AddCommand(*checkpoint, context, "create", "Dump fresh zygotes to disk");
  auto images = std::make_shared<std::vector<std::string>>();
  create->add_option("IMAGE", *images, "Images")->required();
  create->callback([&context, images] {
    context.command = [&context, images] { return Create(context, *images); };
  });

  CLI::App* list = AddCommand(*checkpoint, context, "ls", "List checkpoints");
  list->callback([&context] { context.command = [&context] { return List(context); }; });

  CLI::App* restore = AddCommand(*checkpoint, context, "restore",
                                 "Start or replace a zygote by restoring one from disk");
  auto what = std::make_shared<std::string>();
  restore->add_option("IMAGE|ID", *what, "An image, for its newest checkpoint, or a checkpoint")
      ->required();
  restore->callback(
      [&context, what] { context.command = [&context, what] { return Restore(context, *what); }; });

  CLI::App* remove = AddCommand(*checkpoint, context, "rm", "Remove checkpoints");
  auto ids = std::make_shared<std::vector<std::string>>();
  remove->add_option("ID", *ids, "Checkpoints")->required();
  remove->callback(
      [&context, ids] { context.command = [&context, ids] { return Remove(context, *ids); }; });

  AddCheckpointTransfer(*checkpoint, context);
}

}  // namespace spore::cli
