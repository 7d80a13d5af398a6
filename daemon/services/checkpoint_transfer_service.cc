// spore.v1.CheckpointTransfer: checkpoints from one host to another, for root.
#include <utility>

#include "daemon/common/log.h"
#include "daemon/services/service_context.h"
#include "spore/v1/checkpoints.pb.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.CheckpointTransfer";
using CallPtr = std::shared_ptr<Call>;

Result<> CheckPeer(const Call& call) {
  if (MayOperate(call.peer())) return {};
  return MakeError(ErrorKind::kDenied, "only root may export and import checkpoints, and uid " +
                                           std::to_string(call.peer().uid) + " asked");
}

void Export(ServiceContext& context, const CallPtr& call,
            const v1::ExportCheckpointRequest& request) {
  if (auto allowed = CheckPeer(*call); !allowed) return call->Fail(allowed.error());
  context.checkpoints.Export(request.id(), [call](Result<Checkpoints::Parcel> parcel) {
    if (!parcel) return call->Fail(parcel.error());
    v1::ExportCheckpointResponse response;
    response.set_head(std::move(parcel->head));
    response.set_archive_bytes(parcel->archive_bytes);
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(parcel->archive));
    call->Reply(response, std::move(fds));
  });
}

void Import(ServiceContext& context, const CallPtr& call,
            const v1::ImportCheckpointRequest& request) {
  auto archive = TakeArchive(call->TakeFds());
  if (auto allowed = CheckPeer(*call); !allowed) return call->Fail(allowed.error());
  if (!archive) return call->Fail(archive.error());
  context.checkpoints.Import(
      std::move(*archive), request.keep_unusable(), context.images.Manifests(),
      [call](const Result<v1::Checkpoint>& kept) {
        if (!kept) return call->Fail(kept.error());
        Log(LogLevel::kInfo, "image " + kept->image() + ": checkpoint " + kept->id() +
                                 " was imported by uid " + std::to_string(call->peer().uid));
        v1::ImportCheckpointResponse response;
        *response.mutable_checkpoint() = *kept;
        call->Reply(response);
      });
}

}  // namespace

void RegisterCheckpointTransfer(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ExportCheckpointRequest>(
      server, kService, "Export", [&context](CallPtr call, v1::ExportCheckpointRequest& request) {
        Export(context, call, request);
      });
  RegisterMethod<v1::ImportCheckpointRequest>(
      server, kService, "Import",
      [&context](CallPtr call, v1::ImportCheckpointRequest& request) {
        Import(context, call, request);
      },
      [](const v1::ImportCheckpointRequest&) -> size_t { return 1; });
}

}  // namespace spore
