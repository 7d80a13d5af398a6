#include "zygote/hosts/java/heap_limit.h"

#include <algorithm>
#include <array>
#include <cstdint>
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

// G1 compares with two things when it grows: the length of its table of regions, which HotSpot
// exports, and the sizes of two bitmaps, of the regions that are in use and of those about to be
// given back. These lie before the table in the same object, each a pointer, then the size in bits:
// as many as the table is long, which nothing else there is. Where they are not found nothing is
// set.
class G1Heap {
 public:
  explicit G1Heap(char* heap) {
    char* manager = AnyMember<char>(heap, "G1CollectedHeap", "G1CollectedHeap", "_hrm");
    char* table = AnyMember<char>(manager, "HeapRegionManager", "G1HeapRegionManager", "_regions");
    length_ = VmMember<size_t>(table, "G1HeapRegionTable", "_length");
    const VmField* grain = FindVmField("HeapRegion", "GrainBytes");
    if (grain == nullptr) grain = FindVmField("G1HeapRegion", "GrainBytes");  // JDK 25
    if (grain == nullptr || length_ == nullptr) return;
    region_ = *reinterpret_cast<const size_t*>(grain->address);
    auto* const words = reinterpret_cast<size_t*>(manager);
    for (size_t* word = words + 1; word < reinterpret_cast<size_t*>(table); ++word) {
      if (*word != *length_) continue;
      if (found_ < kBitmaps) sizes_.at(found_) = word;
      ++found_;
    }
  }

  bool Limit(size_t bytes) {
    if (found_ != kBitmaps || region_ < kMib) return false;
    size_t limit = std::clamp(bytes / region_, size_t{1}, *length_);
    // What is in use must stay; G1 fills the table from below.
    for (size_t i = limit; i < *length_; ++i) {
      if (IsSet(sizes_.front(), i) || IsSet(sizes_.back(), i)) limit = i + 1;
    }
    for (size_t* size : sizes_) *size = limit;
    *length_ = limit;
    return true;
  }

 private:
  static constexpr size_t kBitmaps = 2;

  template <typename T>
  static T* AnyMember(char* object, const char* type, const char* later_type, const char* field) {
    T* member = VmMember<T>(object, type, field);
    return member != nullptr ? member : VmMember<T>(object, later_type, field);
  }
  // Of the bitmap whose size is there.
  static bool IsSet(const size_t* size, size_t bit) {
    const auto* bits = reinterpret_cast<const uint64_t*>(size[-1]);
    return (bits[bit / 64] >> bit % 64 & 1) != 0;
  }

  size_t* length_ = nullptr;
  size_t region_ = 0;
  std::array<size_t*, kBitmaps> sizes_{};
  size_t found_ = 0;
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
