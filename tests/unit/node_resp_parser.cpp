#include "node/clients/resp_parser.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "node/clients/resp_reply.hpp"

namespace crosslink::node {
namespace {

using Texts = std::vector<std::string>;

/// Feeds `bytes` in pieces of `piece`, and takes all commands out.
struct Fed {
  std::vector<Texts> commands;
  std::string error;
};
Fed feed(RespParser& parser, std::string_view bytes, std::size_t piece) {
  Fed fed;
  while (!bytes.empty()) {
    const auto part = bytes.substr(0, piece);
    std::memcpy(parser.prepare(part.size()), part.data(), part.size());
    parser.commit(part.size());
    bytes.remove_prefix(part.size());
    for (;;) {
      const auto words = parser.next();
      if (!words) {
        fed.error = words.error().message();
        return fed;
      }
      if (!*words) break;
      fed.commands.emplace_back((*words)->begin(), (*words)->end());
    }
  }
  return fed;
}
Fed feed(std::string_view bytes, RespLimits limits = {}) {
  RespParser parser(limits);
  return feed(parser, bytes, bytes.size());
}

TEST(RespParser, gives_the_words_of_an_array) {
  EXPECT_EQ(feed("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n").commands,
            (std::vector<Texts>{{"SET", "k", std::string("a\r\nb")}}));
}

TEST(RespParser, gives_the_same_commands_however_the_bytes_are_cut) {
  std::string bytes;
  std::vector<Texts> expected;
  std::mt19937 random(7);
  for (int i = 0; i < 50; ++i) {
    Texts words{"SET", "key" + std::to_string(i), std::string(random() % 300, static_cast<char>(random() % 256))};
    bytes += "*3\r\n";
    for (const auto& word : words)
      bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    expected.push_back(std::move(words));
    if (i % 7 == 0) {
      bytes += "PING now\r\n";
      expected.push_back({"PING", "now"});
    }
  }
  for (std::size_t piece = 1; piece < 200; piece += 3) {
    RespParser parser;
    const auto fed = feed(parser, bytes, piece);
    EXPECT_EQ(fed.error, "");
    EXPECT_EQ(fed.commands, expected) << "in pieces of " << piece;
  }
}

TEST(RespParser, passes_over_empty_lines_and_empty_arrays) {
  EXPECT_EQ(feed("\r\n*0\r\n*-1\r\n  \r\nPING\r\n").commands, (std::vector<Texts>{{"PING"}}));
}

TEST(RespParser, waits_for_what_is_missing) {
  EXPECT_TRUE(feed("*2\r\n$3\r\nGET\r\n$3\r\nab").commands.empty());
  EXPECT_TRUE(feed("PING").commands.empty());
}

TEST(RespParser, refuses_what_is_no_command) {
  EXPECT_EQ(feed("*x\r\n").error, "Protocol error: invalid multibulk length");
  EXPECT_EQ(feed("*1\r\n:3\r\n").error, "Protocol error: expected '$', got ':'");
  EXPECT_EQ(feed("*1\r\n$-1\r\n").error, "Protocol error: invalid bulk length");
  EXPECT_EQ(feed("*1\r\n$+3\r\n").error, "Protocol error: invalid bulk length");
  EXPECT_EQ(feed("*1\r\n$3\r\nPINGxx").error, "Protocol error: a word does not end as announced");
  EXPECT_EQ(feed("*1\r\n$" + std::string(100, '1')).error, "Protocol error: invalid bulk length");
}

TEST(RespParser, keeps_to_its_limits) {
  const RespLimits limits{10, 16, 3, 20};
  EXPECT_EQ(feed("*1\r\n$10\r\n0123456789\r\n", limits).commands.size(), 1u);
  EXPECT_EQ(feed("*1\r\n$11\r\n", limits).error, "Protocol error: invalid bulk length");
  EXPECT_EQ(feed("*2\r\n$8\r\n01234567\r\n$9\r\n", limits).error, "Protocol error: too big command");
  EXPECT_EQ(feed("*4\r\n", limits).error, "Protocol error: invalid multibulk length");
  EXPECT_EQ(feed(std::string(21, 'a'), limits).error, "Protocol error: too big inline request");
  EXPECT_EQ(feed(std::string(21, 'a') + "\r\n", limits).error, "Protocol error: too big inline request");
}

TEST(RespParser, takes_no_memory_for_a_word_that_is_only_announced) {
  RespParser parser;
  const auto fed = feed(parser, "*1\r\n$67108864\r\n", 1000);
  EXPECT_EQ(fed.error, "");
  EXPECT_LT(parser.wanted_bytes(), 100'000u);
  EXPECT_LT(parser.held_bytes(), 100'000u);
}

TEST(RespParser, gives_back_the_room_of_a_large_command) {
  RespParser parser;
  const std::string large(8'000'000, 'x');
  ASSERT_EQ(feed(parser, "*1\r\n$8000000\r\n" + large + "\r\n", 1'000'000).commands.size(), 1u);
  EXPECT_EQ(feed(parser, "PING\r\n", 6).commands.size(), 1u);
  EXPECT_LT(parser.held_bytes(), 300'000u);
}

TEST(RespParser, refuses_what_a_browser_says) {
  for (const auto line : {"GET / HTTP/1.1", "POST / HTTP/1.1", "POST /x", "PUT /", "HEAD /", "DELETE /", "OPTIONS *",
                          "Host: example", "CONNECT a:1 HTTP/1.1"}) {
    EXPECT_EQ(feed(std::string(line) + "\r\n").error, "Protocol error: this port does not speak HTTP") << line;
  }
  EXPECT_EQ(feed("GET key\r\n").commands.size(), 1u);
}

TEST(RespReply, is_another_in_each_version_where_the_protocol_says_so) {
  const auto all = [](RespVersion version) {
    RespReply reply(version);
    reply.ok();
    reply.error("ERR two\r\nlines");
    reply.integer(-5);
    reply.bulk(std::string_view("a\0b", 3));
    reply.null();
    reply.null_array();
    reply.array(2);
    reply.map(2);
    return reply.bytes();
  };
  const std::string common("+OK\r\n-ERR two  lines\r\n:-5\r\n$3\r\na\0b\r\n", 36);
  EXPECT_EQ(all(RespVersion::resp2), common + "$-1\r\n*-1\r\n*2\r\n*4\r\n");
  EXPECT_EQ(all(RespVersion::resp3), common + "_\r\n_\r\n*2\r\n%2\r\n");
}

}  // namespace
}  // namespace crosslink::node
