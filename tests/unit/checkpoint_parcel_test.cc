#include "daemon/checkpoints/checkpoint_parcel.h"

#include <gtest/gtest.h>

#include <string>

namespace spore {
namespace {

v1::Checkpoint Whole() {
  v1::Checkpoint checkpoint;
  checkpoint.set_id("0123456789ab");
  checkpoint.set_image("mine@3");
  checkpoint.set_created_unix_ms(1);
  checkpoint.set_archive_bytes(10);
  checkpoint.set_memory_bytes(20);
  checkpoint.set_archive_digest("sha256:" + std::string(64, 'a'));
  (*checkpoint.mutable_ties())["kernel"] = "6.1";
  return checkpoint;
}

Result<v1::Checkpoint> Parse(const std::string& head) {
  SPORE_ASSIGN(const ParcelPrefix prefix,
               ParseParcelPrefix(std::string_view(head).substr(0, kParcelPrefix)));
  return ParseParcelRecord(prefix, std::string_view(head).substr(kParcelPrefix));
}

TEST(CheckpointParcel, ComesBackAsItWas) {
  v1::Checkpoint sent = Whole();
  sent.set_unusable("here");
  sent.set_automatic(true);
  sent.set_imported_unix_ms(7);
  const auto head = MakeParcelHead(sent);
  ASSERT_TRUE(head);
  const auto read = Parse(*head);
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_EQ(read->SerializeAsString(), Whole().SerializeAsString());
}

TEST(CheckpointParcel, EveryCutAndEveryFlippedByteIsNoticed) {
  const std::string head = *MakeParcelHead(Whole());
  for (size_t size = 0; size < head.size(); ++size) EXPECT_FALSE(Parse(head.substr(0, size)));
  EXPECT_FALSE(Parse(head + "x"));
  for (size_t i = 0; i < head.size(); ++i) {
    std::string altered = head;
    altered[i] = static_cast<char>(altered[i] ^ 0x20);
    EXPECT_FALSE(Parse(altered)) << i;
  }
}

TEST(CheckpointParcel, FieldsThatLie) {
  const auto refused = [](void (*change)(v1::Checkpoint&)) {
    v1::Checkpoint checkpoint = Whole();
    change(checkpoint);
    return !Parse(*MakeParcelHead(checkpoint));
  };
  EXPECT_FALSE(refused([](v1::Checkpoint&) {}));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_id("../../../../a"); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_id("0123456789AB"); }));
  for (const char* name : {"", "..", ".a", "a/b", "a@", "a@0", "a@1/2", "a@-1", "@1", "a@1@2"}) {
    v1::Checkpoint checkpoint = Whole();
    checkpoint.set_image(name);
    EXPECT_FALSE(Parse(*MakeParcelHead(checkpoint))) << name;
  }
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_archive_bytes(0); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_memory_bytes(0); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_created_unix_ms(-1); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_archive_digest("sha256:"); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { c.set_runtime_version("\x1b[2J"); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { (*c.mutable_ties())["a\n"] = "b"; }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) { (*c.mutable_ties())["a"] = std::string(600, 'b'); }));
  EXPECT_TRUE(refused([](v1::Checkpoint& c) {
    for (int i = 0; i < 33; ++i) (*c.mutable_ties())[std::to_string(i)] = "b";
  }));
}

}  // namespace
}  // namespace spore
