// spore sandbox branch: copies of a running sandbox.
#include <fmt/format.h>

#include <memory>

#include "tools/spore/output.h"
#include "tools/spore/sandbox.h"
#include "tools/spore/settings.h"

namespace spore::cli {
namespace {

Outcome Branch(const Context& context, const v1::BranchSandboxRequest& request) {
  auto response = CallDaemon<v1::BranchSandboxResponse>(context, kSandboxes, "Branch", request);
  if (!response) return tl::unexpected(response.error());
  if (context.json) {
    PrintJson(ToJson(*response));
    return kDone;
  }
  for (const v1::Session& session : response->sessions()) fmt::print("{}\n", session.id());
  return kDone;
}

}  // namespace

void AddSandboxBranch(CLI::App& sandbox, Context& context) {
  CLI::App* branch =
      AddCommand(sandbox, context, "branch", "Copy a running sandbox; print the copies' ids");
  auto request = std::make_shared<v1::BranchSandboxRequest>();
  auto copies = std::make_shared<uint32_t>(1);
  branch->add_option("ID", *request->mutable_id(), "Its id, or a prefix that no other has")
      ->required();
  branch->add_option("-n,--copies", *copies, "How many copies, 1 to 16 (default 1)")
      ->type_name("N")
      ->check(CLI::Range(1, 16));
  branch->add_option("--name", *request->mutable_label(), "Label of each, for people")
      ->type_name("LABEL");
  AddDuration(
      *branch, "--ttl", [request](uint64_t v) { request->set_ttl_ms(v); },
      "They end after this (default: when the source would)");
  auto only = std::make_shared<bool>(false);
  branch->add_flag("--only-interpreter", *only,
                   "Leave out other programs that run in it, rather than fail");
  branch->callback([&context, request, copies, only] {
    context.command = [&context, request, copies, only] {
      request->set_copies(*copies);
      request->set_only_interpreter(*only);
      return Branch(context, *request);
    };
  });
}

}  // namespace spore::cli
