// spore.v1.Schedules.
#include <nlohmann/json.hpp>

#include "daemon/common/unix_time.h"
#include "daemon/common/validate.h"
#include "daemon/services/service_context.h"

namespace spore {
namespace {

constexpr char kService[] = "spore.v1.Schedules";
constexpr size_t kMaxPayload = 256u << 10;
constexpr uint64_t kLeastEveryMs = 1000;
constexpr uint64_t kMostEveryMs = 366ull * 86'400'000;
using CallPtr = std::shared_ptr<Call>;

tl::unexpected<Error> Invalid(const std::string& message) {
  return MakeError(ErrorKind::kInvalid, message);
}

Result<> CheckTimes(const v1::Schedule& schedule) {
  const int given = (schedule.cron().empty() ? 0 : 1) + (schedule.every_ms() == 0 ? 0 : 1) +
                    (schedule.at_unix_ms() == 0 ? 0 : 1);
  if (given != 1)
    return Invalid(std::to_string(given) + " of cron, every_ms and at_unix_ms; expected one");
  if (!schedule.time_zone().empty() && schedule.cron().empty())
    return Invalid("time_zone: \"" + schedule.time_zone().substr(0, 64) + "\", without cron");
  const uint64_t every = schedule.every_ms();
  if (every != 0 && (every < kLeastEveryMs || every > kMostEveryMs)) {
    return Invalid("every_ms: " + std::to_string(every) + " is out of range; expected " +
                   std::to_string(kLeastEveryMs) + " to " + std::to_string(kMostEveryMs));
  }
  if (schedule.at_unix_ms() != 0 && schedule.at_unix_ms() <= NowUnixMs())
    return Invalid("at_unix_ms: " + std::to_string(schedule.at_unix_ms()) + " is in the past");
  return {};
}

Result<> CheckPayload(const std::string& payload) {
  if (payload.size() > kMaxPayload) {
    return Invalid("payload: " + std::to_string(payload.size()) + " bytes; expected at most " +
                   std::to_string(kMaxPayload));
  }
  if (!payload.empty() && !nlohmann::json::accept(payload)) return Invalid("payload: not JSON");
  return {};
}

void Add(ServiceContext& context, const CallPtr& call, const v1::AddScheduleRequest& request) {
  const v1::Schedule& asked = request.schedule();
  auto version = FindFunction(context, asked.function(), [&](const v1::Function& function) {
    return MayInvoke(call->peer(), function);
  });
  if (!version) return call->Fail(version.error());
  v1::Schedule schedule;
  schedule.set_name(asked.name().empty() ? asked.function() : asked.name());
  schedule.set_function(asked.function());
  schedule.set_owner_uid((*version)->function.owner_uid());
  schedule.set_cron(asked.cron());
  schedule.set_every_ms(asked.every_ms());
  schedule.set_at_unix_ms(asked.at_unix_ms());
  schedule.set_time_zone(asked.time_zone());
  schedule.set_payload(asked.payload());
  schedule.set_paused(asked.paused());
  schedule.set_created_unix_ms(NowUnixMs());
  const auto check = [&]() -> Result<> {
    SPORE_TRY(ValidateFunctionName(schedule.name()));
    SPORE_TRY(CheckTimes(schedule));
    if (schedule.at_unix_ms() != 0 && schedule.paused())
      return Invalid("paused: true, with at_unix_ms: it would never fire");
    return CheckPayload(schedule.payload());
  };
  if (auto valid = check(); !valid) return call->Fail(valid.error());
  context.schedules.Add(std::move(schedule), [call](const Result<v1::Schedule>& added) {
    if (!added) return call->Fail(added.error());
    call->Reply(*added);
  });
}

// The schedule, or the error for one that is not there.
const v1::Schedule* FindOrFail(ServiceContext& context, const CallPtr& call,
                               const std::string& name) {
  const v1::Schedule* schedule = context.schedules.Find(name);
  if (schedule != nullptr && OwnerOrRoot(call->peer(), schedule->owner_uid())) return schedule;
  call->Fail({ErrorKind::kNotFound, 0, "no schedule \"" + name.substr(0, 64) + "\"", {}, {}});
  return nullptr;
}

void List(ServiceContext& context, const CallPtr& call, const v1::ListSchedulesRequest& request) {
  v1::ListSchedulesResponse response;
  for (v1::Schedule& schedule : context.schedules.List()) {
    if (!OwnerOrRoot(call->peer(), schedule.owner_uid())) continue;
    if (!request.function().empty() && schedule.function() != request.function()) continue;
    schedule.clear_payload();  // together they could be longer than a message
    *response.add_schedules() = std::move(schedule);
  }
  call->Reply(response);
}

}  // namespace

void RegisterSchedules(RpcServer& server, ServiceContext& context) {
  RegisterMethod<v1::AddScheduleRequest>(
      server, kService, "Add",
      [&context](CallPtr call, v1::AddScheduleRequest& request) { Add(context, call, request); });
  RegisterMethod<v1::ListSchedulesRequest>(
      server, kService, "List", [&context](CallPtr call, v1::ListSchedulesRequest& request) {
        List(context, call, request);
      });
  RegisterMethod<v1::GetScheduleRequest>(
      server, kService, "Get", [&context](CallPtr call, v1::GetScheduleRequest& request) {
        if (const auto* schedule = FindOrFail(context, call, request.name()))
          call->Reply(*schedule);
      });
  RegisterMethod<v1::RemoveScheduleRequest>(
      server, kService, "Remove", [&context](CallPtr call, v1::RemoveScheduleRequest& request) {
        if (FindOrFail(context, call, request.name()) == nullptr) return;
        context.schedules.Remove(request.name(), [call](const Result<>& removed) {
          if (!removed) return call->Fail(removed.error());
          call->Reply(v1::RemoveScheduleResponse());
        });
      });
  RegisterMethod<v1::SetSchedulePausedRequest>(
      server, kService, "SetPaused",
      [&context](CallPtr call, v1::SetSchedulePausedRequest& request) {
        if (FindOrFail(context, call, request.name()) == nullptr) return;
        context.schedules.SetPaused(request.name(), request.paused(),
                                    [call](const Result<v1::Schedule>& changed) {
                                      if (!changed) return call->Fail(changed.error());
                                      call->Reply(*changed);
                                    });
      });
}

}  // namespace spore
