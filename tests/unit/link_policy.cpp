#include <gtest/gtest.h>

#include "crosslink/source.hpp"

namespace crosslink::test {
namespace {

class JudgeHello : public ::testing::Test {
 public:
  JudgeHello() {
    policy.cluster_id = ClusterId("prod-us");
    policy.authorize = [this](std::span<const std::string> shown, const DatabaseId&) {
      asked.push_back("authorize");
      for (const auto& name : shown) {
        if (name == "eu-1") return true;
      }
      return false;
    };
    policy.database_exists = [this](const DatabaseId& database) {
      asked.push_back("database_exists");
      return database.str() == "orders";
    };
    policy.admit = [this](const MirrorHello&, std::span<const std::string>) -> std::optional<MirrorError> {
      asked.push_back("admit");
      return std::nullopt;
    };
  }
  std::optional<MirrorError> judge() { return judge_hello(hello, names, policy); }
  ErrorKind refused_kind() {
    const auto error = judge();
    return error ? error->kind() : throw std::runtime_error("accepted");
  }

  std::vector<std::string> asked;
  std::vector<std::string> names{"other", "eu-1"};
  SourcePolicy policy;
  MirrorHello hello{ClusterId("prod-us"), DatabaseId("orders"), Lsn{5}};
};

TEST_F(JudgeHello, accepts_by_any_of_the_names_and_asks_in_contract_order) {
  EXPECT_FALSE(judge().has_value());
  EXPECT_EQ(asked, (std::vector<std::string>{"authorize", "database_exists", "admit"}));
}

TEST_F(JudgeHello, refuses_version_then_cluster_then_authorization_then_database_then_limits) {
  hello = MirrorHello{ClusterId("prod-eu"), DatabaseId("nothing"), Lsn{5}, 2};
  names = {"unknown"};
  policy.admit = [](const MirrorHello&, std::span<const std::string>) -> std::optional<MirrorError> {
    return MirrorError(ErrorKind::Busy, CausedBy::us, "full");
  };
  EXPECT_EQ(refused_kind(), ErrorKind::ProtocolVersionMismatch);
  hello.protocol_version = protocol_version;
  EXPECT_EQ(refused_kind(), ErrorKind::ClusterIdMismatch);
  EXPECT_TRUE(asked.empty()) << "who asks for another cluster learns nothing about databases";
  hello.source_cluster = ClusterId("PROD-us");
  EXPECT_EQ(refused_kind(), ErrorKind::NotAuthorized);
  EXPECT_EQ(asked, std::vector<std::string>{"authorize"})
      << "an unauthorized name must not learn which databases exist";
  names = {"eu-1"};
  EXPECT_EQ(refused_kind(), ErrorKind::UnknownDatabase);
  hello.source_database_id = DatabaseId("orders");
  EXPECT_EQ(refused_kind(), ErrorKind::Busy);
}

TEST_F(JudgeHello, a_policy_without_an_authorizer_lets_nobody_in) {
  policy.authorize = nullptr;
  EXPECT_EQ(refused_kind(), ErrorKind::NotAuthorized);
}

TEST_F(JudgeHello, text_of_the_mirror_is_escaped_in_the_sentence) {
  hello.source_cluster = ClusterId("a\x1b[31m\"b");
  const auto error = judge();
  EXPECT_EQ(error->message().find('\x1b'), std::string::npos) << error->message();
  const auto& ids = std::get<ClusterIds>(error->data());
  EXPECT_EQ(ids.declared, "a\x1b[31m\"b");
  EXPECT_EQ(ids.remote, "prod-us");
}

TEST_F(JudgeHello, any_lsn_is_accepted) {
  hello.last_applied_lsn = Lsn{UINT64_MAX};
  EXPECT_FALSE(judge().has_value());
}

TEST(DefaultSnapshotDecision, sends_the_latest_snapshot_to_those_below_it_only) {
  const SnapshotDecision latest{Lsn{100}, 4096};
  EXPECT_EQ(default_snapshot_decision(Lsn{99}, latest).snapshot_lsn, Lsn{100});
  EXPECT_EQ(default_snapshot_decision(Lsn{99}, latest).snapshot_bytes_total, 4096u);
  EXPECT_EQ(default_snapshot_decision(Lsn{100}, latest).snapshot_lsn, no_snapshot);
  EXPECT_EQ(default_snapshot_decision(Lsn{0}, std::nullopt).snapshot_lsn, no_snapshot);
  EXPECT_EQ(default_snapshot_decision(Lsn{0}, std::nullopt).snapshot_bytes_total, 0u);
}

}  // namespace
}  // namespace crosslink::test
