// Published versions, aliases, tags and concurrency, without a disk.
#include "daemon/functions/function_facts.h"

#include <gtest/gtest.h>

#include <limits>

namespace spore {
namespace {

class FunctionFactsTest : public testing::Test {
 protected:
  FunctionFactsTest() {
    current.set_name("f");
    current.set_version(1);
    current.set_code_digest("sha256:one");
    current.mutable_settings()->set_handler("app.handler");
    current.mutable_settings()->mutable_limits()->set_max_instances(10);
  }
  // As the store does it.
  Result<> Apply(const FunctionStore::ChangeFacts& change) {
    v1::FunctionFacts changed = facts;
    SPORE_TRY(change({current, published, facts}, &changed));
    changed.set_changes(changed.changes() + 1);
    for (const v1::PublishedVersion& version : changed.published()) {
      if (published.contains(version.number())) continue;
      published[version.number()] = current;
      published[version.number()].set_published_version(version.number());
    }
    facts = changed;
    return {};
  }
  Published Publish(v1::PublishVersionRequest request = {}) {
    auto made = std::make_shared<Published>();
    const auto done = Apply(ChangePublish(request, 7, made));
    EXPECT_TRUE(done) << done.error().Message();
    return *made;
  }
  void Change(const std::string& digest) {
    current.set_version(current.version() + 1);
    current.set_code_digest(digest);
  }
  // Two versions.
  void PublishTwo() {
    Publish();
    Change("sha256:two");
    Publish();
  }
  static v1::SetAliasRequest AliasTo(const std::string& name, uint64_t version, uint64_t second = 0,
                                     double weight = 0) {
    v1::SetAliasRequest request;
    request.set_name("f");
    request.mutable_alias()->set_name(name);
    request.mutable_alias()->set_version(version);
    request.mutable_alias()->set_second_version(second);
    request.mutable_alias()->set_second_weight(weight);
    return request;
  }
  Result<uint64_t> Route(const std::string& qualifier, double draw = 0) {
    return RouteQualifier(current, facts, qualifier, draw);
  }
  std::string ErrorOf(const FunctionStore::ChangeFacts& change) {
    const auto done = Apply(change);
    return done ? "(done)" : done.error().Message();
  }
  DeployedFunction Deployed() {
    DeployedFunction deployed;
    const auto version = [](const v1::Function& function) {
      return std::make_shared<const FunctionVersion>(FunctionVersion{function, ""});
    };
    deployed.latest = version(current);
    deployed.facts = std::make_shared<v1::FunctionFacts>(facts);
    for (const auto& [number, function] : published) deployed.published[number] = version(function);
    return deployed;
  }

  v1::Function current;
  std::map<uint64_t, v1::Function> published;
  v1::FunctionFacts facts;
};

TEST_F(FunctionFactsTest, NumbersCountUpAndWhatIsUnchangedIsNotPublishedAgain) {
  EXPECT_EQ(Publish().number, 1u);
  Published again = Publish();
  EXPECT_EQ(again.number, 1u);
  EXPECT_TRUE(again.unchanged);
  // What is kept ready, and the words on it, are no part of what is frozen.
  current.mutable_settings()->set_min_instances(3);
  current.mutable_settings()->set_description("other words");
  EXPECT_TRUE(Publish().unchanged);
  current.mutable_settings()->set_handler("app.other");
  again = Publish();
  EXPECT_EQ(again.number, 2u);
  EXPECT_FALSE(again.unchanged);
  EXPECT_EQ(facts.published(1).description(), "other words");
  EXPECT_EQ(facts.published(1).published_unix_ms(), 7);
}

TEST_F(FunctionFactsTest, ARemovedNumberDoesNotComeAgain) {
  PublishTwo();
  ASSERT_TRUE(Apply(ChangeRemoveVersion(2)));
  published.erase(2);
  EXPECT_EQ(Publish().number, 3u);  // though nothing was changed: the last one is not there
  EXPECT_NE(ErrorOf(ChangeRemoveVersion(2)).find("has no published version 2"), std::string::npos);
}

TEST_F(FunctionFactsTest, PublishingHasConditions) {
  v1::PublishVersionRequest request;
  request.set_code_digest("sha256:other");
  auto made = std::make_shared<Published>();
  EXPECT_NE(ErrorOf(ChangePublish(request, 7, made)).find("code_digest"), std::string::npos);
  request.set_code_digest("sha256:one");
  request.set_revision_id("older");
  EXPECT_NE(ErrorOf(ChangePublish(request, 7, made)).find("revision_id"), std::string::npos);
  request.set_revision_id(RevisionId(current, facts));
  EXPECT_EQ(Publish(request).number, 1u);
  EXPECT_NE(RevisionId(current, facts), request.revision_id());
}

TEST_F(FunctionFactsTest, QualifiersAreRouted) {
  PublishTwo();
  ASSERT_TRUE(Apply(ChangeSetAlias(AliasTo("prod", 1, 2, 0.25))));
  EXPECT_EQ(*Route(""), 0u);
  EXPECT_EQ(*Route("$LATEST"), 0u);
  EXPECT_EQ(*Route("2"), 2u);
  EXPECT_EQ(*Route("prod", 0), 2u);
  EXPECT_EQ(*Route("prod", 0.249), 2u);
  EXPECT_EQ(*Route("prod", 0.25), 1u);
  EXPECT_EQ(*Route("prod", 1), 1u);
  EXPECT_TRUE(IsDrawn(facts, "prod"));
  EXPECT_FALSE(IsDrawn(facts, "2"));
  for (const char* absent : {"3", "0", "99999999999999999999999", "prods"}) {
    ASSERT_FALSE(Route(absent)) << absent;
    EXPECT_EQ(Route(absent).error().kind, ErrorKind::kNotFound) << absent;
  }
  for (const char* bad : {"$latest", "a b", "a:b", "../x", "pro\n"}) {
    ASSERT_FALSE(Route(bad)) << bad;
    EXPECT_EQ(Route(bad).error().kind, ErrorKind::kInvalid) << bad;
  }
}

TEST_F(FunctionFactsTest, EveryWeightGetsItsShare) {
  PublishTwo();
  for (const double weight : {0.0, 0.1, 0.5, 1.0}) {
    ASSERT_TRUE(Apply(ChangeSetAlias(AliasTo("prod", 1, 2, weight))));
    int second = 0;
    for (int i = 0; i < 1000; ++i) second += *Route("prod", i / 1000.0) == 2 ? 1 : 0;
    EXPECT_EQ(second, static_cast<int>(1000 * weight));
  }
}

TEST_F(FunctionFactsTest, AliasesAreChecked) {
  PublishTwo();
  const auto error = [&](const v1::SetAliasRequest& request) {
    return ErrorOf(ChangeSetAlias(request));
  };
  for (const char* name : {"", "12", "a b", "$LATEST", "a:b"})
    EXPECT_NE(error(AliasTo(name, 1)).find("not digits alone"), std::string::npos) << name;
  EXPECT_NE(error(AliasTo(std::string(129, 'a'), 1)).find("1 to 128"), std::string::npos);
  EXPECT_NE(error(AliasTo("a", 0)).find("no published version 0"), std::string::npos);
  EXPECT_NE(error(AliasTo("a", 3)).find("no published version 3"), std::string::npos);
  EXPECT_NE(error(AliasTo("a", 1, 3, 0.1)).find("no published version 3"), std::string::npos);
  EXPECT_NE(error(AliasTo("a", 1, 1, 0.1)).find("expected another"), std::string::npos);
  for (const double weight : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<double>::infinity()})
    EXPECT_NE(error(AliasTo("a", 1, 2, weight)).find("expected 0 to 1"), std::string::npos);
  EXPECT_EQ(facts.aliases_size(), 0);
  ASSERT_TRUE(Apply(ChangeSetAlias(AliasTo("b", 1))));
  ASSERT_TRUE(Apply(ChangeSetAlias(AliasTo("a", 1, 2, 1))));
  EXPECT_EQ(facts.aliases(0).name(), "a");
  EXPECT_NE(ErrorOf(ChangeRemoveVersion(2)).find("named by the aliases a"), std::string::npos);
  EXPECT_NE(ErrorOf(ChangeRemoveVersion(1)).find("named by the aliases a, b"), std::string::npos);
  ASSERT_TRUE(Apply(ChangeRemoveAlias("a")));
  EXPECT_NE(ErrorOf(ChangeRemoveAlias("a")).find("has no alias"), std::string::npos);
  EXPECT_TRUE(Apply(ChangeRemoveVersion(2)));
}

TEST_F(FunctionFactsTest, AnUpdateOfAnAliasKeepsWhatIsNotGiven) {
  PublishTwo();
  v1::SetAliasRequest request = AliasTo("a", 1, 2, 0.5);
  request.mutable_alias()->set_description("words");
  request.set_update(true);
  EXPECT_NE(ErrorOf(ChangeSetAlias(request)).find("has no alias"), std::string::npos);
  request.set_update(false);
  request.set_create(true);
  ASSERT_TRUE(Apply(ChangeSetAlias(request)));
  EXPECT_NE(ErrorOf(ChangeSetAlias(request)).find("already"), std::string::npos);

  v1::SetAliasRequest change = AliasTo("a", 0);
  change.set_update(true);
  const std::string revision = facts.aliases(0).revision_id();
  ASSERT_TRUE(Apply(ChangeSetAlias(change)));  // changes nothing
  EXPECT_EQ(facts.aliases(0).revision_id(), revision);
  EXPECT_EQ(facts.aliases(0).second_weight(), 0.5);
  change.set_clear_second(true);
  ASSERT_TRUE(Apply(ChangeSetAlias(change)));
  EXPECT_EQ(facts.aliases(0).second_version(), 0u);
  EXPECT_EQ(facts.aliases(0).version(), 1u);
  EXPECT_EQ(facts.aliases(0).description(), "words");
  EXPECT_NE(facts.aliases(0).revision_id(), revision);
  change.mutable_alias()->set_revision_id(revision);
  EXPECT_NE(ErrorOf(ChangeSetAlias(change)).find("changed meanwhile"), std::string::npos);
}

TEST_F(FunctionFactsTest, WhatIsKeptReadyIsSharedOutAndBounded) {
  PublishTwo();
  ASSERT_TRUE(Apply(ChangeSetAlias(AliasTo("prod", 1, 2, 0.25))));
  const auto provision = [&](const std::string& qualifier, uint32_t instances) {
    v1::ProvisionRequest request;
    request.set_name("f");
    request.set_qualifier(qualifier);
    request.set_instances(instances);
    return ErrorOf(ChangeProvision(request));
  };
  EXPECT_EQ(provision("prod", 4), "(done)");
  EXPECT_EQ(provision("2", 2), "(done)");
  current.mutable_settings()->set_min_instances(1);
  const auto reserves = ReservesOf(Deployed());
  ASSERT_EQ(reserves.size(), 3u);
  EXPECT_EQ(reserves[0].version, current.version());
  EXPECT_EQ(reserves[0].instances, 1u);
  EXPECT_EQ(reserves[1].version, ScheduledAs(published[1]));
  EXPECT_EQ(reserves[1].instances, 3u);
  EXPECT_EQ(reserves[2].instances, 3u);
  EXPECT_EQ(reserves[2].max_instances, 10u);
  EXPECT_NE(reserves[2].version, published[2].version());
  EXPECT_NE(provision("2", 6).find("11 instances of function f would be kept ready, of the 10"),
            std::string::npos);
  EXPECT_EQ(provision("2", 5), "(done)");
  EXPECT_NE(provision("", 1).find("--min-instances"), std::string::npos);
  EXPECT_NE(provision("$LATEST", 1).find("--min-instances"), std::string::npos);
  EXPECT_NE(provision("9", 1).find("no published version 9"), std::string::npos);
}

TEST_F(FunctionFactsTest, ConcurrencyTakesThePlaceOfTheLimit) {
  Publish();
  EXPECT_EQ(MaxInstances(Deployed()), 10u);
  v1::SetConcurrencyRequest request;
  request.set_concurrency(2);
  ASSERT_TRUE(Apply(ChangeConcurrency(request)));
  EXPECT_EQ(MaxInstances(Deployed()), 2u);
  v1::ProvisionRequest provision;
  provision.set_qualifier("1");
  provision.set_instances(2);
  ASSERT_TRUE(Apply(ChangeProvision(provision)));
  request.set_concurrency(1);
  EXPECT_NE(ErrorOf(ChangeConcurrency(request)).find("of the 1 that it may have"),
            std::string::npos);
  request.set_concurrency(0);  // an emergency does not ask
  ASSERT_TRUE(Apply(ChangeConcurrency(request)));
  EXPECT_EQ(MaxInstances(Deployed()), 0u);
  provision.set_instances(4'000'000'000);
  EXPECT_NE(ErrorOf(ChangeProvision(provision)).find("of the 10 that it may"), std::string::npos);
  request.clear_concurrency();
  ASSERT_TRUE(Apply(ChangeConcurrency(request)));
  EXPECT_EQ(MaxInstances(Deployed()), 10u);
}

TEST_F(FunctionFactsTest, TagsHaveBounds) {
  v1::TagRequest request;
  (*request.mutable_set())[std::string(128, 'k')] = std::string(256, 'v');
  (*request.mutable_set())["umlaut"] = std::string("\xc3\xa4") + std::string(255, 'v');
  EXPECT_TRUE(ValidateTags(request));
  ASSERT_TRUE(Apply(ChangeTags(request)));
  v1::TagRequest bad;
  (*bad.mutable_set())[""] = "v";
  EXPECT_FALSE(ValidateTags(bad));
  bad.clear_set();
  (*bad.mutable_set())[std::string(129, 'k')] = "v";
  EXPECT_FALSE(ValidateTags(bad));
  bad.clear_set();
  (*bad.mutable_set())["k"] = std::string(257, 'v');
  EXPECT_FALSE(ValidateTags(bad));
  v1::TagRequest many;
  for (int i = 0; i < 48; ++i) (*many.mutable_set())["k" + std::to_string(i)] = "";
  ASSERT_TRUE(Apply(ChangeTags(many)));
  v1::TagRequest more;
  (*more.mutable_set())["more"] = "";
  EXPECT_NE(ErrorOf(ChangeTags(more)).find("51 would be there; expected at most 50"),
            std::string::npos);
  more.add_remove("umlaut");
  more.add_remove("absent");
  ASSERT_TRUE(Apply(ChangeTags(more)));
  EXPECT_EQ(facts.tags().size(), 50u);
}

}  // namespace
}  // namespace spore
