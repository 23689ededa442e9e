// docs/protocol.md, "Order" and "Fragments": never a jump, never a skip, never the same again.
#include "session/log_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>

namespace crosslink::test {
namespace {

using namespace core;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t entry_max = 4096;

void add_entry(Bytes& out, std::uint64_t lsn, std::string_view value = "1") {
  const Operation put = Operation::put("a", value);
  encode_entry(out, Lsn{lsn}, 0, {&put, 1});
}

Bytes entries(std::initializer_list<std::uint64_t> lsns) {
  Bytes out;
  for (const auto lsn : lsns)
    add_entry(out, lsn);
  return out;
}

LogBatch head_of(std::uint64_t prev, std::uint64_t last, std::uint64_t count, const Bytes& raw) {
  LogBatch head;
  head.prev_lsn = Lsn{prev};
  head.last_lsn = Lsn{last};
  head.count = count;
  head.raw_bytes = raw.size();
  return head;
}

/// Counts what it is asked to hold.
struct CountingStore final : MemoryFragmentStore {
  std::uint64_t begun = 0, appended = 0;
  Result<void> begin(std::uint64_t total_bytes) override {
    ++begun;
    return MemoryFragmentStore::begin(total_bytes);
  }
  Result<void> append(std::span<const std::byte> bytes) override {
    appended += bytes.size();
    return MemoryFragmentStore::append(bytes);
  }
};

class LogOrderTest : public ::testing::Test {
 protected:
  CountingStore store;
  LogOrder order{Lsn{10}, entry_max, store};

  Result<AcceptedBatch> batch(std::uint64_t prev, std::uint64_t last, std::uint64_t count, const Bytes& raw) {
    return order.on_batch(head_of(prev, last, count, raw), nullptr, raw);
  }
  void expect_refused(std::uint64_t prev, std::uint64_t last, std::uint64_t count, const Bytes& raw) {
    const auto before = order.last_lsn();
    const auto refused = batch(prev, last, count, raw);
    ASSERT_FALSE(refused.ok()) << prev << " to " << last;
    EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
    EXPECT_EQ(refused.error().caused_by(), CausedBy::peer);
    EXPECT_EQ(order.last_lsn(), before) << "what is refused moves nothing";
  }
};

TEST_F(LogOrderTest, the_first_batch_follows_from_and_nothing_else) {
  const auto raw = entries({12});
  expect_refused(9, 12, 1, raw);
  expect_refused(11, 12, 1, raw);
  expect_refused(0, 12, 1, raw);
  const auto accepted = batch(10, 12, 1, raw);
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->prev_lsn, Lsn{10});
  EXPECT_EQ(accepted->last_lsn, Lsn{12});
  EXPECT_EQ(order.last_lsn(), Lsn{12});
}

TEST_F(LogOrderTest, an_accepted_batch_carries_its_entries_its_last_id_and_its_origin) {
  const auto raw = entries({11, 14});
  auto head = head_of(10, 15, 2, raw);
  head.origin_lsn = Lsn{99};
  const auto keep = std::make_shared<const int>(1);
  const auto accepted = order.on_batch(head, keep, raw);
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->count, 2u);
  EXPECT_EQ(accepted->keep, keep);
  EXPECT_EQ(accepted->entries.data(), raw.data());
  EXPECT_EQ(accepted->entries.size(), raw.size());
  EXPECT_EQ(accepted->origin_lsn, Lsn{99});
  auto second = std::span<const std::byte>(raw).subspan(raw.size() / 2);
  const auto entry = read_entry(second);
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(accepted->last_entry, entry->id());
  EXPECT_EQ(order.last_lsn(), Lsn{15}) << "the batch's last LSN, not its last entry's";
}

TEST_F(LogOrderTest, a_gap_and_a_repetition_after_an_accepted_batch_are_refused) {
  const auto first = entries({11, 12});
  ASSERT_TRUE(batch(10, 13, 2, first).ok());
  expect_refused(10, 13, 2, first);
  expect_refused(12, 14, 1, entries({14}));
  expect_refused(14, 15, 1, entries({15}));
  EXPECT_TRUE(batch(13, 15, 1, entries({15})).ok());
}

TEST_F(LogOrderTest, lsns_that_do_not_rise_are_refused) {
  expect_refused(10, 14, 2, entries({12, 11}));
  expect_refused(10, 14, 2, entries({12, 12}));
  expect_refused(10, 14, 3, entries({11, 13, 12}));
}

TEST_F(LogOrderTest, entries_outside_of_the_batch_are_refused_and_its_ends_are_inside) {
  expect_refused(10, 12, 1, entries({10}));
  expect_refused(10, 12, 1, entries({9}));
  expect_refused(10, 12, 1, entries({13}));
  expect_refused(10, 12, 2, entries({11, 13}));
  EXPECT_TRUE(batch(10, 12, 2, entries({11, 12})).ok());
}

TEST_F(LogOrderTest, a_count_that_is_not_the_number_of_entries_is_refused) {
  const auto raw = entries({11, 12});
  expect_refused(10, 12, 1, raw);
  expect_refused(10, 12, 3, raw);
  expect_refused(10, 12, 0, raw);
  expect_refused(10, 12, UINT64_MAX, raw);
  expect_refused(10, 12, 1, {});
}

TEST_F(LogOrderTest, data_cut_at_any_byte_is_refused) {
  const auto raw = entries({11, 12});
  for (std::size_t bytes = 0; bytes < raw.size(); ++bytes) {
    expect_refused(10, 12, 2, Bytes(raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(bytes)));
  }
  EXPECT_TRUE(batch(10, 12, 2, raw).ok());
}

TEST_F(LogOrderTest, a_last_lsn_below_prev_is_refused) {
  expect_refused(10, 9, 1, entries({10}));
  expect_refused(10, 9, 0, {});
}

TEST_F(LogOrderTest, a_batch_without_entries_moves_only_last_lsn) {
  const auto accepted = batch(10, 17, 0, {});
  ASSERT_TRUE(accepted.ok());
  EXPECT_EQ(accepted->count, 0u);
  EXPECT_TRUE(accepted->entries.empty());
  EXPECT_FALSE(accepted->last_entry.has_value());
  EXPECT_EQ(order.last_lsn(), Lsn{17});
  expect_refused(10, 18, 0, {});
}

TEST_F(LogOrderTest, a_batch_without_entries_that_moves_nothing_is_refused) {
  expect_refused(10, 10, 0, {});
  expect_refused(10, 10, 1, entries({10}));
}

class LogOrderFragments : public LogOrderTest {
 protected:
  LogOrderFragments() { add_entry(encoding, 12, std::string(900, 'v')); }
  Bytes encoding;

  EntryFragment head(std::uint64_t offset, bool last) const {
    EntryFragment head;
    head.prev_lsn = Lsn{10};
    head.lsn = Lsn{12};
    head.offset = offset;
    head.total_bytes = encoding.size();
    head.last = last;
    return head;
  }
  std::span<const std::byte> data(std::size_t offset, std::size_t bytes) const {
    return std::span<const std::byte>(encoding).subspan(offset, bytes);
  }
  std::span<const std::byte> rest(std::size_t offset) const { return data(offset, encoding.size() - offset); }
  void begin() { ASSERT_TRUE(order.on_fragment(head(0, false), data(0, 300)).ok()); }
  void expect_fragment_refused(const EntryFragment& wrong, std::span<const std::byte> bytes) {
    const auto stored = store.appended;
    const auto refused = order.on_fragment(wrong, bytes);
    ASSERT_FALSE(refused.ok()) << wrong.offset;
    EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
    EXPECT_EQ(refused.error().caused_by(), CausedBy::peer);
    EXPECT_EQ(store.appended, stored) << "what is refused is not stored";
    EXPECT_EQ(order.last_lsn(), Lsn{10});
  }
};

TEST_F(LogOrderFragments, make_the_entry_whole_with_the_last) {
  const auto first = order.on_fragment(head(0, false), data(0, 300));
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->whole.has_value());
  EXPECT_TRUE(order.in_the_middle());
  EXPECT_EQ(order.last_lsn(), Lsn{10}) << "nothing is accepted before the last";
  const auto second = order.on_fragment(head(300, false), data(300, 1));
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->whole.has_value());
  auto last = head(301, true);
  last.origin_lsn = Lsn{77};
  const auto third = order.on_fragment(last, rest(301));
  ASSERT_TRUE(third.ok());
  ASSERT_TRUE(third->whole.has_value());
  const auto& whole = *third->whole;
  EXPECT_EQ(whole.prev_lsn, Lsn{10});
  EXPECT_EQ(whole.last_lsn, Lsn{12});
  EXPECT_EQ(whole.count, 1u);
  EXPECT_EQ(whole.origin_lsn, Lsn{77});
  EXPECT_EQ(whole.fragment_bytes, encoding.size());
  EXPECT_TRUE(std::ranges::equal(whole.entries, encoding));
  auto bytes = std::span<const std::byte>(encoding);
  EXPECT_EQ(whole.last_entry, read_entry(bytes)->id());
  EXPECT_FALSE(order.in_the_middle());
  EXPECT_EQ(order.last_lsn(), Lsn{12});
  EXPECT_TRUE(batch(12, 13, 1, entries({13})).ok()) << "batches go on after it";
}

TEST_F(LogOrderFragments, may_be_a_single_one) {
  const auto only = order.on_fragment(head(0, true), rest(0));
  ASSERT_TRUE(only.ok());
  ASSERT_TRUE(only->whole.has_value());
  EXPECT_TRUE(std::ranges::equal(only->whole->entries, encoding));
}

TEST_F(LogOrderFragments, the_first_follows_what_was_accepted) {
  for (const std::uint64_t prev : {9u, 11u}) {
    auto wrong = head(0, false);
    wrong.prev_lsn = Lsn{prev};
    expect_fragment_refused(wrong, data(0, 300));
  }
  auto falling = head(0, false);
  falling.lsn = Lsn{9};
  expect_fragment_refused(falling, data(0, 300));
  auto still = head(0, false);
  still.lsn = Lsn{10};
  expect_fragment_refused(still, data(0, 300));
  EXPECT_EQ(store.begun, 0u);
}

TEST_F(LogOrderFragments, the_first_begins_at_offset_0) {
  expect_fragment_refused(head(1, false), data(1, 300));
  EXPECT_EQ(store.begun, 0u);
}

TEST_F(LogOrderFragments, a_total_over_the_agreed_is_refused_before_anything_is_stored) {
  auto wrong = head(0, false);
  wrong.total_bytes = entry_max + 1;
  expect_fragment_refused(wrong, data(0, 300));
  EXPECT_EQ(store.begun, 0u);
  EXPECT_FALSE(order.in_the_middle());
  wrong.total_bytes = entry_max;
  EXPECT_TRUE(order.on_fragment(wrong, data(0, 300)).ok()) << "exactly as much as was agreed";
}

TEST_F(LogOrderFragments, go_on_at_the_offset_reached) {
  for (const std::size_t offset : {0u, 299u, 301u}) {
    order = LogOrder(Lsn{10}, entry_max, store);
    begin();
    expect_fragment_refused(head(offset, false), data(offset, 100));
  }
}

TEST_F(LogOrderFragments, repeat_prev_lsn_and_total) {
  begin();
  auto total = head(300, false);
  ++total.total_bytes;
  expect_fragment_refused(total, data(300, 100));
  auto lsn = head(300, false);
  lsn.lsn = Lsn{13};
  expect_fragment_refused(lsn, data(300, 100));
  auto prev = head(300, false);
  prev.prev_lsn = Lsn{11};
  expect_fragment_refused(prev, data(300, 100));
}

TEST_F(LogOrderFragments, no_batch_comes_between) {
  begin();
  expect_refused(10, 11, 1, entries({11}));
  expect_refused(10, 11, 0, {});
}

TEST_F(LogOrderFragments, last_comes_neither_too_early_nor_too_late) {
  begin();
  expect_fragment_refused(head(300, true), data(300, 100));
  order = LogOrder(Lsn{10}, entry_max, store);
  begin();
  expect_fragment_refused(head(300, false), rest(300));
}

TEST_F(LogOrderFragments, more_bytes_than_the_total_or_none_are_refused) {
  begin();
  auto longer = Bytes(rest(300).begin(), rest(300).end());
  longer.push_back(std::byte{0});
  expect_fragment_refused(head(300, true), longer);
  expect_fragment_refused(head(300, false), {});
}

TEST_F(LogOrderFragments, an_entry_of_another_lsn_than_the_fragments_said_is_refused) {
  auto first = head(0, false), last = head(300, true);
  first.lsn = last.lsn = Lsn{13};
  ASSERT_TRUE(order.on_fragment(first, data(0, 300)).ok());
  const auto refused = order.on_fragment(last, rest(300));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(order.last_lsn(), Lsn{10});
}

TEST_F(LogOrderFragments, bytes_after_the_entry_and_bytes_that_are_none_are_refused) {
  add_entry(encoding, 13);
  const auto two = order.on_fragment(head(0, true), rest(0));
  ASSERT_FALSE(two.ok());
  EXPECT_EQ(two.error().kind(), ErrorKind::ProtocolViolation);
  order = LogOrder(Lsn{10}, entry_max, store);
  encoding.assign(500, std::byte{0xff});
  const auto garbage = order.on_fragment(head(0, true), rest(0));
  ASSERT_FALSE(garbage.ok());
  EXPECT_EQ(garbage.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(order.last_lsn(), Lsn{10});
}

TEST(LogOrderCut, parts_a_batch_at_every_lsn) {
  const std::vector<std::uint64_t> lsns{13, 15, 16, 19};
  const auto raw = entries({13, 15, 16, 19});
  for (std::uint64_t limit = 10; limit < 20; ++limit) {
    SCOPED_TRACE(limit);
    MemoryFragmentStore store;
    LogOrder order(Lsn{10}, entry_max, store), again(Lsn{10}, entry_max, store);
    auto whole = order.on_batch(head_of(10, 20, 4, raw), nullptr, raw);
    ASSERT_TRUE(whole.ok());
    whole->units = 500;
    const auto last_id = whole->last_entry;
    const auto [before, after] = cut_batch(*whole, Lsn{limit});
    const auto expected = static_cast<std::uint64_t>(std::ranges::count_if(lsns, [&](auto l) { return l <= limit; }));
    EXPECT_EQ(before.prev_lsn, Lsn{10});
    EXPECT_EQ(before.last_lsn, Lsn{limit});
    EXPECT_EQ(after.prev_lsn, Lsn{limit});
    EXPECT_EQ(after.last_lsn, Lsn{20});
    EXPECT_EQ(before.count, expected);
    EXPECT_EQ(after.count, 4 - expected);
    EXPECT_EQ(before.units + after.units, 500u) << "units are let go of once";
    EXPECT_EQ(before.entries.data(), raw.data());
    EXPECT_EQ(before.entries.size() + after.entries.size(), raw.size());
    ASSERT_EQ(before.last_entry.has_value(), expected > 0);
    if (expected > 0) {
      EXPECT_EQ(before.last_entry->lsn, Lsn{lsns[expected - 1]});
    }
    EXPECT_EQ(after.last_entry, expected < 4 ? last_id : std::nullopt);
    // Both parts are batches in the document's sense.
    const Bytes first(before.entries.begin(), before.entries.end()), second(after.entries.begin(), after.entries.end());
    if (limit > 10) {
      EXPECT_TRUE(again.on_batch(head_of(10, limit, before.count, first), nullptr, first).ok());
    }
    EXPECT_TRUE(again.on_batch(head_of(limit, 20, after.count, second), nullptr, second).ok());
    EXPECT_EQ(again.last_lsn(), Lsn{20});
  }
}

}  // namespace
}  // namespace crosslink::test
