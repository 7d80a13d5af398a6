#include "zygote/hosts/java/heap_limit.h"

#include <algorithm>
#include <optional>

#include "zygote/hosts/java/vm_structs.h"

namespace spore::java {
namespace {

constexpr size_t kMib = size_t{1} << 20;

// One generation of the serial collector: a reserved range, of which a part is committed.
class Generation {
 public:
  Generation(char* heap, const char* field) {
    char** found = VmMember<char*>(heap, "GenCollectedHeap", field);  // JDK 17, 21
    if (found == nullptr) found = VmMember<char*>(heap, "SerialHeap", field);
    if (found == nullptr) return;
    char* space = VmMember<char>(*found, "Generation", "_virtual_space");
    low_ = VmMember<char*>(space, "VirtualSpace", "_low_boundary");
    top_ = VmMember<char*>(space, "VirtualSpace", "_high_boundary");
    used_ = VmMember<char*>(space, "VirtualSpace", "_high");
    char* reserved = VmMember<char>(*found, "Generation", "_reserved");
    words_ = VmMember<size_t>(reserved, "MemRegion", "_word_size");
  }

  bool valid() const {
    return low_ != nullptr && top_ != nullptr && used_ != nullptr && words_ != nullptr &&
           *low_ < *used_ && *used_ <= *top_ &&
           *words_ * sizeof(void*) == static_cast<size_t>(*top_ - *low_);
  }
  size_t committed() const { return static_cast<size_t>(*used_ - *low_); }
  void Limit(size_t bytes) {
    const size_t reserved = static_cast<size_t>(*top_ - *low_);
    // Whole pages of any size in use, and cards.
    const size_t limit = std::clamp(bytes & ~(kMib - 1), committed(), reserved);
    *top_ = *low_ + limit;
    *words_ = limit / sizeof(void*);
  }

 private:
  char** low_ = nullptr;
  char** top_ = nullptr;
  char** used_ = nullptr;
  size_t* words_ = nullptr;
};

// A third is for the young generation, as by HotSpot's own default (NewRatio=2).
class SerialHeap {
 public:
  explicit SerialHeap(char* heap) : young_(heap, "_young_gen"), old_(heap, "_old_gen") {}
  bool Limit(size_t bytes) {
    if (!young_.valid() || !old_.valid()) return false;
    const size_t young_bytes = std::max(bytes / 3, young_.committed());
    young_.Limit(young_bytes);
    old_.Limit(bytes > young_bytes ? bytes - young_bytes : 0);
    return true;
  }

 private:
  Generation young_;
  Generation old_;
};

// G1 takes the length of its table of regions for how many there can be. It fills it from below.
class G1Heap {
 public:
  explicit G1Heap(char* heap) {
    char* manager = VmMember<char>(heap, "G1CollectedHeap", "_hrm");
    char* table = VmMember<char>(manager, "HeapRegionManager", "_regions");
    length_ = VmMember<size_t>(table, "G1HeapRegionTable", "_length");
    base_ = VmMember<const char* const*>(table, "G1HeapRegionTable", "_base");
    const VmField* grain = FindVmField("HeapRegion", "GrainBytes");
    if (grain != nullptr) region_ = *reinterpret_cast<const size_t*>(grain->address);
  }
  bool Limit(size_t bytes) {
    if (length_ == nullptr || base_ == nullptr || region_ < kMib || *length_ == 0) return false;
    size_t in_use = *length_;
    while (in_use > 0 && (*base_)[in_use - 1] == nullptr) --in_use;
    *length_ = std::clamp(bytes / region_, in_use, *length_);
    return true;
  }

 private:
  size_t* length_ = nullptr;
  const char* const** base_ = nullptr;
  size_t region_ = 0;
};

std::optional<SerialHeap> serial;
std::optional<G1Heap> g1;

}  // namespace

void PrepareHeapLimit() {
  const VmField* heap = FindVmField("Universe", "_collectedHeap");
  if (heap == nullptr) return;
  char* const object = *reinterpret_cast<char**>(heap->address);
  if (VmFlag("UseSerialGC")) serial.emplace(object);
  if (VmFlag("UseG1GC")) g1.emplace(object);
}

bool LimitHeap(size_t bytes) {
  return (serial && serial->Limit(bytes)) || (g1 && g1->Limit(bytes));
}

}  // namespace spore::java
