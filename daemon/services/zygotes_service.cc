// spore.v1.Zygotes: the zygotes, for whoever looks after them.
#include <utility>
#include <vector>

#include "daemon/common/process_memory.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Zygotes";
using CallPtr = std::shared_ptr<Call>;

struct Listing {
  v1::ListZygotesResponse response;
  std::vector<UniqueFd> memory;  // one a zygote
};

// Memory is read on the blocking lane, which deployments need too: for root alone, who would only
// be in their own way.
void List(ServiceContext& context, const CallPtr& call) {
  auto listing = std::make_shared<Listing>();
  for (const auto& [name, image] : context.images.all()) {
    for (v1::Zygote& zygote : image->DescribeZygotes())
      *listing->response.add_zygotes() = std::move(zygote);
  }
  if (!MayOperate(call->peer())) return call->Reply(listing->response);
  for (const v1::Zygote& zygote : listing->response.zygotes()) {
    listing->memory.push_back(zygote.pid() != 0 ? OpenProcessMemory(zygote.pid()) : UniqueFd());
  }
  context.lane.Submit(
      [listing] {
        for (size_t i = 0; i < listing->memory.size(); ++i) {
          v1::Zygote* zygote = listing->response.mutable_zygotes(static_cast<int>(i));
          zygote->set_memory_bytes(ReadProcessMemory(listing->memory[i], zygote->flat_bytes()));
        }
      },
      [listing, call] { call->Reply(listing->response); });
}

// The image, for who may do something to its zygote.
Result<ZygoteImage*> Operated(const ServiceContext& context, const Call& call,
                              const std::string& image, const char* what) {
  if (!MayOperate(call.peer())) {
    return MakeError(ErrorKind::kDenied, std::string("only root may ") + what +
                                             " zygotes, and uid " +
                                             std::to_string(call.peer().uid) + " asked");
  }
  return context.images.FindNamed(image);
}

// Answers with the zygote that there is then.
ZygoteImage::Done AnswerWith(const CallPtr& call, const ZygoteImage& image,
                             const std::string& set = {}) {
  return [call, &image, set](const Result<>& result) {
    if (!result) return call->Fail(result.error());
    call->Reply(image.DescribeZygote(set));
  };
}

void Warm(ServiceContext& context, const CallPtr& call, const v1::WarmZygoteRequest& request) {
  auto image = Operated(context, *call, request.image(), "warm");
  if (!image) return call->Fail(image.error());
  if (request.set().empty()) return (*image)->Warm(AnswerWith(call, **image));
  (*image)->WarmSet(request.set(), AnswerWith(call, **image, request.set()));
}

void Rotate(ServiceContext& context, const CallPtr& call, const v1::RotateZygoteRequest& request) {
  auto image = Operated(context, *call, request.image(), "rotate");
  if (!image) return call->Fail(image.error());
  (*image)->Rotate(AnswerWith(call, **image));
}

void Evict(ServiceContext& context, const CallPtr& call, const v1::EvictZygoteRequest& request) {
  auto image = Operated(context, *call, request.image(), "evict");
  if (!image) return call->Fail(image.error());
  if (!request.set().empty()) {
    auto evicted = (*image)->EvictSet(request.set());
    if (!evicted) return call->Fail(evicted.error());
    return call->Reply(v1::EvictZygoteResponse());
  }
  if (request.force()) {
    context.invoker.EvictAllOf(**image, "its zygote was evicted");
    context.sessions.EvictAllOf(**image, "its zygote was evicted");
  }
  (*image)->Evict([call](const Result<>& result) {
    if (!result) return call->Fail(result.error());
    call->Reply(v1::EvictZygoteResponse());
  });
}

}  // namespace

void RegisterZygotes(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::ListZygotesRequest>(
      server, kService, "List",
      [&context](CallPtr call, v1::ListZygotesRequest&) { List(context, call); });
  RegisterMethod<v1::WarmZygoteRequest>(
      server, kService, "Warm",
      [&context](CallPtr call, v1::WarmZygoteRequest& request) { Warm(context, call, request); });
  RegisterMethod<v1::EvictZygoteRequest>(
      server, kService, "Evict",
      [&context](CallPtr call, v1::EvictZygoteRequest& request) { Evict(context, call, request); });
  RegisterMethod<v1::RotateZygoteRequest>(
      server, kService, "Rotate", [&context](CallPtr call, v1::RotateZygoteRequest& request) {
        Rotate(context, call, request);
      });
}

}  // namespace spore
