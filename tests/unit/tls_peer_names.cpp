#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tls/peer_names.hpp"
#include "tls_specimen.hpp"

namespace crosslink::test {
namespace {

using Names = std::vector<std::string>;

Result<Names> names_of(const SpecimenOptions& options) { return tls::dns_names_of_der(make_specimen(options).der); }

void expect_refused(const Result<Names>& result, const std::string& sentence) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::TlsRefused);
  EXPECT_EQ(result.error().caused_by(), CausedBy::peer);
  EXPECT_EQ(result.error().message(), sentence);
}

TEST(PeerNames, come_lower_cased_in_the_certificates_order) {
  const auto names = names_of({.dns_names = {"Prod-US", "b.example", "a_1.example"}});
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (Names{"prod-us", "b.example", "a_1.example"}));
}

TEST(PeerNames, never_fall_back_to_the_common_name) {
  const auto names = names_of({.common_name = "prod-us"});
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, Names{});
}

TEST(PeerNames, leave_out_wildcards_and_what_is_no_dns_name) {
  const auto names =
      names_of({.dns_names = {"*.example", "", "a b", "-x", "x.", "\xc3\xa4", "good", std::string(64, 'l')}});
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, Names{"good"});
}

TEST(PeerNames, leave_out_addresses_and_mail_names) {
  const auto names =
      names_of({.dns_names = {"good"}, .other_names = "IP:127.0.0.1,email:evil@x.example,URI:http://u.example"});
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, Names{"good"});
}

TEST(PeerNames, refuse_a_name_with_a_nul_even_beside_good_ones) {
  using namespace std::string_literals;
  expect_refused(names_of({.dns_names = {"good", "prod-us\0.evil.example"s}}),
                 "the certificate has a DNS name with a NUL character in it");
}

TEST(Serials, are_compared_in_one_form_however_people_write_them) {
  for (const auto* text : {"6F0B4C", "6f:0b:4c", "006F0B4C", "serial=6F0B4C", "6F:0B:4C:"}) {
    const auto serial = tls::parse_serial(text);
    ASSERT_TRUE(serial) << text;
    EXPECT_EQ(*serial, "6F0B4C");
  }
  EXPECT_EQ(*tls::parse_serial("000"), "0");
  EXPECT_EQ(*tls::parse_serial("-0a"), "-A");
  for (const auto& text : {std::string(), std::string(":"), std::string("0x6F"), std::string("6F 0B"),
                           std::string("serial="), std::string(129, 'A')})
    EXPECT_FALSE(tls::parse_serial(text)) << text;
}

TEST(Serials, of_a_certificate_are_in_that_form) {
  const auto read = tls::peer_certificate_of_der(make_specimen({.dns_names = {"prod-us"}}).der);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->serial, *tls::parse_serial(read->serial));
}

TEST(PeerNames, are_64_at_most) {
  SpecimenOptions options;
  for (int i = 0; i < 64; ++i)
    options.dns_names.push_back("n" + std::to_string(i));
  auto names = names_of(options);
  ASSERT_TRUE(names);
  EXPECT_EQ(names->size(), 64u);
  options.dns_names.emplace_back("*.ignored");
  EXPECT_TRUE(names_of(options));
  options.dns_names.emplace_back("n64");
  expect_refused(names_of(options), "the certificate has more than 64 DNS names");
}

TEST(PeerNames, refuse_a_doubled_or_damaged_extension) {
  expect_refused(names_of({.dns_names = {"good"}, .doubled_alt_name = true}),
                 "the certificate has two subjectAltName extensions");
  expect_refused(names_of({.dns_names = {"good"}, .damaged_alt_name = true}),
                 "the certificate has a subjectAltName that cannot be read");
}

TEST(PeerNames, refuse_every_truncation_and_every_extra_byte) {
  const auto der = make_specimen({.dns_names = {"good"}}).der;
  for (std::size_t size = 0; size < der.size(); ++size) {
    EXPECT_FALSE(tls::dns_names_of_der(std::span(der).first(size))) << size;
  }
  auto longer = der;
  longer.push_back(std::byte{0});
  expect_refused(tls::dns_names_of_der(longer), "the certificate is not one complete X.509 certificate");
}

TEST(PeerNames, refuse_a_huge_certificate_unread) {
  const std::vector<std::byte> huge(tls::certificate_bytes_max + 1);
  expect_refused(tls::dns_names_of_der(huge), "the certificate is larger than 64 KiB");
}

}  // namespace
}  // namespace crosslink::test
