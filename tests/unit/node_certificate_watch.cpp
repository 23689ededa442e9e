#include "node/certificate_watch.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "support/certificates.hpp"

namespace crosslink::node {
namespace {

using namespace std::chrono_literals;

TEST(CertificateWarning, begins_30_days_before_the_end) {
  const auto now = std::chrono::system_clock::now();
  CertificateFacts one{"node", "", "/certs/prod-us.pem", now + 30 * 24h + 1min, ""};
  EXPECT_EQ(certificate_warning_of(one, now), "");
  one.not_after = now + 30 * 24h - 1min;
  EXPECT_NE(certificate_warning_of(one, now).find("in 29 days: renew it"), std::string::npos);
  one.not_after = now - 1s;
  EXPECT_EQ(certificate_warning_of(one, now).find("/certs/prod-us.pem (node) has expired on "), 0u);
  one.not_after = now + 365 * 24h;
  one.trouble = "it is garbage";
  EXPECT_NE(certificate_warning_of(one, now).find("not in use: it is garbage"), std::string::npos);
  one.not_after.reset();
  one.trouble.clear();
  EXPECT_EQ(certificate_warning_of(one, now), "");
}

class CertificateWatching : public testing::Test {
 protected:
  std::vector<CertificateSet> sets() const { return {certificate_set_of(certificates_.files("prod-us"), "prod-us")}; }
  void write(const std::string& text) const {
    std::ofstream(certificates_.files("prod-us").cert, std::ios::trunc) << text;
  }
  std::string read() const {
    std::ifstream file(certificates_.files("prod-us").cert);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  const test::Certificates certificates_{{"prod-us", "eu-1"}};
  CertificateWatch watch_;
};

TEST_F(CertificateWatching, what_is_there_at_first_is_in_use_and_what_cannot_be_used_later_changes_nothing) {
  EXPECT_FALSE(watch_.look(sets()));
  const auto before = watch_.facts();
  ASSERT_EQ(before.size(), 2u);
  EXPECT_EQ(before[0].role, "node");
  EXPECT_EQ(before[1].role, "node_ca");
  EXPECT_LT(*before[0].not_after, *before[1].not_after);
  EXPECT_FALSE(watch_.look(sets())) << "nothing changed";
  const auto good = read();
  write("garbage");
  EXPECT_FALSE(watch_.look(sets()));
  EXPECT_NE(watch_.facts()[0].trouble.find("holds no PEM certificate"), std::string::npos);
  EXPECT_EQ(watch_.facts()[0].not_after, before[0].not_after) << "of what is in use";
  write(good);
  EXPECT_TRUE(watch_.look(sets()));
  EXPECT_EQ(watch_.facts()[0].trouble, "");
  EXPECT_FALSE(watch_.look(sets()));
}

TEST_F(CertificateWatching, what_could_not_be_used_after_all_is_looked_at_again) {
  EXPECT_FALSE(watch_.look(sets()));
  write(read() + "\n");
  EXPECT_TRUE(watch_.look(sets()));
  watch_.refused(MirrorError::configuration("not taken"));
  EXPECT_EQ(watch_.facts()[0].trouble, "not taken");
  EXPECT_TRUE(watch_.look(sets()));
  EXPECT_EQ(watch_.facts()[0].trouble, "not taken") << "until the owner says that it is taken";
  watch_.taken();
  EXPECT_EQ(watch_.facts()[0].trouble, "");
  EXPECT_FALSE(watch_.look(sets()));
}

TEST_F(CertificateWatching, a_certificate_of_another_name_is_refused) {
  auto other = certificate_set_of(certificates_.files("eu-1"), "prod-us");
  const auto checked = check_certificates(other);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message().find("is for eu-1, not for the cluster id 'prod-us'"), std::string::npos);
}

TEST_F(CertificateWatching, files_that_nobody_names_any_more_are_forgotten) {
  auto all = sets();
  EtcdCluster cluster;
  cluster.ca_file = certificates_.files("eu-1").ca;
  all.push_back(certificate_set_of("registry", cluster));
  EXPECT_FALSE(watch_.look(all));
  EXPECT_EQ(watch_.facts().size(), 3u);
  EXPECT_FALSE(watch_.look(sets()));
  EXPECT_EQ(watch_.facts().size(), 2u);
}

}  // namespace
}  // namespace crosslink::node
