// Entries too large for one transaction of the target: in parts, whole in the end, whichever node ends them.
#include <filesystem>

#include "engine/etcd_fixture.hpp"

namespace crosslink::test {
namespace {

using etcd::wire::TxnRequest;

class EtcdSplit : public EtcdMirror {
 protected:
  static constexpr std::size_t count = 5000;  ///< 3,968 go in one transaction

  EtcdSplit() {
    open();
    bootstrap(many_keys(count), Lsn{10});
  }
  /// From now on the first so many transactions that write the record are made, and none after them.
  void let_pass(int parts) {
    seen = 0;
    gate.before_txn([this, parts](const TxnRequest& request) {
      const bool part =
          touches(request, etcd::record_key(mirror_name)) && !touches(request, etcd::owner_key(mirror_name));
      return part && ++seen > parts ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "for the test") : grpc::Status::OK;
    });
  }
  void let_all_pass() { gate.before_txn({}); }
  /// Written in part, when it returns.
  void write_in_part(const std::vector<Operation>& entry) {
    let_pass(1);
    EXPECT_EQ(refusal(apply({entry})), "Storage");
    let_all_pass();
    EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{10});
    const auto now = record();
    ASSERT_TRUE(now.split);
    EXPECT_EQ(now.split->lsn, Lsn{11});
    EXPECT_GT(now.split->done, 0U);
    EXPECT_EQ(now.position->applied_lsn, Lsn{10});
  }
  bool has_file() const { return std::filesystem::exists(folder.path() / "database" / "split"); }

  std::vector<Operation> deletion() const { return {Operation::erase_range("/registry/", std::nullopt)}; }
  /// Every key anew, and a range of them deleted before.
  std::vector<Operation> rewriting() {
    std::vector<Operation> all{Operation::erase_range("/registry/k001", "/registry/k002")};
    for (const auto& [key, value] : rewritten_)
      all.push_back(Operation::put(key, value));
    return all;
  }
  Contents rewritten() const {
    auto all = many_keys(1000);
    for (const auto& [key, value] : many_keys(count)) {
      if (key >= "/registry/k002") all.emplace(key, value);
    }
    for (const auto& [key, value] : rewritten_)
      all.insert_or_assign(key, value);
    return all;
  }

 private:
  Contents rewritten_ = [] {
    Contents all;
    for (std::size_t i = 1500; i < 1500 + count; ++i)
      all.emplace(key_of(i), "new");
    return all;
  }();
};

TEST_F(EtcdSplit, a_deletion_of_a_range_of_5000_keys_is_split_and_counted) {
  const auto before = revision();
  must(apply({deletion(), {Operation::put("/registry/after", "1")}}));
  EXPECT_EQ(contents(), (Contents{{"/registry/after", "1"}}));
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{12});
  EXPECT_EQ(mirror->counters().split_revisions, 1U);
  EXPECT_EQ(revision(), before + 3);
  EXPECT_FALSE(record().split);
  EXPECT_FALSE(has_file());
}

TEST_F(EtcdSplit, an_entry_with_more_bytes_than_a_request_takes_is_split) {
  const std::string value(std::size_t{100} * 1024, 'v');
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 40; ++i)
    keys.push_back(key_of(i));
  std::vector<Operation> entry;
  for (const auto& key : keys)
    entry.push_back(Operation::put(key, value));
  must(apply({entry}));
  auto wanted = many_keys(count);
  for (const auto& key : keys)
    wanted[key] = value;
  EXPECT_EQ(contents(), wanted);
  EXPECT_EQ(mirror->counters().split_revisions, 1U);
}

TEST_F(EtcdSplit, what_was_begun_is_ended_by_the_same_process) {
  write_in_part(rewriting());
  must(apply({rewriting(), {Operation::put("/registry/after", "1")}}));
  auto wanted = rewritten();
  wanted.emplace("/registry/after", "1");
  EXPECT_EQ(contents(), wanted);
  EXPECT_EQ(mirror->counters().split_revisions, 1U);
  EXPECT_FALSE(record().split);
  EXPECT_FALSE(has_file());
}

TEST_F(EtcdSplit, what_was_begun_is_ended_after_a_restart) {
  write_in_part(rewriting());
  open();
  const auto before = revision();
  must(apply({rewriting()}));
  EXPECT_EQ(contents(), rewritten());
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{11});
  EXPECT_EQ(revision(), before + 2) << "its owner is written, and the part that was left";
}

TEST_F(EtcdSplit, a_deletion_that_was_begun_is_ended_after_a_restart) {
  write_in_part(deletion());
  EXPECT_GT(contents().size(), 0U);
  open();
  must(apply({deletion()}));
  EXPECT_EQ(contents(), Contents{});
  EXPECT_FALSE(record().split);
  EXPECT_FALSE(has_file());
}

TEST_F(EtcdSplit, another_node_without_the_file_ends_it_from_the_log) {
  write_in_part(rewriting());
  open("elsewhere", "other");
  must(apply({rewriting()}));
  EXPECT_EQ(contents(), rewritten());
  EXPECT_EQ(position_of(*mirror).applied_lsn, Lsn{11});
  EXPECT_FALSE(record().split);
}

TEST_F(EtcdSplit, a_promotion_ends_it) {
  write_in_part(rewriting());
  const auto promoted = must(mirror->promote("prod-us", "registry"));
  EXPECT_EQ(promoted.position.applied_lsn, Lsn{11});
  EXPECT_EQ(promoted.position.last_entry.lsn, Lsn{11});
  EXPECT_EQ(contents(), rewritten());
  EXPECT_FALSE(has_file());
}

TEST_F(EtcdSplit, a_promotion_after_a_restart_ends_it) {
  write_in_part(deletion());
  open();
  EXPECT_EQ(must(mirror->promote("prod-us", "registry")).position.applied_lsn, Lsn{11});
  EXPECT_EQ(contents(), Contents{});
}

TEST_F(EtcdSplit, a_promotion_without_the_file_is_refused_and_changes_nothing) {
  write_in_part(rewriting());
  const auto before = contents();
  open("elsewhere", "other");
  const auto refused = mirror->promote("prod-us", "registry");
  EXPECT_EQ(refusal(refused), "Configuration");
  EXPECT_NE(refused.error().message().find("LSN 11"), std::string::npos) << refused.error().message();
  EXPECT_EQ(contents(), before);
  EXPECT_EQ(mirror->mirror_state().role, DatabaseRole::mirror);
  open();
  must(mirror->promote("prod-us", "registry"));
  EXPECT_EQ(contents(), rewritten());
}

TEST_F(EtcdSplit, a_bootstrap_in_the_middle_of_it_ends_it) {
  write_in_part(rewriting());
  const auto wanted = many_keys(100);
  bootstrap(wanted, Lsn{20}, 2);
  EXPECT_EQ(contents(), wanted);
  EXPECT_FALSE(record().split);
  EXPECT_FALSE(has_file());
}

/// A range is expanded to what the target holds: the second node's list of changes is shorter, and what is done of one
/// list says nothing of the other.
TEST_F(EtcdSplit, two_nodes_by_turns_end_it_whole) {
  Contents wanted;
  for (std::size_t i = 1000; i < 9000; ++i)
    wanted.emplace(key_of(i), "new");
  std::vector<Operation> entry{Operation::erase_range("/registry/k000", "/registry/k001")};
  for (const auto& [key, value] : wanted)
    entry.push_back(Operation::put(key, value));
  write_in_part(entry);
  for (const auto& [folder_name, node] : {std::pair{"elsewhere", "other"}, {"database", "node"}}) {
    open(folder_name, node);
    let_pass(1);
    EXPECT_EQ(refusal(apply({entry})), "Storage");
    let_all_pass();
  }
  open("elsewhere", "other");
  must(apply({entry}));
  EXPECT_EQ(contents(), wanted);
}

TEST_F(EtcdSplit, the_source_no_longer_has_what_was_written_in_part) {
  write_in_part(rewriting());
  const auto before = contents();
  EXPECT_EQ(refusal(apply({{Operation::put("/registry/a", "1")}})), "HistoriesParted");
  auto position = position_of(*mirror);
  position.applied_lsn = position.origin_lsn = Lsn{11};
  const auto moved = mirror->apply({{}, position});
  EXPECT_EQ(refusal(moved), "HistoriesParted");
  EXPECT_NE(moved.error().message().find("LSN 11"), std::string::npos) << moved.error().message();
  EXPECT_EQ(contents(), before);
  EXPECT_TRUE(record().split);
}

TEST_F(EtcdSplit, a_position_that_moves_up_to_it_leaves_it_to_be_ended) {
  let_pass(1);
  EXPECT_EQ(refusal(apply({rewriting()}, Lsn{20})), "Storage");
  let_all_pass();
  auto position = position_of(*mirror);
  position.applied_lsn = position.origin_lsn = Lsn{15};
  must(mirror->apply({{}, position}));
  EXPECT_TRUE(record().split);
  EXPECT_EQ(must(mirror->promote("prod-us", "registry")).position.applied_lsn, Lsn{20});
  EXPECT_EQ(contents(), rewritten());
}

}  // namespace
}  // namespace crosslink::test
