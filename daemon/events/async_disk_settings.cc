// Policies and schedules on disk.
#include "daemon/events/async_disk.h"

namespace spore {

Result<std::vector<std::string>> AsyncDisk::ReadBlobs(const char* sql) {
  SPORE_ASSIGN(Statement * select, Use(sql));
  std::vector<std::string> blobs;
  while (true) {
    SPORE_ASSIGN(const bool row, select->Step());
    if (!row) break;
    blobs.push_back(select->Text(0));
  }
  select->Reset();
  return blobs;
}

Result<std::vector<v1::AsyncPolicy>> AsyncDisk::LoadPolicies() {
  SPORE_ASSIGN(const std::vector<std::string> blobs, ReadBlobs("SELECT policy FROM policies"));
  std::vector<v1::AsyncPolicy> policies;
  for (const std::string& blob : blobs) {
    if (!policies.emplace_back().ParseFromString(blob)) policies.pop_back();
  }
  return policies;
}

Result<> AsyncDisk::PutPolicy(const v1::AsyncPolicy& policy) {
  SPORE_ASSIGN(Statement * put, Use("INSERT OR REPLACE INTO policies VALUES(?1,?2)"));
  const std::string blob = policy.SerializeAsString();
  put->Bind(1, std::string_view(policy.function()));
  put->BindBlob(2, blob);
  return put->Run();
}

Result<> AsyncDisk::RemovePolicy(const std::string& function) {
  SPORE_ASSIGN(Statement * remove, Use("DELETE FROM policies WHERE function=?1"));
  remove->Bind(1, std::string_view(function));
  return remove->Run();
}

Result<std::vector<v1::Schedule>> AsyncDisk::LoadSchedules() {
  SPORE_ASSIGN(const std::vector<std::string> blobs,
               ReadBlobs("SELECT schedule FROM schedules ORDER BY name"));
  std::vector<v1::Schedule> schedules;
  for (const std::string& blob : blobs) {
    if (!schedules.emplace_back().ParseFromString(blob)) schedules.pop_back();
  }
  return schedules;
}

Result<> AsyncDisk::PutSchedule(const v1::Schedule& schedule) {
  SPORE_ASSIGN(Statement * put, Use("INSERT OR REPLACE INTO schedules VALUES(?1,?2)"));
  const std::string blob = schedule.SerializeAsString();
  put->Bind(1, std::string_view(schedule.name()));
  put->BindBlob(2, blob);
  return put->Run();
}

Result<> AsyncDisk::RemoveSchedule(const std::string& name) {
  SPORE_ASSIGN(Statement * remove, Use("DELETE FROM schedules WHERE name=?1"));
  remove->Bind(1, std::string_view(name));
  return remove->Run();
}

}  // namespace spore
