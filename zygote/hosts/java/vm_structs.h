// HotSpot's own tables of its types and fields, which libjvm exports for debuggers (vmStructs.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace spore::java {

// VMStructEntry of vmStructs.hpp.
struct VmField {
  const char* type;
  const char* field;
  const char* type_string;
  int32_t is_static;
  uint64_t offset;
  char* address;  // of a static field
};

// Null where this HotSpot has no such field.
const VmField* FindVmField(const char* type, const char* field);

// Whether a boolean flag of HotSpot's command line is set; false where it is unknown.
bool VmFlag(const char* name);

// The field of an object in HotSpot's own memory; null when there is no such field or object.
template <typename T>
T* VmMember(char* object, const char* type, const char* field) {
  const VmField* found = FindVmField(type, field);
  if (found == nullptr || object == nullptr) return nullptr;
  return reinterpret_cast<T*>(object + found->offset);
}

}  // namespace spore::java
