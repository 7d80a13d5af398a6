// spore.v1.Images: what zygotes and sandboxes are made from.
#include "daemon/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Images";
using CallPtr = std::shared_ptr<Call>;

void List(ServiceContext& context, const CallPtr& call) {
  v1::ListImagesResponse response;
  for (const auto& [name, image] : context.images.all()) {
    *response.add_images() = image->Describe();
  }
  call->Reply(response);
}

void Get(ServiceContext& context, const CallPtr& call, const v1::GetImageRequest& request) {
  auto image = context.images.FindNamed(request.name());
  if (!image) return call->Fail(image.error());
  call->Reply((*image)->Describe());
}

}  // namespace

void RegisterImages(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ListImagesRequest>(
      server, kService, "List",
      [&context](CallPtr call, v1::ListImagesRequest&) { List(context, call); });
  RegisterMethod<v1::GetImageRequest>(
      server, kService, "Get",
      [&context](CallPtr call, v1::GetImageRequest& request) { Get(context, call, request); });
}

}  // namespace spore
