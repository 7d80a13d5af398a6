// What instances have compiled, kept for those that follow.
#include "daemon/functions/code_cache.h"

#include <gtest/gtest.h>

namespace spore {
namespace {

constexpr uint64_t kZygote = 1;

CodeCache::Version NewVersion() {
  return std::make_shared<const FunctionVersion>();
}

TEST(CodeCache, GivesBackWhatIsOfTheSameVersionAndZygote) {
  CodeCache cache(1 << 20);
  const CodeCache::Version version = NewVersion();
  EXPECT_EQ(cache.Find(kZygote, version), nullptr);
  cache.Keep(kZygote, version, "code");
  ASSERT_NE(cache.Find(kZygote, version), nullptr);
  EXPECT_EQ(*cache.Find(kZygote, version), "code");
  EXPECT_EQ(cache.Find(kZygote + 1, version), nullptr);
  EXPECT_EQ(cache.Find(kZygote, NewVersion()), nullptr);
}

TEST(CodeCache, KeepsTheLastThatWasTold) {
  CodeCache cache(1 << 20);
  const CodeCache::Version version = NewVersion();
  cache.Keep(kZygote, version, "first");
  const size_t bytes = cache.bytes();
  cache.Keep(kZygote, version, "other");
  EXPECT_EQ(*cache.Find(kZygote, version), "other");
  EXPECT_EQ(cache.bytes(), bytes);
}

// A version that has gone, and another that came to lie where it was.
TEST(CodeCache, KnowsVersionsApartThatShareAnAddress) {
  CodeCache cache(1 << 20);
  alignas(FunctionVersion) std::byte place[sizeof(FunctionVersion)];
  const auto make = [&place] {
    return CodeCache::Version(new (place) FunctionVersion,
                              [](const FunctionVersion* version) { version->~FunctionVersion(); });
  };
  CodeCache::Version version = make();
  cache.Keep(kZygote, version, "of the old one");
  version.reset();
  version = make();
  EXPECT_EQ(cache.Find(kZygote, version), nullptr);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(CodeCache, WhatHasBeenUsedLeastRecentlyGoesFirst) {
  CodeCache cache(10 * 1024);
  std::vector<CodeCache::Version> versions;
  for (int i = 0; i < 4; ++i) {
    versions.push_back(NewVersion());
    cache.Keep(kZygote, versions.back(), std::string(3000, 'x'));
    (void)cache.Find(kZygote, versions.front());
    EXPECT_LE(cache.bytes(), 10u * 1024);
  }
  EXPECT_NE(cache.Find(kZygote, versions[0]), nullptr);
  EXPECT_EQ(cache.Find(kZygote, versions[1]), nullptr);
  EXPECT_NE(cache.Find(kZygote, versions[3]), nullptr);
  cache.Keep(kZygote, versions[1], std::string(20 * 1024, 'x'));
  EXPECT_EQ(cache.Find(kZygote, versions[1]), nullptr);
  EXPECT_NE(cache.Find(kZygote, versions[0]), nullptr);
}

}  // namespace
}  // namespace spore
