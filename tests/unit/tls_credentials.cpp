#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "support/temporary_folder.hpp"
#include "tls/credentials.hpp"
#include "tls_specimen.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;

class Credentials : public testing::Test {
 protected:
  TemporaryFolder folder_;
  Specimen good_ = make_specimen({.dns_names = {"prod-us"}});
  std::filesystem::path ca_ = write_file(folder_.path() / "ca.pem", good_.certificate_pem);
  std::filesystem::path cert_ = write_file(folder_.path() / "node.pem", good_.certificate_pem);
  std::filesystem::path key_ = write_file(folder_.path() / "node.key", good_.key_pem);

  std::string quoted(const std::string& name) const { return "'" + (folder_.path() / name).string() + "'"; }
  void expect_refused(const std::string& beginning) const {
    const auto result = tls::check_credentials(ca_, cert_, key_);
    ASSERT_FALSE(result) << "expected: " << beginning;
    EXPECT_EQ(result.error().kind(), ErrorKind::Configuration);
    EXPECT_EQ(result.error().caused_by(), CausedBy::us);
    EXPECT_EQ(result.error().message().substr(0, beginning.size()), beginning);
  }
};

TEST_F(Credentials, that_fit_are_accepted) {
  const auto result = tls::check_credentials(ca_, cert_, key_);
  EXPECT_TRUE(result) << result.error().message();
}

TEST_F(Credentials, may_have_intermediates_and_several_authorities) {
  const auto second = make_specimen({}).certificate_pem;
  ca_ = write_file(folder_.path() / "two.pem", "a comment\n" + second + good_.certificate_pem);
  cert_ = write_file(folder_.path() / "chain.pem", good_.certificate_pem + second);
  EXPECT_TRUE(tls::check_credentials(ca_, cert_, key_));
  const auto names = tls::dns_names_of_file(cert_);
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, std::vector<std::string>{"prod-us"});
}

TEST_F(Credentials, end_with_the_first_of_a_chain_and_the_last_of_several_authorities) {
  const auto both = write_file(folder_.path() / "both.pem",
                               good_.certificate_pem + make_specimen({.valid_to = 1000h}).certificate_pem);
  const auto own = tls::not_after_of_file(both, tls::CertificateUse::own);
  const auto authority = tls::not_after_of_file(both, tls::CertificateUse::authority);
  ASSERT_TRUE(own);
  ASSERT_TRUE(authority);
  EXPECT_LT(*own, *authority);
  EXPECT_EQ(*own, *tls::not_after_of_file(cert_, tls::CertificateUse::own));
  EXPECT_FALSE(tls::not_after_of_file(key_, tls::CertificateUse::own));
}

TEST_F(Credentials, have_another_stamp_once_they_are_written_or_a_link_to_them_is_swapped) {
  const auto link = folder_.path() / "link.pem";
  std::filesystem::create_symlink(cert_, link);
  const auto before = tls::stamp_of_file(link);
  EXPECT_EQ(tls::stamp_of_file(link), before);
  EXPECT_EQ(tls::stamp_of_file(cert_), before);
  std::filesystem::create_symlink(key_, folder_.path() / "fresh.pem");
  std::filesystem::rename(folder_.path() / "fresh.pem", link);
  EXPECT_NE(tls::stamp_of_file(link), before);
  EXPECT_EQ(tls::stamp_of_file(folder_.path() / "none.pem"), "missing");
}

TEST_F(Credentials, of_a_client_need_no_dns_name_and_may_be_left_out) {
  const auto nameless = make_specimen({});
  const auto cert = write_file(folder_.path() / "client.pem", nameless.certificate_pem);
  const auto key = write_file(folder_.path() / "client.key", nameless.key_pem);
  EXPECT_TRUE(tls::check_client_credentials(ca_, cert, key));
  EXPECT_TRUE(tls::check_client_credentials({}, {}, {}));
  EXPECT_FALSE(tls::check_client_credentials(ca_, cert, key_));
  EXPECT_FALSE(tls::check_client_credentials(key_, {}, {}));
}

TEST_F(Credentials, missing_files_are_named_with_the_way_out) {
  key_ = folder_.path() / "nowhere.key";
  expect_refused("the key file " + quoted("nowhere.key") + " does not exist: give the right path");
  cert_ = folder_.path() / "nowhere.pem";
  expect_refused("the certificate file " + quoted("nowhere.pem") + " does not exist: give the right path");
  ca_ = folder_.path() / "node.pem" / "below-a-file";
  expect_refused("the CA file " + quoted("node.pem/below-a-file") + " does not exist: give the right path");
}

TEST_F(Credentials, a_folder_or_a_pipe_is_refused_without_waiting) {
  cert_ = folder_.path();
  expect_refused("the certificate file '" + folder_.path().string() + "' is not a regular file");
  cert_ = folder_.path() / "pipe";
  ASSERT_EQ(::mkfifo(cert_.c_str(), 0600), 0);
  expect_refused("the certificate file " + quoted("pipe") + " is not a regular file");
}

TEST_F(Credentials, an_unopenable_file_is_reported_with_the_systems_reason) {
  ca_ = folder_.path() / "loop";
  ASSERT_EQ(::symlink("loop", ca_.c_str()), 0);
  expect_refused("the CA file " + quoted("loop") + " cannot be read (Too many levels of symbolic links)");
}

TEST_F(Credentials, a_file_over_4_MiB_is_refused) {
  ca_ = write_file(folder_.path() / "big.pem", std::string(4 * 1024 * 1024 + 1, 'x'));
  expect_refused("the CA file " + quoted("big.pem") + " is larger than 4 MiB");
}

TEST_F(Credentials, files_without_pem_are_told_what_they_lack) {
  ca_ = write_file(folder_.path() / "ca-text.pem", "hello");
  expect_refused("the CA file " + quoted("ca-text.pem") + " holds no PEM certificate");
  ca_ = cert_;
  key_ = write_file(folder_.path() / "empty.key", "");
  expect_refused("the key file " + quoted("empty.key") + " holds no PEM private key");
  key_ = cert_;
  expect_refused("the key file " + quoted("node.pem") + " holds no PEM private key");
  cert_ = folder_.path() / "node.key";
  expect_refused("the certificate file " + quoted("node.key") + " holds no PEM certificate");
}

TEST_F(Credentials, a_damaged_certificate_never_passes_for_the_end_of_the_file) {
  std::string damaged = good_.certificate_pem;
  damaged[damaged.find('\n') + 10] = '!';
  ca_ = write_file(folder_.path() / "damaged.pem", good_.certificate_pem + damaged);
  expect_refused("the CA file " + quoted("damaged.pem") + " holds a damaged certificate");
}

TEST_F(Credentials, an_encrypted_key_is_refused_without_asking) {
  key_ = write_file(folder_.path() / "locked.key", good_.encrypted_key_pem);
  expect_refused("the key file " + quoted("locked.key") + " is encrypted, and no passphrase is ever asked for");
}

TEST_F(Credentials, a_key_of_another_certificate_names_both_files) {
  key_ = write_file(folder_.path() / "other.key", make_specimen({}).key_pem);
  expect_refused("the key in " + quoted("other.key") + " does not belong to the certificate in " + quoted("node.pem"));
}

TEST_F(Credentials, out_of_date_certificates_are_refused_with_the_date) {
  const auto expired = make_specimen({.dns_names = {"a"}, .valid_from = -48h, .valid_to = -24h});
  cert_ = write_file(folder_.path() / "expired.pem", expired.certificate_pem);
  key_ = write_file(folder_.path() / "expired.key", expired.key_pem);
  expect_refused("the certificate in " + quoted("expired.pem") + " expired on 20");
  const auto early = make_specimen({.dns_names = {"a"}, .valid_from = 24h, .valid_to = 48h});
  cert_ = write_file(folder_.path() / "early.pem", early.certificate_pem);
  key_ = write_file(folder_.path() / "early.key", early.key_pem);
  expect_refused("the certificate in " + quoted("early.pem") + " is not valid before 20");
}

TEST_F(Credentials, an_expired_authority_counts_only_when_there_is_no_other) {
  const auto expired = make_specimen({.valid_from = -48h, .valid_to = -24h}).certificate_pem;
  ca_ = write_file(folder_.path() / "mixed.pem", expired + good_.certificate_pem);
  EXPECT_TRUE(tls::check_credentials(ca_, cert_, key_));
  ca_ = write_file(folder_.path() / "old.pem", expired);
  expect_refused("the CA certificate in " + quoted("old.pem") + " expired on 20");
}

TEST_F(Credentials, a_certificate_without_a_dns_name_is_refused) {
  const auto nameless = make_specimen({.common_name = "prod-us", .dns_names = {"*.example"}});
  cert_ = write_file(folder_.path() / "nameless.pem", nameless.certificate_pem);
  key_ = write_file(folder_.path() / "nameless.key", nameless.key_pem);
  expect_refused("the certificate in " + quoted("nameless.pem") + " has no DNS name in its subjectAltName");
}

TEST_F(Credentials, a_certificate_with_deceptive_names_is_refused_by_file) {
  using namespace std::string_literals;
  const auto deceptive = make_specimen({.dns_names = {"prod-us\0.evil"s}});
  cert_ = write_file(folder_.path() / "nul.pem", deceptive.certificate_pem);
  key_ = write_file(folder_.path() / "nul.key", deceptive.key_pem);
  expect_refused("the certificate in " + quoted("nul.pem") +
                 " cannot be used: the certificate has a DNS name with a NUL");
}

}  // namespace
}  // namespace crosslink::test
