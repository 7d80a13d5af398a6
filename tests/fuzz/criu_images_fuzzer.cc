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
  return 0;
}
