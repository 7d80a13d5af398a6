#include "daemon/functions/import_hints.h"

#include <gtest/gtest.h>

#include "daemon/functions/advice.h"

namespace spore {
namespace {

ImageManifest Image() {
  ImageManifest image;
  image.name = "python";
  image.runtime = "python";
  image.sets = {{"numpy", "", {"numpy"}, false},
                {"pil", "", {"PIL.Image", "PIL.ImageDraw"}, false},
                {"pandas", "numpy", {"pandas"}, false},
                {"orphan", "pil", {"late"}, false}};
  return image;
}

TEST(ImportHintsTest, TheDeepestSetAllOfWhichIsImported) {
  const ImageManifest image = Image();
  EXPECT_EQ(BestSet(image, {}), "");
  EXPECT_EQ(BestSet(image, {"numpy", "os"}), "numpy");
  EXPECT_EQ(BestSet(image, {"numpy", "pandas"}), "pandas");
  EXPECT_EQ(BestSet(image, {"pandas"}), "") << "what is above it counts, too";
  EXPECT_EQ(BestSet(image, {"PIL.Image"}), "") << "all of a set, not some";
  EXPECT_EQ(BestSet(image, {"PIL.Image", "PIL.ImageDraw", "numpy"}), "pil") << "the larger one";
  EXPECT_EQ(BestSet(image, {"numpy", "numpy", "../numpy", ""}), "numpy");
}

TEST(ImportHintsTest, ModulesOfSetsAreNamedOnce) {
  ImageManifest image = Image();
  image.sets.push_back({"again", "", {"numpy", "zlib"}, false});
  EXPECT_EQ(ModulesOfSets(image), (std::vector<std::string>{"PIL.Image", "PIL.ImageDraw", "late",
                                                            "numpy", "pandas", "zlib"}));
}

TEST(ImportHintsTest, TheFirstThatIsSaidStays) {
  ImportHints hints;
  auto version = std::make_shared<const FunctionVersion>();
  EXPECT_EQ(hints.Find(version), nullptr);
  hints.Keep(version, {"numpy", 80'000});
  hints.Keep(version, {"", 100});
  ASSERT_NE(hints.Find(version), nullptr);
  EXPECT_EQ(hints.Find(version)->set, "numpy");
  EXPECT_EQ(hints.Find(version)->saves_us, 80'000u);
}

TEST(ImportHintsTest, VersionsThatAreNoMoreAreForgotten) {
  ImportHints hints;
  for (int i = 0; i < 5000; ++i)
    hints.Keep(std::make_shared<const FunctionVersion>(), {"numpy", 1});
  auto version = std::make_shared<const FunctionVersion>();
  EXPECT_EQ(hints.Find(version), nullptr) << "one of them may have had its address";
}

TEST(AdviceTest, ProposesWhatTakesTimeAndIsOfTheImage) {
  const auto measured = ParseMeasurement(
      R"({"load_us": 300000, "preloaded": ["json"], "loaded": ["numpy"], "modules": [
        {"name": "numpy.core", "self_us": 40000, "total_us": 50000, "memory_bytes": 4096},
        {"name": "numpy", "self_us": 10000, "total_us": 80000, "total_bytes": 9000, "direct": true},
        {"name": "yaml", "self_us": 9000, "total_us": 9500, "total_bytes": 1000, "direct": true},
        {"name": "mine", "self_us": 90000, "total_us": 99000, "own": true, "direct": true},
        {"name": "bad name", "self_us": 9000, "total_us": 9000, "direct": true},
        {"name": "tiny", "self_us": 10, "total_us": 10, "direct": true}]})");
  ASSERT_TRUE(measured.has_value());
  const auto advice = MakeAdvice(Image(), *measured, "");
  ASSERT_EQ(advice.sets_size(), 1);
  EXPECT_TRUE(advice.sets(0).serves());
  EXPECT_EQ(advice.sets(0).saves_us(), 80'000u);
  EXPECT_EQ(advice.fragment(), "[[set]]\nname = \"yaml\"\nmodules = [\"yaml\"]\n");
  EXPECT_EQ(advice.proposed().saves_us(), 9500u);
  const auto bare = MakeAdvice({.name = "bare", .runtime = "python"}, *measured, "");
  EXPECT_EQ(bare.proposed().name(), "numpy-yaml");
  EXPECT_EQ(bare.proposed().saves_us(), 89'500u);
  EXPECT_EQ(bare.proposed().memory_bytes(), 10'000u);
  EXPECT_EQ(bare.sets_size(), 0);
}

TEST(AdviceTest, ReportsOfAnyOtherShapeAreRefusedOrCut) {
  for (const char* report : {"", "1", "[]", "{}", R"({"modules": 1})", "\xff"})
    EXPECT_FALSE(ParseMeasurement(report).has_value()) << report;
  const auto odd = ParseMeasurement(
      R"({"load_us": -1, "loaded": 3, "preloaded": [1, "a"], "modules": [1, {}, {"name": 2}, {"name": ""},
        {"name": "big", "self_us": 18446744073709551615, "total_us": "x"}]})");
  ASSERT_TRUE(odd.has_value());
  ASSERT_EQ(odd->modules.size(), 1u);
  EXPECT_EQ(odd->modules[0].said.self_us(), 3'600'000'000u);
  EXPECT_EQ(odd->preloaded, std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace spore
