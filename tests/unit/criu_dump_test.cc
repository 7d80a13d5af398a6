// What CRIU is shown of mounts, and what is made of its words, when it dumps a session.
#include <gtest/gtest.h>

#include <string>

#include "zygote/checkpoint/complaint.h"
#include "zygote/checkpoint/foreign_mounts.h"

namespace spore {
namespace {

constexpr const char* kOwn =
    "120 90 0:45 / / ro,relatime - tmpfs none rw\n"
    "121 120 254:0 /usr /usr ro,nosuid shared:1 - ext4 /dev/vda rw\n";

TEST(ForeignMounts, HavePlacesOfTheirOwnBelowTheRoot) {
  const std::string joined =
      JoinMounts(kOwn, "71 60 0:45 /null /dev/null rw,nosuid - tmpfs none rw,mode=755\n");
  EXPECT_EQ(joined, std::string(kOwn) +
                        "71 120 0:45 /null /run/spore/mount-71 rw,nosuid - tmpfs none "
                        "rw,mode=755\n");
}

TEST(ForeignMounts, AreNotShownTwice) {
  EXPECT_EQ(JoinMounts(kOwn, kOwn), kOwn);
  EXPECT_EQ(JoinMounts(kOwn, ""), kOwn);
}

TEST(Complaint, IsSaidInWordsThatHelp) {
  const Error known =
      DumpComplaint("(00.1) Error (criu/sk-inet.c:1): inet: Connected TCP socket, consider ..\n");
  EXPECT_EQ(known.kind, ErrorKind::kPrecondition);
  EXPECT_NE(known.Message().find("a TCP connection is open in it"), std::string::npos);
}

TEST(Complaint, IsCriusOwnWhereNothingBetterIsKnown) {
  const Error other = DumpComplaint(
      "(00.0) Error (criu/arch/x86/kerndat.c:107): ia32 mmap() failed: 4058\n"
      "(00.1) Error (criu/x.c:1): no \x1b[31m such thing\n(00.2) Error (criu/y.c:1): failed\n");
  EXPECT_EQ(other.Message(), "CRIU failed: no \\x1b[31m such thing");
  EXPECT_EQ(DumpComplaint("").Message(), "CRIU failed: it does not say why");
}

}  // namespace
}  // namespace spore
