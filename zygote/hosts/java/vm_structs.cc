#include "zygote/hosts/java/vm_structs.h"

#include <dlfcn.h>

#include <cstring>

namespace spore::java {
namespace {

// VMTypeEntry of vmStructs.hpp.
struct VmType {
  const char* name;
  const char* superclass;
  int32_t is_oop;
  int32_t is_integer;
  int32_t is_unsigned;
  uint64_t size;
};

// The first row of a table, when its rows are of the size that we think.
template <typename Row>
const Row* Table(const char* table, const char* stride) {
  const auto* rows = static_cast<const Row* const*>(dlsym(RTLD_DEFAULT, table));
  const auto* bytes = static_cast<const uint64_t*>(dlsym(RTLD_DEFAULT, stride));
  return rows != nullptr && bytes != nullptr && *bytes == sizeof(Row) ? *rows : nullptr;
}

size_t SizeOf(const char* type) {
  const VmType* row = Table<VmType>("gHotSpotVMTypes", "gHotSpotVMTypeEntryArrayStride");
  for (; row != nullptr && row->name != nullptr; ++row) {
    if (strcmp(row->name, type) == 0) return row->size;
  }
  return 0;
}

}  // namespace

const VmField* FindVmField(const char* type, const char* field) {
  const VmField* row = Table<VmField>("gHotSpotVMStructs", "gHotSpotVMStructEntryArrayStride");
  for (; row != nullptr && row->type != nullptr; ++row) {
    if (strcmp(row->type, type) == 0 && strcmp(row->field, field) == 0) return row;
  }
  return nullptr;
}

bool VmFlag(const char* name) {
  const VmField* flags = FindVmField("JVMFlag", "flags");
  const VmField* count = FindVmField("JVMFlag", "numFlags");
  const size_t size = SizeOf("JVMFlag");
  if (flags == nullptr || count == nullptr || size == 0) return false;
  char* flag = *reinterpret_cast<char**>(flags->address);
  for (size_t i = *reinterpret_cast<const size_t*>(count->address); i > 0; --i, flag += size) {
    char** flag_name = VmMember<char*>(flag, "JVMFlag", "_name");
    bool** value = VmMember<bool*>(flag, "JVMFlag", "_addr");
    if (flag_name == nullptr || value == nullptr) return false;
    if (*flag_name != nullptr && strcmp(*flag_name, name) == 0) return **value;
  }
  return false;
}

}  // namespace spore::java
