// The pieces of which commands are made: numbers, patterns, the table, writes that are not committed yet.
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "node/clients/command_table.hpp"
#include "node/clients/glob.hpp"
#include "node/log.hpp"

namespace crosslink::node {
namespace {

class MapReader final : public KeyReader {
 public:
  std::map<std::string, std::string, std::less<>> values;
  bool broken = false;

 protected:
  Result<std::optional<std::string>> read(std::string_view key) override {
    if (broken) return MirrorError(ErrorKind::Storage, CausedBy::us, "the disk is gone");
    const auto found = values.find(key);
    if (found == values.end()) return std::optional<std::string>{};
    return std::optional(found->second);
  }
};

class Commands : public ::testing::Test {
 public:
  /// What the command answers.
  std::string run(std::vector<std::string> texts) {
    const auto& kept = said.emplace_back(std::move(texts));
    const Words words(kept.begin(), kept.end());
    const auto* command = find_command(words.front());
    RespReply reply(RespVersion::resp2);
    if (const auto* write = std::get_if<WriteCommand>(&command->run)) {
      (*write)(pending, words, reply);
    } else {
      std::get<ReadCommand>(command->run)(pending, words, reply);
    }
    return reply.bytes();
  }
  MapReader committed;
  PendingWrites pending{committed};
  std::deque<std::vector<std::string>> said;
};

TEST_F(Commands, see_what_was_written_before_and_is_not_committed) {
  committed.values["n"] = "41";
  EXPECT_EQ(run({"INCR", "n"}), ":42\r\n");
  EXPECT_EQ(run({"GET", "n"}), "$2\r\n42\r\n");
  EXPECT_EQ(run({"DEL", "n", "n", "other"}), ":1\r\n");
  EXPECT_EQ(run({"GET", "n"}), "$-1\r\n");
  EXPECT_EQ(run({"SETNX", "n", "1"}), ":1\r\n");
  EXPECT_EQ(pending.operations().size(), 1u) << "a key written several times is one operation";
  EXPECT_EQ(pending.operations().front(), Operation::put("n", "1"));
}

TEST_F(Commands, after_everything_was_cleared_nothing_committed_is_seen) {
  committed.values["old"] = "1";
  run({"SET", "before", "1"});
  EXPECT_EQ(run({"FLUSHDB"}), "+OK\r\n");
  EXPECT_EQ(run({"EXISTS", "old", "before"}), ":0\r\n");
  run({"SET", "after", "1"});
  ASSERT_EQ(pending.operations().size(), 2u);
  EXPECT_EQ(pending.operations()[0].kind, OperationKind::erase_range);
  EXPECT_EQ(pending.operations()[1], Operation::put("after", "1"));
  pending.forget();
  EXPECT_EQ(run({"EXISTS", "old"}), ":1\r\n");
}

TEST_F(Commands, set_obeys_its_options) {
  EXPECT_EQ(run({"SET", "k", "1", "XX"}), "$-1\r\n");
  EXPECT_EQ(run({"SET", "k", "1", "nx"}), "+OK\r\n");
  EXPECT_EQ(run({"SET", "k", "2", "NX"}), "$-1\r\n");
  EXPECT_EQ(run({"SET", "k", "3", "GET"}), "$1\r\n1\r\n");
  EXPECT_EQ(run({"SET", "k", "4", "NX", "GET"}), "$1\r\n3\r\n");
  EXPECT_EQ(run({"GET", "k"}), "$1\r\n3\r\n");
  EXPECT_EQ(run({"SET", "k", "5", "NX", "XX"}), "-ERR syntax error\r\n");
  EXPECT_EQ(run({"SET", "k", "5", "EX", "10"}), "-ERR keys do not expire here: option EX is not supported\r\n");
}

TEST_F(Commands, count_within_the_range_of_64_bits) {
  committed.values["max"] = "9223372036854775807";
  committed.values["text"] = "ten";
  committed.values["zeros"] = "007";
  EXPECT_EQ(run({"INCR", "max"}), "-ERR increment or decrement would overflow\r\n");
  EXPECT_EQ(run({"DECRBY", "max", "-9223372036854775808"}), "-ERR decrement would overflow\r\n");
  EXPECT_EQ(run({"INCR", "text"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(run({"INCR", "zeros"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(run({"INCRBY", "new", "-3"}), ":-3\r\n");
  EXPECT_TRUE(pending.writes("new"));
  EXPECT_FALSE(pending.writes("max"));
}

TEST_F(Commands, ranges_are_as_redis_has_them) {
  committed.values["k"] = "Hello";
  EXPECT_EQ(run({"GETRANGE", "k", "1", "3"}), "$3\r\nell\r\n");
  EXPECT_EQ(run({"GETRANGE", "k", "-3", "-1"}), "$3\r\nllo\r\n");
  EXPECT_EQ(run({"GETRANGE", "k", "0", "100"}), "$5\r\nHello\r\n");
  EXPECT_EQ(run({"GETRANGE", "k", "-100", "0"}), "$1\r\nH\r\n");
  EXPECT_EQ(run({"GETRANGE", "k", "3", "1"}), "$0\r\n\r\n");
  EXPECT_EQ(run({"GETRANGE", "none", "0", "-1"}), "$0\r\n\r\n");
  EXPECT_EQ(run({"SETRANGE", "k", "7", "!"}), ":8\r\n");
  EXPECT_EQ(run({"GET", "k"}), std::string("$8\r\nHello\0\0!\r\n", 14));
  EXPECT_EQ(run({"SETRANGE", "k", "9000000000000000000", "x"}),
            "-ERR string exceeds maximum allowed size (64 MiB)\r\n");
  EXPECT_EQ(run({"SETRANGE", "none", "5", ""}), ":0\r\n");
  EXPECT_EQ(run({"APPEND", "k", "?"}), ":9\r\n");
  EXPECT_EQ(run({"STRLEN", "k"}), ":9\r\n");
}

TEST_F(Commands, of_several_keys_do_all_or_nothing) {
  committed.values["a"] = "1";
  EXPECT_EQ(run({"MSETNX", "b", "2", "a", "3"}), ":0\r\n");
  EXPECT_FALSE(pending.writes("b"));
  EXPECT_EQ(run({"MSET", "b", "2", "c"}), "-ERR wrong number of arguments for 'mset' command\r\n");
  EXPECT_EQ(run({"MSET", "b", "2", "c", "3"}), "+OK\r\n");
  EXPECT_EQ(run({"MGET", "a", "b", "none"}), "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n");
  EXPECT_EQ(run({"GETDEL", "a"}), "$1\r\n1\r\n");
  EXPECT_EQ(run({"TYPE", "a"}), "+none\r\n");
  EXPECT_EQ(run({"GETSET", "b", "9"}), "$1\r\n2\r\n");
}

TEST_F(Commands, write_nothing_when_the_database_cannot_be_read) {
  committed.broken = true;
  for (const auto& words : std::vector<std::vector<std::string>>{{"INCR", "k"},
                                                                 {"SETNX", "k", "1"},
                                                                 {"DEL", "k"},
                                                                 {"APPEND", "k", "1"},
                                                                 {"SETRANGE", "k", "0", "1"},
                                                                 {"GETDEL", "k"},
                                                                 {"GETSET", "k", "1"},
                                                                 {"MSETNX", "k", "1"},
                                                                 {"SET", "k", "1", "NX"}}) {
    run(words);
    EXPECT_TRUE(pending.take_error()) << words.front();
    EXPECT_TRUE(pending.operations().empty()) << words.front();
  }
}

TEST(CommandTable, finds_names_in_any_case_and_nothing_else) {
  ASSERT_NE(find_command("gEtRaNgE"), nullptr);
  EXPECT_EQ(find_command("getrange")->name, "GETRANGE");
  EXPECT_EQ(find_command("GETRANGES"), nullptr);
  EXPECT_EQ(find_command(""), nullptr);
  EXPECT_EQ(find_command(std::string(1000, 'G')), nullptr);
  EXPECT_EQ(why_left_out("expire"), "keys do not expire here");
  EXPECT_EQ(why_left_out("lpush"), "");
}

TEST(CommandTable, tells_wrong_numbers_of_words_and_keys_that_are_too_long) {
  const std::string long_key(key_bytes_max + 1, 'k');
  EXPECT_EQ(check_words(*find_command("GET"), {"GET"}), "ERR wrong number of arguments for 'get' command");
  EXPECT_EQ(check_words(*find_command("GET"), {"GET", "a"}), "");
  EXPECT_EQ(check_words(*find_command("MSET"), {"MSET", "a", long_key, "b", "1"}), "");
  EXPECT_EQ(check_words(*find_command("MSET"), {"MSET", "a", "1", long_key, "1"}),
            "ERR a key is longer than 32768 bytes");
}

TEST(Glob, matches_as_redis_does) {
  for (const auto& [pattern, text] : std::vector<std::pair<std::string, std::string>>{{"*", ""},
                                                                                      {"*", "any"},
                                                                                      {"h?llo", "hello"},
                                                                                      {"h*llo", "heeeello"},
                                                                                      {"h[ae]llo", "hallo"},
                                                                                      {"h[^e]llo", "hbllo"},
                                                                                      {"h[a-b]llo", "hbllo"},
                                                                                      {"h[b-a]llo", "hallo"},
                                                                                      {"\\*", "*"},
                                                                                      {"a\\?c", "a?c"},
                                                                                      {"*a*b*c", "xxaxxbxxc"},
                                                                                      {"[\\]]", "]"},
                                                                                      {"a[", "a["}}) {
    if (pattern == "a[") continue;  // a class without an end contains nothing
    EXPECT_TRUE(matches_glob(pattern, text)) << pattern << " " << text;
  }
  for (const auto& [pattern, text] : std::vector<std::pair<std::string, std::string>>{{"", "a"},
                                                                                      {"a", ""},
                                                                                      {"h?llo", "hllo"},
                                                                                      {"h[^e]llo", "hello"},
                                                                                      {"\\*", "x"},
                                                                                      {"*a*b*c", "xxaxxcxxb"},
                                                                                      {"a*", "ba"}}) {
    EXPECT_FALSE(matches_glob(pattern, text)) << pattern << " " << text;
  }
}

TEST(Glob, takes_no_more_than_pattern_times_text_steps) {
  std::string pattern;
  for (int i = 0; i < 1000; ++i)
    pattern += "*a";
  EXPECT_FALSE(matches_glob(pattern + "b", std::string(20'000, 'a')));
}

TEST(NodeLog, escapes_what_comes_from_others) {
  EXPECT_EQ(log_text("mirror refused", {{"mirror", "eu-1"}, {"message", "two words"}, {"name", ""}}),
            "mirror refused mirror=eu-1 message=\"two words\" name=\"\"");
  const auto text = log_text("x", {{"name", "a\nINFO y=\"z\""}});
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace crosslink::node
