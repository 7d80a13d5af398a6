// Published versions and what else is kept beside a function's code, on a real disk.
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include "daemon/functions/function_facts.h"
#include "sandbox/sys/fault_point.h"
#include "tests/root/archive_builder.h"
#include "tests/root/store_fixture.h"

namespace spore {
namespace {

using Names = std::vector<std::string>;

UniqueFd App(const std::string& text) {
  return SealedMemfd(BuildArchive(Packing::kZip, {{.name = "app.py", .text = text}}));
}

std::string CodeOf(const Version& version) {
  if (!version) return "(none)";
  std::ifstream file(version->code_path + "/app.py");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

FunctionStore::ChangeFacts Publish() {
  return ChangePublish({}, 1, std::make_shared<Published>());
}

FunctionStore::ChangeFacts Alias(const std::string& name, uint64_t version) {
  v1::SetAliasRequest request;
  request.mutable_alias()->set_name(name);
  request.mutable_alias()->set_version(version);
  return ChangeSetAlias(request);
}

class FunctionVersionsTest : public StoreTest {
 protected:
  // Versions 1, "one", and 2, "two"; "three" is the working copy.
  void Prepare(OpenStore& open) {
    ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
    ASSERT_TRUE(open.Change("f", Publish()));
    ASSERT_TRUE(open.Update(MakeFunction("f"), App("two")));
    ASSERT_TRUE(open.Change("f", Publish()));
    ASSERT_TRUE(open.Update(MakeFunction("f"), App("three")));
    open.Settle();
  }
  static std::string All(const OpenStore& open) {
    const DeployedFunction* function = open.store->FindDeployed("f");
    if (function == nullptr) return "(no function)";
    std::string text = CodeOf(function->latest);
    for (const auto& [number, version] : function->published)
      text += " " + std::to_string(number) + "=" + CodeOf(version);
    for (const v1::Alias& alias : function->facts->aliases())
      text += " " + alias.name() + "->" + std::to_string(alias.version());
    return text;
  }
};

TEST_F(FunctionVersionsTest, StayWhateverBecomesOfTheWorkingCopy) {
  {
    OpenStore open(options_);
    Prepare(open);
    EXPECT_EQ("three 1=one 2=two", All(open));
    ASSERT_TRUE(open.Change("f", Alias("prod", 2)));
    EXPECT_EQ((Names{"current", "facts.pb", "v1", "v2", "v3"}), NamesIn(FunctionPath("f")));
  }
  OpenStore open(options_);
  EXPECT_EQ("three 1=one 2=two prod->2", All(open));
  EXPECT_EQ(Names{}, open.reports);
  const v1::Function& frozen = open.store->FindDeployed("f")->published.at(2)->function;
  EXPECT_EQ(frozen.published_version(), 2u);
  EXPECT_EQ(frozen.version(), 2u);
  ASSERT_TRUE(open.Update(MakeFunction("f", "app.other"), UniqueFd()));
  EXPECT_EQ("three 1=one 2=two prod->2", All(open));
  open.Settle();
  EXPECT_EQ((Names{"current", "facts.pb", "v1", "v2", "v4"}), NamesIn(FunctionPath("f")));
}

TEST_F(FunctionVersionsTest, AFolderGoesWithTheLastOfItsHolders) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
  ASSERT_TRUE(open.Change("f", Publish()));
  // Both are in the same folder.
  Version working = open.store->Find("f");
  Version published = open.store->FindDeployed("f")->published.at(1);
  EXPECT_EQ(working->code_path, published->code_path);
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("two")));
  ASSERT_TRUE(open.Change("f", ChangeRemoveVersion(1)));
  published.reset();
  open.Settle();
  EXPECT_EQ("one", CodeOf(working));
  working.reset();
  open.Settle();
  EXPECT_EQ((Names{"current", "facts.pb", "v2"}), NamesIn(FunctionPath("f")));
  // The other way round.
  ASSERT_TRUE(open.Change("f", Publish()));
  published = open.store->FindDeployed("f")->published.at(2);
  ASSERT_TRUE(open.Change("f", ChangeRemoveVersion(2)));
  published.reset();
  open.Settle();
  EXPECT_EQ("two", All(open));
}

TEST_F(FunctionVersionsTest, ARefusedOrEmptyChangeWritesNothing) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
  EXPECT_FALSE(open.Change("f", Alias("prod", 1)));
  ASSERT_TRUE(open.Change("f", ChangeTags({})));
  EXPECT_EQ((Names{"current", "v1"}), NamesIn(FunctionPath("f")));
  EXPECT_EQ(0u, open.store->FindDeployed("f")->facts->changes());
  auto absent = open.Change("g", Publish());
  ASSERT_FALSE(absent);
  EXPECT_EQ(ErrorKind::kNotFound, absent.error().kind);
}

TEST_F(FunctionVersionsTest, AnUpdateOnConditionOfARevision) {
  OpenStore open(options_);
  ASSERT_TRUE(open.Deploy(MakeFunction("f"), App("one")));
  const auto revision = [&] {
    const DeployedFunction& function = *open.store->FindDeployed("f");
    return RevisionId(function.latest->function, *function.facts);
  };
  v1::Function asked = MakeFunction("f", "app.other");
  asked.set_revision_id(revision());
  ASSERT_TRUE(open.Change("f", Publish()));
  auto late = open.Update(asked, UniqueFd());
  ASSERT_FALSE(late);
  EXPECT_EQ(ErrorKind::kPrecondition, late.error().kind);
  asked.set_revision_id(revision());
  ASSERT_TRUE(open.Update(asked, UniqueFd()));
  EXPECT_EQ("", open.store->Find("f")->function.revision_id());
}

TEST_F(FunctionVersionsTest, ALostLinkDoesNotCostAPublishedVersion) {
  {
    OpenStore open(options_);
    Prepare(open);
  }
  std::filesystem::remove(FunctionPath("f") / "current");
  std::filesystem::remove_all(FunctionPath("f") / "v3");
  OpenStore open(options_);
  EXPECT_EQ("two 1=one 2=two", All(open));
  ASSERT_TRUE(open.Update(MakeFunction("f"), App("again")));
  open.Settle();
  EXPECT_EQ("again 1=one 2=two", All(open));
}

TEST_F(FunctionVersionsTest, DamageIsTold) {
  {
    OpenStore open(options_);
    Prepare(open);
  }
  std::filesystem::resize_file(FunctionPath("f") / "v1/function.pb", 7);
  {
    OpenStore open(options_);
    EXPECT_EQ("three 2=two", All(open));
    ASSERT_EQ(1u, open.reports.size());
    EXPECT_NE(std::string::npos, open.reports[0].find("function f:1 is damaged"));
    ASSERT_TRUE(open.Change("f", ChangeRemoveVersion(1)));
  }
  std::ofstream(FunctionPath("f") / "facts.pb") << "\xff\xff\xff";
  OpenStore open(options_);
  EXPECT_EQ("(no function)", All(open));
  EXPECT_TRUE(open.Remove("f"));
}

struct FaultCase {
  std::string point;
  bool change_survives_a_kill;
};

class FactsFaultTest : public FunctionVersionsTest, public testing::WithParamInterface<FaultCase> {
 protected:
  // What each change makes of it.
  static std::vector<std::pair<FunctionStore::ChangeFacts, std::string>> Changes() {
    return {{Publish(), "three 1=one 2=two 3=three prod->1"},
            {ChangeRemoveVersion(2), "three 1=one prod->1"},
            {Alias("prod", 2), "three 1=one 2=two prod->2"},
            {ChangeRemoveAlias("prod"), "three 1=one 2=two"}};
  }
  static constexpr char kBefore[] = "three 1=one 2=two prod->1";
};

TEST_P(FactsFaultTest, KillLeavesOldOrNew) {
  for (const auto& [change, after] : Changes()) {
    {
      OpenStore open(options_);
      Prepare(open);
      ASSERT_TRUE(open.Change("f", Alias("prod", 1)));
    }
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      (void)ArmFaultPoint(GetParam().point + ":kill");
      OpenStore open(options_);
      (void)open.Change("f", change);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the point was not reached";
    OpenStore open(options_);
    EXPECT_EQ(GetParam().change_survives_a_kill ? after : kBefore, All(open));
    EXPECT_EQ(Names{}, open.reports);
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
    ASSERT_TRUE(open.Update(MakeFunction("f"), App("next")));
    ASSERT_TRUE(open.Remove("f"));
  }
}

TEST_P(FactsFaultTest, FailureLeavesOld) {
  OpenStore open(options_);
  Prepare(open);
  ASSERT_TRUE(open.Change("f", Alias("prod", 1)));
  for (const auto& [change, after] : Changes()) {
    ASSERT_TRUE(ArmFaultPoint(GetParam().point + ":fail"));
    const auto changed = open.Change("f", change);
    ASSERT_TRUE(ArmFaultPoint(""));
    ASSERT_FALSE(changed);
    EXPECT_NE(std::string::npos, changed.error().Message().find(GetParam().point));
    EXPECT_EQ(kBefore, All(open));
    EXPECT_EQ(Names{}, NamesIn(directory_ / "state/staging"));
    OpenStore again(options_);
    EXPECT_EQ(kBefore, All(again));
    EXPECT_EQ(Names{}, again.reports);
  }
}

std::string FaultName(const testing::TestParamInfo<FaultCase>& info) {
  std::string name = info.param.point;
  name[name.find('-')] = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Points, FactsFaultTest,
                         testing::Values(FaultCase{"facts-staged", false},
                                         FaultCase{"facts-renamed", true}),
                         FaultName);

}  // namespace
}  // namespace spore
