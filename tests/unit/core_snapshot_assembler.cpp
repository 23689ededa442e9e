// docs/protocol.md, the SnapshotRequest section: what a mirror asks for, stores, and takes for whole.
#include "session/snapshot_assembler.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace crosslink::test {
namespace {

using namespace core;
using Begin = SnapshotAssembler::Begin;
using Verdict = SnapshotAssembler::Verdict;

const std::vector<std::string> formats{"fast", "kv"};

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

SnapshotFacts facts(std::uint8_t id) {
  SnapshotFacts facts;
  facts.id.bytes.fill(std::byte{id});
  facts.format = "kv";
  facts.snapshot_lsn = facts.consistent_lsn = Lsn{7};
  facts.total_bytes = 6;
  return facts;
}

StoredChunk stored(std::uint64_t offset, std::string_view text) {
  return {offset, static_cast<std::uint32_t>(text.size()), crc32c(bytes_of(text))};
}

SnapshotChunk chunk(std::uint64_t offset, std::string_view text) {
  SnapshotChunk chunk;
  chunk.offset = offset;
  chunk.crc32c = crc32c(bytes_of(text));
  return chunk;
}

SnapshotChunk last_chunk(std::uint64_t offset, std::string_view text, std::string_view all, std::uint64_t lsn = 9) {
  auto last = chunk(offset, text);
  last.done = true;
  last.total_crc32c = crc32c(bytes_of(all));
  last.consistent_lsn = Lsn{lsn};
  return last;
}

PartialSnapshot half() { return {facts(5), {stored(0, "abc")}}; }

void store(SnapshotAssembler& assembler, const SnapshotChunk& head, std::string_view text) {
  const auto accepted = assembler.on_chunk(head, bytes_of(text));
  ASSERT_TRUE(accepted.ok()) << accepted.error().message();
  EXPECT_EQ(*accepted, stored(head.offset, text));
  assembler.on_stored(*accepted);
}

void begin(SnapshotAssembler& assembler, const SnapshotFacts& of, std::uint64_t offset, Begin expected) {
  const auto begun = assembler.on_begin({of, offset}, formats);
  ASSERT_TRUE(begun.ok()) << begun.error().message();
  EXPECT_EQ(*begun, expected);
}

/// The whole of "abcdef" in two chunks on a new stream, with what the source says of all of it.
void receive_all(SnapshotAssembler& assembler, std::string_view said) {
  EXPECT_EQ(assembler.request(formats).offset, 0u);
  begin(assembler, facts(5), 0, Begin::begin_anew);
  store(assembler, chunk(0, "abc"), "abc");
  store(assembler, last_chunk(3, "def", said), "def");
  EXPECT_TRUE(assembler.complete());
}

SnapshotCheck check_of(std::string_view all) { return {std::nullopt, crc32c(bytes_of(all))}; }

template <class T>
void expect_error(const Result<T>& result, ErrorKind kind) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), kind) << result.error().message();
  EXPECT_EQ(result.error().caused_by(), CausedBy::peer);
}

template <class T>
void expect_regression(const Result<T>& result, std::uint64_t expected, std::uint64_t actual) {
  expect_error(result, ErrorKind::SnapshotOffsetRegression);
  const auto* offsets = std::get_if<SnapshotOffsets>(&result.error().data());
  ASSERT_NE(offsets, nullptr);
  EXPECT_EQ(offsets->expected, expected);
  EXPECT_EQ(offsets->actual, actual);
}

TEST(SnapshotAssembler, asks_for_a_new_one_without_a_partial) {
  SnapshotAssembler assembler(std::nullopt);
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, std::nullopt, 0}));
  EXPECT_FALSE(assembler.complete());
}

TEST(SnapshotAssembler, asks_for_the_rest_of_a_partial) {
  SnapshotAssembler assembler(half());
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, facts(5).id, 3}));
  EXPECT_EQ(assembler.stored_bytes(), 3u);
  EXPECT_EQ(assembler.total_bytes(), 6u);
}

TEST(SnapshotAssembler, goes_on_with_the_one_it_holds) {
  SnapshotAssembler assembler(half());
  EXPECT_EQ(assembler.request(formats).offset, 3u);
  begin(assembler, facts(5), 3, Begin::go_on);
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.stored_bytes(), 6u);
  ASSERT_TRUE(assembler.partial().has_value());
  EXPECT_EQ(assembler.partial()->chunks, (std::vector{stored(0, "abc"), stored(3, "def")}));
}

TEST(SnapshotAssembler, begins_anew_with_another_id) {
  SnapshotAssembler assembler(half());
  EXPECT_EQ(assembler.request(formats).offset, 3u);
  begin(assembler, facts(6), 0, Begin::begin_anew);
  EXPECT_EQ(assembler.stored_bytes(), 0u);
  ASSERT_TRUE(assembler.partial().has_value());
  EXPECT_EQ(assembler.partial()->facts, facts(6));
  store(assembler, chunk(0, "xy"), "xy");
  EXPECT_EQ(assembler.stored_bytes(), 2u);
}

TEST(SnapshotAssembler, the_same_snapshot_at_another_offset_than_asked_is_a_regression) {
  for (const std::uint64_t offset : {0u, 2u, 4u}) {
    SnapshotAssembler assembler(half());
    EXPECT_EQ(assembler.request(formats).offset, 3u);
    expect_regression(assembler.on_begin({facts(5), offset}, formats), 3, offset);
  }
}

TEST(SnapshotAssembler, another_snapshot_that_does_not_begin_at_0_is_refused) {
  SnapshotAssembler assembler(half());
  EXPECT_EQ(assembler.request(formats).offset, 3u);
  expect_error(assembler.on_begin({facts(6), 3}, formats), ErrorKind::ProtocolViolation);
  EXPECT_EQ(assembler.stored_bytes(), 3u) << "what is held stays";
}

TEST(SnapshotAssembler, a_format_not_asked_for_is_refused) {
  SnapshotAssembler assembler(std::nullopt);
  EXPECT_EQ(assembler.request({"kv"}).formats.size(), 1u);
  auto wrong = facts(5);
  wrong.format = "fast";
  expect_error(assembler.on_begin({wrong, 0}, {"kv"}), ErrorKind::ProtocolViolation);
  EXPECT_FALSE(assembler.partial().has_value());
  EXPECT_TRUE(assembler.on_begin({wrong, 0}, formats).ok());
}

class SnapshotAssemblerChunks : public ::testing::Test {
 protected:
  SnapshotAssemblerChunks() {
    EXPECT_EQ(assembler.request(formats).offset, 0u);
    begin(assembler, facts(5), 0, Begin::begin_anew);
    store(assembler, chunk(0, "abc"), "abc");
  }
  SnapshotAssembler assembler{std::nullopt};
};

TEST_F(SnapshotAssemblerChunks, come_in_order_without_gaps) {
  expect_regression(assembler.on_chunk(chunk(0, "abc"), bytes_of("abc")), 3, 0);
  expect_regression(assembler.on_chunk(chunk(2, "cd"), bytes_of("cd")), 3, 2);
  expect_regression(assembler.on_chunk(chunk(4, "ef"), bytes_of("ef")), 3, 4);
  store(assembler, chunk(3, "d"), "d");
  EXPECT_EQ(assembler.stored_bytes(), 4u);
}

TEST_F(SnapshotAssemblerChunks, may_arrive_before_the_one_before_is_stored) {
  const auto second = assembler.on_chunk(chunk(3, "de"), bytes_of("de"));
  const auto third = assembler.on_chunk(last_chunk(5, "f", "abcdef"), bytes_of("f"));
  ASSERT_TRUE(second.ok() && third.ok());
  EXPECT_FALSE(assembler.complete());
  assembler.on_stored(*second);
  EXPECT_FALSE(assembler.complete()) << "the last one is not stored";
  assembler.on_stored(*third);
  EXPECT_TRUE(assembler.complete());
}

TEST_F(SnapshotAssemblerChunks, a_wrong_crc_keeps_what_is_stored) {
  auto wrong = chunk(3, "def");
  wrong.crc32c ^= 1u;
  const auto refused = assembler.on_chunk(wrong, bytes_of("def"));
  expect_error(refused, ErrorKind::SnapshotCrcMismatch);
  const auto* crcs = std::get_if<SnapshotCrcs>(&refused.error().data());
  ASSERT_NE(crcs, nullptr);
  EXPECT_EQ(crcs->stored, wrong.crc32c);
  EXPECT_EQ(crcs->computed, crc32c(bytes_of("def")));
  assembler.on_stream_end();
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, facts(5).id, 3}));
  begin(assembler, facts(5), 3, Begin::go_on);
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  EXPECT_TRUE(assembler.complete());
}

TEST_F(SnapshotAssemblerChunks, only_the_last_may_be_empty) {
  expect_error(assembler.on_chunk(chunk(3, ""), {}), ErrorKind::ProtocolViolation);
  store(assembler, last_chunk(3, "", "abc"), "");
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.partial()->chunks.size(), 1u) << "nothing of an empty chunk is kept";
}

TEST_F(SnapshotAssemblerChunks, the_last_brings_the_totals) {
  EXPECT_FALSE(assembler.complete());
  store(assembler, last_chunk(3, "def", "abcdef", 12), "def");
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.consistent_lsn(), Lsn{12});
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::whole);
  EXPECT_FALSE(assembler.wrong_total().has_value());
}

TEST_F(SnapshotAssemblerChunks, none_comes_after_the_last) {
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  expect_error(assembler.on_chunk(chunk(6, "g"), bytes_of("g")), ErrorKind::ProtocolViolation);
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::whole);
  expect_error(assembler.on_chunk(chunk(6, "g"), bytes_of("g")), ErrorKind::ProtocolViolation);
}

TEST_F(SnapshotAssemblerChunks, consistent_before_the_snapshot_is_refused) {
  expect_error(assembler.on_chunk(last_chunk(3, "def", "abcdef", 6), bytes_of("def")), ErrorKind::ProtocolViolation);
  EXPECT_FALSE(assembler.complete());
}

TEST_F(SnapshotAssemblerChunks, consistent_at_the_snapshot_is_accepted) {
  store(assembler, last_chunk(3, "def", "abcdef", 7), "def");
  EXPECT_EQ(assembler.consistent_lsn(), Lsn{7});
}

TEST_F(SnapshotAssemblerChunks, what_is_stored_outlives_the_stream) {
  ASSERT_TRUE(assembler.on_chunk(chunk(3, "de"), bytes_of("de")).ok());  // never stored
  assembler.on_stream_end();
  EXPECT_FALSE(assembler.complete());
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, facts(5).id, 3}));
  begin(assembler, facts(5), 3, Begin::go_on);
  expect_regression(assembler.on_chunk(chunk(5, "f"), bytes_of("f")), 3, 5);
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  EXPECT_TRUE(assembler.complete());
}

TEST_F(SnapshotAssemblerChunks, a_stream_that_ends_after_the_last_is_asked_for_an_empty_rest) {
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  assembler.on_stream_end();
  EXPECT_FALSE(assembler.complete()) << "the totals are forgotten with the stream";
  EXPECT_EQ(assembler.request(formats).offset, 6u);
  begin(assembler, facts(5), 6, Begin::go_on);
  store(assembler, last_chunk(6, "", "abcdef"), "");
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::whole);
}

TEST_F(SnapshotAssemblerChunks, a_dropped_one_is_not_asked_for_again) {
  assembler.on_dropped();
  EXPECT_FALSE(assembler.partial().has_value());
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, std::nullopt, 0}));
  begin(assembler, facts(5), 0, Begin::begin_anew);
}

TEST_F(SnapshotAssemblerChunks, a_damaged_one_cuts_back_to_before_it) {
  store(assembler, chunk(3, "de"), "de");
  store(assembler, last_chunk(5, "f", "abcdef"), "f");
  EXPECT_EQ(assembler.on_check({3, 0}), Verdict::cut_back);
  EXPECT_FALSE(assembler.complete());
  EXPECT_EQ(assembler.stored_bytes(), 3u);
  EXPECT_EQ(assembler.request(formats), (SnapshotRequest{formats, facts(5).id, 3}));
  begin(assembler, facts(5), 3, Begin::go_on);
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::whole);
}

TEST_F(SnapshotAssemblerChunks, a_damaged_first_one_cuts_back_to_nothing) {
  store(assembler, last_chunk(3, "def", "abcdef"), "def");
  EXPECT_EQ(assembler.on_check({0, 0}), Verdict::cut_back);
  EXPECT_EQ(assembler.stored_bytes(), 0u);
  EXPECT_EQ(assembler.request(formats).offset, 0u);
}

TEST(SnapshotAssemblerTotals, wrong_once_drops_and_wrong_twice_in_a_row_gives_up) {
  SnapshotAssembler assembler(std::nullopt);
  receive_all(assembler, "something else");
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::drop);
  EXPECT_EQ(assembler.wrong_total(), std::pair(crc32c(bytes_of("something else")), crc32c(bytes_of("abcdef"))));
  assembler.on_dropped();
  receive_all(assembler, "yet another");
  EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::give_up);
  EXPECT_EQ(assembler.wrong_total(), std::pair(crc32c(bytes_of("yet another")), crc32c(bytes_of("abcdef"))));
}

TEST(SnapshotAssemblerTotals, a_good_one_in_between_resets) {
  SnapshotAssembler assembler(std::nullopt);
  for (int round = 0; round < 3; ++round) {
    receive_all(assembler, "something else");
    EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::drop) << round;
    assembler.on_dropped();
    receive_all(assembler, "abcdef");
    EXPECT_EQ(assembler.on_check(check_of("abcdef")), Verdict::whole) << round;
    assembler.on_dropped();
  }
}

}  // namespace
}  // namespace crosslink::test
