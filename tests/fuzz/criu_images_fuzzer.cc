// libFuzzer target: whatever the bytes, an image is either refused or edited to one that is edited
// to itself.
#include <cstdlib>

#include "zygote/checkpoint/edit_images.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view image(reinterpret_cast<const char*>(data), size);
  const spore::EditOrder order{.uid = 1000, .securebits = 235, .agent = 2};
  for (const bool first : {false, true}) {
    const auto edited = spore::EditCore(image, order, first);
    if (edited && spore::EditCore(*edited, order, first) != edited) std::abort();
  }
  for (const char* name : {"files.img", "memfd.img"}) {
    const auto edited = spore::EditOwners(name, image, order.uid);
    if (edited && spore::EditOwners(name, *edited, order.uid) != edited) std::abort();
  }
  const auto ghost = spore::EditGhostHead(image, order.uid);
  if (ghost && ghost->size() != size) std::abort();
  return 0;
}
