// What a bootstrap may delete: nothing that no record of the mirror explains, and not everything, unless it was agreed
// to.
#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

class EtcdDeletionsTest : public EtcdMirror {
 protected:
  void open(std::optional<std::string> own_prefix = std::nullopt) {
    mirror.reset();
    auto chosen = options();
    chosen.prefix = std::move(own_prefix);
    chosen.on_deletions = [this](const EtcdDeletions& deletions) { told.push_back(deletions); };
    mirror = must(EtcdDatabase::open_mirror(chosen));
  }
  /// Why the received snapshot is not switched in.
  std::string refused() const {
    const auto switched = mirror->switch_snapshot();
    EXPECT_EQ(refusal(switched), "UnsupportedOperation");
    return switched ? "done" : switched.error().message();
  }
  void agree_to_shown() const {
    ASSERT_GT(mirror->shown_deletions(), 0);
    must(mirror->agree_to_deletions(mirror->shown_deletions()));
  }
  std::vector<EtcdDeletions> told;
};

TEST_F(EtcdDeletionsTest, keys_that_no_record_explains_are_not_deleted_unasked) {
  for (int i = 0; i < 1000; ++i)
    put(fmt::format("/registry/other{:04}", i), "theirs");
  const auto before = contents();
  open();
  receive(snapshot_of({{"/registry/a", "1"}}), Lsn{10});
  const auto why = refused();
  EXPECT_NE(why.find("1000 keys, such as \"/registry/other0000\""), std::string::npos) << why;
  EXPECT_NE(why.find("resync copy --yes"), std::string::npos) << why;
  EXPECT_EQ(contents(), before);
  // It is not taken for a mirror's own by being asked again, nor by another process.
  EXPECT_EQ(refused(), why);
  open();
  EXPECT_EQ(refused(), why);
  EXPECT_EQ(contents(), before);
  EXPECT_TRUE(told.empty());
}

TEST_F(EtcdDeletionsTest, what_was_agreed_to_is_deleted_and_told_and_counts_for_one_bootstrap) {
  put("/registry/other", "theirs");
  open();
  must(mirror->agree_to_deletions(must(mirror->survey(prefix)).revision));
  open();  // the agreement outlives the process
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  EXPECT_EQ(contents(), (Contents{{"/registry/a", "1"}}));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].keys, 1U);
  EXPECT_EQ(told[0].shown, std::vector<std::string>{"/registry/other"});
  EXPECT_EQ(mirror->counters().deleted_keys, 1U);
  receive({}, Lsn{20}, 2);
  EXPECT_NE(refused().find("the source has no key now"), std::string::npos);
}

TEST_F(EtcdDeletionsTest, a_source_that_has_no_key_any_more_does_not_empty_its_mirror_unasked) {
  open();
  bootstrap(many_keys(30), Lsn{10});
  receive({}, Lsn{20}, 2);
  const auto why = refused();
  EXPECT_NE(why.find("30 keys, such as"), std::string::npos) << why;
  EXPECT_EQ(contents(), many_keys(30));
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{10});
  agree_to_shown();
  must(mirror->switch_snapshot());
  EXPECT_TRUE(contents().empty());
  EXPECT_EQ(told.back().keys, 30U);
}

TEST_F(EtcdDeletionsTest, what_came_to_the_place_after_it_was_shown_is_not_deleted) {
  put("/registry/other", "theirs");
  open();
  const auto shown = must(mirror->survey(prefix));
  EXPECT_EQ(shown.keys, 1U);
  put("/registry/later", "theirs");
  must(mirror->agree_to_deletions(shown.revision));
  receive(snapshot_of({{"/registry/a", "1"}}), Lsn{10});
  const auto why = refused();
  EXPECT_NE(why.find("1 keys, such as \"/registry/later\", which came after"), std::string::npos) << why;
  EXPECT_EQ(contents().size(), 2U);
  agree_to_shown();
  must(mirror->switch_snapshot());
  EXPECT_EQ(contents(), (Contents{{"/registry/a", "1"}}));
  EXPECT_EQ(mirror->shown_deletions(), 0);
}

TEST_F(EtcdDeletionsTest, neighbours_that_came_after_the_first_bootstrap_are_not_deleted_unasked) {
  source_prefix = "/registry";
  open();
  bootstrap({{"/registry/a", "1"}, {"/registry-eu/a", "1"}, {"/registry-eu/b", "1"}}, Lsn{10});
  put("/registry-prod/1", "theirs");
  put("/registry-prod/2", "theirs");
  put("/registry2", "theirs");
  const auto before = below("/registry");
  receive(snapshot_of({{"/registry/b", "1"}, {"/registry-eu/b", "1"}}), Lsn{20}, 2);
  const auto why = refused();
  EXPECT_NE(why.find("3 keys, such as \"/registry-prod/1\", \"/registry-prod/2\", \"/registry2\""), std::string::npos)
      << why;
  EXPECT_EQ(below("/registry").size(), before.size());
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{10});
  // What was shown may go then, and what came after it may not.
  put("/registry-prod/3", "theirs");
  agree_to_shown();
  const auto more = refused();
  EXPECT_NE(more.find("1 keys, such as \"/registry-prod/3\""), std::string::npos) << more;
  agree_to_shown();
  must(mirror->switch_snapshot());
  EXPECT_EQ(below("/registry").size(), 2U);
}

TEST_F(EtcdDeletionsTest, a_key_that_the_source_deleted_is_no_neighbour_where_it_has_others_like_it) {
  source_prefix = "/registry/k";
  open();
  bootstrap(many_keys(10), Lsn{10});
  bootstrap(many_keys(9), Lsn{20}, 2);
  EXPECT_EQ(contents(), many_keys(9));
}

TEST_F(EtcdDeletionsTest, an_empty_snapshot_into_an_empty_place_needs_no_command) {
  open();
  bootstrap(Contents{}, Lsn{10});
  bootstrap(Contents{}, Lsn{20}, 2);
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{20});
}

TEST_F(EtcdDeletionsTest, a_source_that_shortens_its_prefix_takes_no_other_keys) {
  open();
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  put("/other/team", "theirs");
  must(mirror->agree_to_deletions(revision()));  // a resync is no word for another place
  for (const auto* shorter : {"/", "", "/reg", "/registry/x/"}) {
    SnapshotFacts facts;
    facts.format = std::string(kv_format);
    facts.key_prefix = shorter;
    const auto begun = mirror->begin_snapshot(facts);
    EXPECT_EQ(refusal(begun), "UnsupportedOperation") << shorter;
    if (begun) continue;
    EXPECT_NE(begun.error().message().find("begin with \"/registry/\""), std::string::npos) << begun.error().message();
  }
  EXPECT_EQ(below("/other/").size(), 1U);
}

TEST_F(EtcdDeletionsTest, a_snapshot_received_before_by_another_prefix_is_not_switched_in) {
  open("/copy/");
  receive(snapshot_of({{"/registry/a", "1"}}), Lsn{10});
  must(mirror->switch_snapshot());
  mirror.reset();
  // Another process has made it at another place meanwhile: this one's part is of no use.
  open("/copy/");
  receive(snapshot_of({{"/registry/b", "1"}}), Lsn{20}, 2);
  auto moved = record();
  moved.source_prefix = "/";
  put(etcd::record_key(mirror_name), etcd::encode_record(moved));
  mirror.reset();
  open("/copy/");
  EXPECT_NE(refused().find("a mirror's place is not moved"), std::string::npos);
  EXPECT_EQ(below("/copy/").size(), 1U);
}

TEST_F(EtcdDeletionsTest, a_survey_counts_what_is_at_the_place_and_names_what_only_begins_like_it) {
  for (const auto* key : {"/app", "/app/1", "/app-prod/1", "/app-prod/2", "/apple", "/b/1", "/crosslink/x"})
    put(key, "1");
  open("/app");
  const auto found = must(mirror->survey(std::nullopt));
  EXPECT_EQ(found.prefix, "/app");
  EXPECT_EQ(found.keys, 5U);
  EXPECT_EQ(found.shown.front(), "/app");
  EXPECT_EQ(found.neighbours, (std::vector<std::string>{"/app-prod/", "/apple"}));
  EXPECT_FALSE(found.explained);
  open("");
  EXPECT_EQ(must(mirror->survey(std::nullopt)).keys, 6U);  // crosslink's own are no part of any place
  EXPECT_TRUE(must(mirror->survey(std::nullopt)).neighbours.empty());
  open("/app/");
  EXPECT_TRUE(must(mirror->survey(std::nullopt)).neighbours.empty());
  open();
  EXPECT_EQ(refusal(mirror->survey(std::nullopt)), "Configuration");
  EXPECT_EQ(refusal(mirror->survey("")), "UnsupportedOperation");
  EXPECT_EQ(must(mirror->survey("/b/")).keys, 1U);
  bootstrap({{"/registry/a", "1"}}, Lsn{10});
  const auto own = must(mirror->survey("/b/"));
  EXPECT_TRUE(own.explained);
  EXPECT_EQ(own.prefix, "/registry/");
  EXPECT_EQ(own.owner, "node");
}

}  // namespace
}  // namespace crosslink::test
