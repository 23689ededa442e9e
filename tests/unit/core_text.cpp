// Text from a peer made safe, and names compared.
#include <gtest/gtest.h>

#include <string>

#include "crosslink/types.hpp"
#include "wire/utf8.hpp"

namespace crosslink::test {
namespace {

TEST(Escape, leaves_plain_text_alone) {
  EXPECT_EQ(escape(""), "");
  EXPECT_EQ(escape("prod-us: database orders, LSN 17 (50 %)"), "prod-us: database orders, LSN 17 (50 %)");
  EXPECT_EQ(escape("k\xc3\xb6ln \xe3\x83\x87 \xf0\x9f\x8c\x8d"), "k\xc3\xb6ln \xe3\x83\x87 \xf0\x9f\x8c\x8d");
}

TEST(Escape, makes_every_ascii_control_character_visible) {
  for (unsigned c = 0; c < 0x20; ++c) {
    char wanted[8];
    std::snprintf(wanted, sizeof wanted, "\\x%02x", c);
    EXPECT_EQ(escape(std::string(1, static_cast<char>(c))), wanted);
  }
  EXPECT_EQ(escape("\x7f"), "\\x7f");
}

TEST(Escape, makes_every_c1_control_character_visible_and_no_letter_after_them) {
  for (unsigned c = 0x80; c < 0xa0; ++c) {
    char wanted[12];
    std::snprintf(wanted, sizeof wanted, "\\xc2\\x%02x", c);
    EXPECT_EQ(escape(std::string("\xc2") + static_cast<char>(c)), wanted);
  }
  EXPECT_EQ(escape("\xc2\xa0\xc2\xbf"), "\xc2\xa0\xc2\xbf");
}

TEST(Escape, escapes_quotes_and_backslashes_so_that_it_cannot_be_mistaken) {
  EXPECT_EQ(escape("\"'\\"), "\\x22\\x27\\x5c");
  EXPECT_EQ(escape("\\x0a"), "\\x5cx0a");
}

TEST(Escape, escapes_bytes_that_are_no_utf8_one_by_one_and_goes_on) {
  EXPECT_EQ(escape("a\xff\x62"), "a\\xffb");
  EXPECT_EQ(escape("\xc3"), "\\xc3");
  EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(escape("\xe3\x83x"), "\\xe3\\x83x");
}

TEST(Escape, never_lets_a_terminal_sequence_through) {
  EXPECT_EQ(escape("\x1b[2J\x9b"
                   "2J\r\n"),
            "\\x1b[2J\\x9b2J\\x0d\\x0a");
}

TEST(Escape, cuts_at_the_end_of_a_character) {
  EXPECT_EQ(escape("aaaa", 3), "aaa");
  EXPECT_EQ(escape("aa\xc3\xb6", 4), "aa\xc3\xb6");
  EXPECT_EQ(escape("aa\xc3\xb6", 3), "aa");
  EXPECT_EQ(escape("\xf0\x9f\x8c\x8d", 3), "");
  EXPECT_EQ(escape("a", 0), "");
}

TEST(Escape, cuts_at_the_end_of_an_escape_and_lets_nothing_follow) {
  EXPECT_EQ(escape("a\n", 5), "a\\x0a");
  EXPECT_EQ(escape("a\nb", 4), "a");
  EXPECT_EQ(escape("\xc2\x80", 8), "\\xc2\\x80");
  EXPECT_EQ(escape("\xc2\x80z", 7), "");
}

TEST(Escape, gives_at_most_512_bytes_unless_told_otherwise) {
  EXPECT_EQ(escape(std::string(513, 'a')).size(), 512U);
  EXPECT_EQ(escape(std::string(513, '\n')).size(), 512U);
  EXPECT_EQ(escape(std::string(513, 'a'), 1000).size(), 513U);
}

TEST(Utf8, is_well_formed_only_as_rfc_3629_says) {
  for (const std::string good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                                 "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(core::is_utf8(good)) << escape(good);
  }
  for (const std::string bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
                                "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff", "\xc2",
                                "\xe1\x80", "\xf1\x80\x80", "\xc2x", "\xe1\x80x", "\xf1\x80\x80x"}) {
    EXPECT_FALSE(core::is_utf8(bad)) << escape(bad);
    EXPECT_FALSE(core::is_utf8("a" + bad + "b")) << escape(bad);
  }
}

TEST(DnsName, is_labels_of_letters_digits_hyphens_and_underscores) {
  for (const std::string good : {"a", "prod-us", "prod-us.example.com", "EU-1", "0", "a_b", "xn--kln-sna", "1.2"}) {
    EXPECT_TRUE(is_dns_name(good)) << good;
  }
  EXPECT_TRUE(is_dns_name(std::string(63, 'a')));
}

TEST(DnsName, has_no_empty_label_wildcard_outer_hyphen_or_other_character) {
  for (const std::string bad : {"", ".", "a.", ".a", "a..b", "*", "*.example", "-a", "a-", "a.-b", "a-.b", "a b", "a\n",
                                "a/b", "a:1", "k\xc3\xb6ln", "a@b"}) {
    EXPECT_FALSE(is_dns_name(bad)) << escape(bad);
  }
  EXPECT_FALSE(is_dns_name(std::string_view("a\0b", 3)));
}

TEST(DnsName, ends_at_63_characters_a_label_and_253_altogether) {
  EXPECT_FALSE(is_dns_name(std::string(64, 'a')));
  EXPECT_FALSE(is_dns_name("a." + std::string(64, 'a')));
  const auto label = std::string(63, 'a');
  const auto longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  ASSERT_EQ(longest.size(), 253U);
  EXPECT_TRUE(is_dns_name(longest));
  EXPECT_FALSE(is_dns_name(longest + "a"));
}

TEST(Names, are_compared_without_regard_to_ascii_case_only) {
  EXPECT_TRUE(equal_ignoring_case("Prod-US", "pROD-us"));
  EXPECT_TRUE(equal_ignoring_case("", ""));
  EXPECT_TRUE(equal_ignoring_case("AZaz", "azAZ"));
  EXPECT_FALSE(equal_ignoring_case("prod", "prod-us"));
  EXPECT_FALSE(equal_ignoring_case("prod-us", "prod"));
  EXPECT_FALSE(equal_ignoring_case("@[", "`{"));
  EXPECT_FALSE(equal_ignoring_case("\xc3\x84", "\xc3\xa4"));
}

}  // namespace
}  // namespace crosslink::test
