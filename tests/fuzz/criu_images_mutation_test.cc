// Images of CRIU's, changed at random: each is refused, or edited to one that stays as it is when
// it is edited again. Deterministic: a seed gives the same bytes on every machine.
#include <gtest/gtest.h>

#include <random>

#include "zygote/checkpoint/edit_images.h"
#include "zygote/checkpoint/protobuf_fields.h"

namespace spore {
namespace {

std::string Message(std::mt19937& random, int depth) {
  std::string message;
  for (auto i = random() % 8; i > 0; --i) {
    const auto number = static_cast<uint32_t>(1 + random() % 20);
    if (depth > 0 && random() % 2 == 0)
      PutBytes(message, number, Message(random, depth - 1));
    else
      PutNumber(message, number, random());
  }
  return message;
}

std::string Image(std::mt19937& random) {
  std::string image(8, 'm');
  for (auto i = random() % 3; i > 0; --i) {
    std::string entry = Message(random, 1);
    PutBytes(entry, 3, Message(random, 2));
    PutBytes(entry, 5, Message(random, 2));
    const auto size = static_cast<uint32_t>(entry.size());
    image.append(reinterpret_cast<const char*>(&size), sizeof size);
    image += entry;
  }
  return image;
}

void Mutate(std::mt19937& random, std::string& bytes) {
  for (auto i = random() % 4; i > 0 && !bytes.empty(); --i) {
    const size_t at = random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.erase(at, 1 + random() % 9);
        break;
      default:
        bytes.insert(at, std::string(1 + random() % 9, static_cast<char>(random())));
        break;
    }
  }
}

TEST(CriuImagesMutationTest, EditedOrRefused) {
  constexpr unsigned kRounds = 200'000;
  const EditOrder order{.uid = 1000, .securebits = 235, .agent = 2};
  std::mt19937 random(1);
  unsigned edited = 0;
  for (unsigned i = 0; i < kRounds; ++i) {
    std::string image = Image(random);
    Mutate(random, image);
    if (const auto files = EditOwners("files.img", image, order.uid)) {
      ASSERT_EQ(EditOwners("files.img", *files, order.uid), files) << "round " << i;
    }
    if (const auto ghost = EditGhostHead(image, order.uid)) {
      ASSERT_EQ(ghost->size(), image.size()) << "round " << i;
    }
    const bool first = random() % 2 == 0;
    const auto once = EditCore(image, order, first);
    if (!once) continue;
    ++edited;
    ASSERT_EQ(EditCore(*once, order, first), once) << "round " << i;
  }
  EXPECT_GT(edited, kRounds / 10);
  EXPECT_LT(edited, kRounds);
}

}  // namespace
}  // namespace spore
