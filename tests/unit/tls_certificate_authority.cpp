#include <gtest/gtest.h>
#include <openssl/asn1.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "support/temporary_folder.hpp"
#include "tls/certificate_authority.hpp"
#include "tls/credentials.hpp"
#include "tls/pem_files.hpp"
#include "tls_specimen.hpp"

namespace crosslink::test {
namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat facts{};
  return ::lstat(path.c_str(), &facts) == 0 ? facts.st_mode & 07777 : 0;
}

class Authority : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path dir_ = folder_.path() / "certs";

  std::filesystem::path file(const std::string& name) const { return dir_ / name; }
  void make() const {
    const auto made = tls::make_authority(dir_, false);
    ASSERT_TRUE(made) << made.error().message();
  }
  Result<void> issue(const std::string& name, const std::vector<std::string>& also = {}, bool force = false) const {
    return tls::issue(dir_, name, also, force);
  }
  void expect_refused(const Result<void>& result, const std::string& beginning) const {
    ASSERT_FALSE(result) << "expected: " << beginning;
    EXPECT_EQ(result.error().kind(), ErrorKind::Configuration);
    EXPECT_EQ(result.error().message().substr(0, beginning.size()), beginning);
  }
  tls::X509Pointer load(const std::string& name) const {
    auto loaded = tls::load_certificates(file(name), "certificate");
    return loaded ? std::move(loaded->front()) : nullptr;
  }
  std::vector<std::string> names_in_folder() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir_))
      names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
};

bool verifies(X509* authority, X509* leaf, int purpose) {
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, authority);
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, leaf, nullptr);
  X509_STORE_CTX_set_flags(context, X509_V_FLAG_X509_STRICT);
  X509_STORE_CTX_set_purpose(context, purpose);
  const bool good = X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return good;
}

TEST_F(Authority, issues_certificates_that_pass_check_credentials) {
  make();
  ASSERT_TRUE(issue("prod-us", {"prod-us.example.com", "prod-us"}));
  const auto good = tls::check_credentials(file("ca.pem"), file("prod-us.pem"), file("prod-us.key"));
  EXPECT_TRUE(good) << good.error().message();
  const auto names = tls::dns_names_of_file(file("prod-us.pem"));
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (std::vector<std::string>{"prod-us", "prod-us.example.com"}));
}

TEST_F(Authority, signs_for_server_and_client_by_the_strict_rules) {
  make();
  ASSERT_TRUE(issue("prod-us"));
  const auto authority = load("ca.pem");
  const auto leaf = load("prod-us.pem");
  EXPECT_TRUE(verifies(authority.get(), leaf.get(), X509_PURPOSE_SSL_SERVER));
  EXPECT_TRUE(verifies(authority.get(), leaf.get(), X509_PURPOSE_SSL_CLIENT));
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_get_pathlen(authority.get()), 0);
  EXPECT_EQ(X509_get_key_usage(authority.get()), static_cast<unsigned>(KU_KEY_CERT_SIGN | KU_CRL_SIGN));
  EXPECT_EQ(X509_get_key_usage(leaf.get()), static_cast<unsigned>(KU_DIGITAL_SIGNATURE));
}

TEST_F(Authority, certificates_begin_in_the_past_and_never_outlive_the_authority) {
  make();
  ASSERT_TRUE(issue("prod-us"));
  const auto authority = load("ca.pem");
  const auto leaf = load("prod-us.pem");
  int days = 0;
  int seconds = 0;
  ASSERT_EQ(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(leaf.get())), 1);
  EXPECT_GE(days, 824);
  EXPECT_LE(days, 825);
  ASSERT_EQ(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notBefore(leaf.get())), 1);
  EXPECT_LT(seconds, 0);
  EXPECT_LT(ASN1_TIME_compare(X509_get0_notAfter(leaf.get()), X509_get0_notAfter(authority.get())), 0);
}

TEST_F(Authority, serial_numbers_differ) {
  make();
  ASSERT_TRUE(issue("a"));
  ASSERT_TRUE(issue("b"));
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(load("a.pem").get()), X509_get0_serialNumber(load("b.pem").get())),
            0);
}

TEST_F(Authority, keys_and_a_new_folder_are_for_the_owner_only) {
  dir_ = folder_.path() / "parent" / "certs" / "";
  make();
  ASSERT_TRUE(issue("prod-us"));
  EXPECT_EQ(mode_of(folder_.path() / "parent" / "certs"), 0700u);
  EXPECT_EQ(mode_of(file("ca.key")), 0600u);
  EXPECT_EQ(mode_of(file("prod-us.key")), 0600u);
  EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"ca.key", "ca.pem", "prod-us.key", "prod-us.pem"}));
}

TEST_F(Authority, nothing_is_overwritten_without_force) {
  make();
  ASSERT_TRUE(issue("prod-us"));
  const auto key = read_file(file("prod-us.key"));
  const auto authority_key = read_file(file("ca.key"));
  expect_refused(issue("prod-us"), "'" + file("prod-us.key").string() + "' already exists: give --force");
  expect_refused(tls::make_authority(dir_, false), "'" + file("ca.key").string() + "' already exists: give --force");
  EXPECT_EQ(read_file(file("prod-us.key")), key);
  EXPECT_EQ(read_file(file("ca.key")), authority_key);
  EXPECT_TRUE(issue("prod-us", {}, true));
  EXPECT_NE(read_file(file("prod-us.key")), key);
  EXPECT_EQ(mode_of(file("prod-us.key")), 0600u);
  EXPECT_TRUE(tls::check_credentials(file("ca.pem"), file("prod-us.pem"), file("prod-us.key")));
}

TEST_F(Authority, a_lone_certificate_or_a_dangling_link_counts_as_existing) {
  make();
  std::filesystem::create_symlink("nowhere", file("a.key"));
  expect_refused(issue("a"), "'" + file("a.key").string() + "' already exists");
  std::filesystem::create_symlink("nowhere", file("b.pem"));
  expect_refused(issue("b"), "'" + file("b.pem").string() + "' already exists");
  EXPECT_FALSE(std::filesystem::exists(file("b.key")));
}

TEST_F(Authority, two_at_once_never_overwrite_each_other) {
  make();
  std::vector<int> made(4, 0);
  {
    std::vector<std::jthread> threads;
    threads.reserve(made.size());
    for (int& one : made)
      threads.emplace_back([this, &one] { one = issue("prod-us") ? 1 : 0; });
  }
  EXPECT_EQ(std::ranges::count(made, 1), 1);
  EXPECT_TRUE(tls::check_credentials(file("ca.pem"), file("prod-us.pem"), file("prod-us.key")));
}

TEST_F(Authority, refuses_names_that_no_cluster_can_have) {
  make();
  expect_refused(issue("Prod"), "'Prod' has upper-case letters: cluster ids are lower-case");
  expect_refused(issue("a/b"), "'a/b' is not a DNS name");
  expect_refused(issue("a,DNS:b"), "'a,DNS:b' is not a DNS name");
  expect_refused(issue("*.a"), "'*.a' is not a DNS name");
  expect_refused(issue(""), "'' is not a DNS name");
  expect_refused(issue("a", {"b c"}), "'b c' is not a DNS name");
  expect_refused(issue("ca", {}, true), "the name 'ca' is taken by the authority's own files");
  EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"ca.key", "ca.pem"}));
}

TEST_F(Authority, puts_at_most_64_names_into_a_certificate) {
  make();
  std::vector<std::string> also;
  for (int i = 1; i < 64; ++i)
    also.push_back("n" + std::to_string(i));
  EXPECT_TRUE(issue("a", also));
  also.emplace_back("n64");
  expect_refused(issue("b", also), "65 names are too many");
}

TEST_F(Authority, takes_a_name_longer_than_a_common_name) {
  make();
  const std::string name = std::string(60, 'a') + "." + std::string(60, 'b');
  ASSERT_TRUE(issue(name));
  EXPECT_TRUE(verifies(load("ca.pem").get(), load(name + ".pem").get(), X509_PURPOSE_SSL_SERVER));
}

TEST_F(Authority, that_is_missing_or_unusable_is_named) {
  expect_refused(issue("a"),
                 "there is no CA in '" + dir_.string() + "' (no ca.pem): make one with `crosslink certs init`");
  make();
  const auto other = make_specimen({});
  write_file(folder_.path() / "certs/ca.key", other.key_pem);
  expect_refused(issue("a"), "the key in '" + file("ca.key").string() + "' does not belong to the CA");
  write_file(folder_.path() / "certs/ca.pem", make_specimen({.dns_names = {"a"}}).certificate_pem);
  std::filesystem::remove(file("ca.key"));
  expect_refused(issue("a"), "the CA key file '" + file("ca.key").string() + "' does not exist");
}

TEST_F(Authority, a_folder_that_cannot_be_made_or_written_is_named) {
  dir_ = write_file(folder_.path() / "file", "x");
  expect_refused(tls::make_authority(dir_, false), "cannot make the folder '" + dir_.string() + "'");
  dir_ = folder_.path() / "file" / "below";
  expect_refused(tls::make_authority(dir_, false), "cannot make the folder '" + dir_.string() + "'");
  dir_ = "/proc/self";
  expect_refused(tls::make_authority(dir_, false), "cannot write '/proc/self/ca.key'");
}

}  // namespace
}  // namespace crosslink::test
