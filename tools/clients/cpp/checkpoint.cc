// Sandboxes on disk.
#include <spore/sandbox.h>

#include "spore/v1/session_checkpoints.pb.h"
#include "tools/clients/cpp/link.h"

namespace spore {
inline namespace client_0 {
namespace {

constexpr const char* kService = "SessionCheckpoints";

CheckpointInfo FromMessage(const v1::SessionCheckpoint& checkpoint) {
  CheckpointInfo info;
  info.name = checkpoint.name();
  info.sandbox = checkpoint.session();
  info.label = checkpoint.label();
  info.image = checkpoint.image();
  info.created = AtMilliseconds(checkpoint.created_unix_ms());
  info.bytes = checkpoint.bytes();
  info.processes = checkpoint.processes();
  info.unusable = checkpoint.unusable();
  return info;
}

}  // namespace

Result<CheckpointInfo> Sandbox::Checkpoint(const CheckpointOptions& options) const {
  v1::CreateSessionCheckpointRequest request;
  request.set_id(id_);
  request.set_name(options.name);
  request.set_leave_running(options.leave_running);
  auto response = link_->Call<v1::CreateSessionCheckpointResponse>(kService, "Create", request);
  if (!response) return tl::unexpected(response.error());
  return FromMessage(response->checkpoint());
}

Result<Sandbox> Sandbox::Restore(const Client& owner, std::string_view name,
                                 const RestoreOptions& options) {
  v1::RestoreSessionRequest request;
  request.set_name(name.data(), name.size());
  request.set_ttl_ms(Milliseconds(options.ttl));
  request.set_label(options.label);
  auto session = owner.link_->Call<v1::Session>(kService, "Restore", request);
  if (!session) return tl::unexpected(session.error());
  return Sandbox(owner.link_, session->id(), true);
}

Result<std::vector<CheckpointInfo>> Sandbox::ListCheckpoints(const Client& owner) {
  v1::ListSessionCheckpointsRequest request;
  std::vector<CheckpointInfo> checkpoints;
  do {
    auto page = owner.link_->Call<v1::ListSessionCheckpointsResponse>(kService, "List", request);
    if (!page) return tl::unexpected(page.error());
    for (const v1::SessionCheckpoint& checkpoint : page->checkpoints())
      checkpoints.push_back(FromMessage(checkpoint));
    request.set_marker(page->next_marker());
  } while (!request.marker().empty());
  return checkpoints;
}

Result<> Sandbox::RemoveCheckpoint(const Client& owner, std::string_view name) {
  v1::RemoveSessionCheckpointRequest request;
  request.set_name(name.data(), name.size());
  auto removed =
      owner.link_->Call<v1::RemoveSessionCheckpointResponse>(kService, "Remove", request);
  return removed.map([](const auto&) {});
}

}  // namespace client_0
}  // namespace spore
