#include <gtest/gtest.h>

#include "core_memory.hpp"
#include "core_wire.hpp"
#include "crosslink/entry.hpp"

namespace crosslink::test {
namespace {

using Operations = std::vector<Operation>;
using namespace std::string_view_literals;

Bytes entry_of(std::uint64_t lsn, const Operations& operations, std::uint64_t commit_time_us = 0) {
  Bytes bytes;
  encode_entry(bytes, {lsn}, commit_time_us, operations);
  return bytes;
}

Bytes u64be(std::uint64_t value) {
  const auto bytes = tagged(0, value, 8);
  return {bytes.begin() + 1, bytes.end()};
}

/// A body of less than 128 bytes with its length before it.
Bytes with_length(const Bytes& body) { return tagged(static_cast<unsigned>(body.size()), 0, 0) + body; }

/// An entry written by hand: LSN 7 and `rest`, which is the number of operations and the operations.
Bytes by_hand(std::string_view rest) { return with_length(u64be(0) + u64be(7) + bytes_of(rest)); }

Operations all_forms() {
  return {Operation::put("key", "value"),
          Operation::put("", ""),
          Operation::put("k\0\xff"sv, std::string_view("\0\0", 2), 0),
          Operation::put("leased", "v", UINT64_MAX),
          Operation::erase("gone"),
          Operation::erase_range("b", "c"),
          Operation::erase_range("", "\x80"),
          Operation::erase_range("from here", {})};
}

void expect_refused(const Bytes& encoding) {
  std::span<const std::byte> bytes(encoding);
  const auto entry = read_entry(bytes);
  ASSERT_FALSE(entry) << testing::PrintToString(encoding);
  EXPECT_EQ(entry.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(entry.error().caused_by(), CausedBy::peer);
  EXPECT_EQ(bytes.data(), encoding.data());
  EXPECT_EQ(bytes.size(), encoding.size());
}

EntryView taken(std::span<const std::byte> bytes) {
  auto entry = read_entry(bytes);
  EXPECT_TRUE(entry && bytes.empty()) << testing::PrintToString(bytes);
  return entry ? *entry : EntryView();
}

TEST(Entry, is_encoded_as_in_the_worked_example) {
  const auto expected = by_hand("\2\1\1a\1\x31\4\1b\1c"sv);
  const auto bytes = entry_of(7, {Operation::put("a", "1"), Operation::erase_range("b", "c")});
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(std::to_integer<unsigned>(bytes[0]), 0x1bU);
  EXPECT_EQ(bytes.size(), 28U);
}

TEST(Entry, of_the_worked_example_has_the_hash_that_xxh3_128_gives_its_body_without_the_time) {
  const auto bytes = entry_of(7, {Operation::put("a", "1"), Operation::erase_range("b", "c")}, 123);
  EXPECT_EQ(to_string(taken(bytes).hash()),
            "f1f6732c36e31d2da82bc5a0ca35136f");  // computed by libxxhash, seed 0, canonical form
}

TEST(Entry, has_the_same_hash_whether_it_was_looked_at_or_not) {
  for (const auto value_bytes : {0U, 1U, 100U, 127U, 128U, 20'000U}) {
    const std::string value(value_bytes, 'v');
    const auto bytes = entry_of(7, {Operation::put("a", value), Operation::erase_range("b", "c")}, 123);
    EXPECT_EQ(entry_hash(bytes), taken(bytes).hash()) << value_bytes;
    EXPECT_EQ(entry_hash(bytes),
              entry_hash(entry_of(7, {Operation::put("a", value), Operation::erase_range("b", "c")}, 9)))
        << "the time is no part of it";
  }
}

TEST(Entry, has_a_tag_for_each_operation) {
  EXPECT_EQ(entry_of(7, {Operation::put("k", "v")}), by_hand("\1\1\1k\1v"sv));
  EXPECT_EQ(entry_of(7, {Operation::put("k", "v", 258)}), by_hand("\1\2\1k\1v\0\0\0\0\0\0\1\2"sv));
  EXPECT_EQ(entry_of(7, {Operation::erase("k")}), by_hand("\1\3\1k"sv));
  EXPECT_EQ(entry_of(7, {Operation::erase_range("k", "l")}), by_hand("\1\4\1k\1l"sv));
  EXPECT_EQ(entry_of(7, {Operation::erase_range("k", {})}), by_hand("\1\5\1k"sv));
}

TEST(Entry, gives_back_every_form_of_operation_alone) {
  for (const auto& operation : all_forms()) {
    const auto bytes = entry_of(17, {operation}, 99);
    const auto entry = taken(bytes);
    EXPECT_EQ(entry.lsn(), Lsn{17});
    EXPECT_EQ(entry.commit_time_us(), 99U);
    ASSERT_EQ(entry.operation_count(), 1U);
    EXPECT_TRUE(entry.operations().at(0) == operation) << testing::PrintToString(bytes);
  }
}

TEST(Entry, gives_back_all_its_operations_in_order) {
  const auto operations = all_forms();
  const auto bytes = entry_of(UINT64_MAX - 1, operations, UINT64_MAX);
  const auto entry = taken(bytes);
  EXPECT_EQ(entry.lsn(), Lsn{UINT64_MAX - 1});
  EXPECT_EQ(entry.commit_time_us(), UINT64_MAX);
  EXPECT_TRUE(entry.operations() == operations);
  Operations visited;
  entry.for_each([&](const Operation& operation) { visited.push_back(operation); });
  EXPECT_TRUE(visited == operations);
}

TEST(Entry, points_into_its_encoding_and_copies_nothing) {
  const auto bytes = entry_of(1, {Operation::put("key", std::string(5000, 'v'))});
  std::span<const std::byte> rest(bytes);
  const AllocationWatch watch;
  const auto entry = read_entry(rest);
  EXPECT_EQ(AllocationWatch::total_bytes(), 0U);
  ASSERT_TRUE(entry);
  const auto operations = entry->operations();
  const auto* value = reinterpret_cast<const std::byte*>(operations.at(0).value.data());
  EXPECT_EQ(value, bytes.data() + bytes.size() - 5000);
}

TEST(Entry, takes_as_many_bytes_as_were_foretold) {
  for (const std::size_t size : {0U, 1U, 100U, 127U, 128U, 129U, 16383U, 16384U, 70000U}) {
    const std::string text(size, 'x');
    const auto after = text + "y";
    for (const auto& operations :
         {Operations{Operation::put(text, text)}, Operations{Operation::put("k", text, 1)},
          Operations{Operation::erase(text)}, Operations{Operation::erase_range(text, after)},
          Operations{Operation::erase_range(text, {})}, Operations(size + 1, Operation::erase("k"))}) {
      const auto bytes = entry_of(5, operations);
      EXPECT_EQ(encoded_entry_bytes({5}, operations), bytes.size()) << size;
      EXPECT_TRUE(taken(bytes).operations() == operations) << size;
    }
  }
}

TEST(Entry, is_appended_to_what_is_there) {
  auto bytes = bytes_of("before");
  encode_entry(bytes, {7}, 0, Operations{Operation::erase("k")});
  EXPECT_EQ(bytes, bytes_of("before") + by_hand("\1\3\1k"sv));
}

TEST(Entry, comes_off_the_front_of_several_one_after_another) {
  Bytes bytes;
  std::vector<std::size_t> sizes;
  for (std::uint64_t lsn = 1; lsn <= 20; ++lsn) {
    const auto before = bytes.size();
    encode_entry(bytes, {lsn}, 0, Operations(lsn, Operation::put("k", std::string(20 * lsn, 'v'))));
    sizes.push_back(bytes.size() - before);
  }
  std::span<const std::byte> rest(bytes);
  for (std::uint64_t lsn = 1; lsn <= 20; ++lsn) {
    const auto* begin = rest.data();
    const auto entry = read_entry(rest);
    ASSERT_TRUE(entry) << lsn;
    EXPECT_EQ(entry->lsn(), Lsn{lsn});
    EXPECT_EQ(entry->operation_count(), lsn);
    EXPECT_EQ(entry->encoding().data(), begin);
    EXPECT_EQ(entry->encoding().size(), sizes[lsn - 1]);
    EXPECT_EQ(rest.data(), begin + sizes[lsn - 1]);
  }
  EXPECT_TRUE(rest.empty());
}

TEST(EntryHash, does_not_depend_on_the_commit_time) {
  const auto early = entry_of(7, all_forms(), 1);
  const auto late = entry_of(7, all_forms(), UINT64_MAX);
  ASSERT_NE(early, late);
  EXPECT_EQ(taken(early).hash(), taken(late).hash());
  EXPECT_EQ(taken(early).id(), (EntryId{{7}, taken(late).hash()}));
}

TEST(EntryHash, tells_lsn_and_every_form_of_operation_apart) {
  std::vector<std::string> hashes{to_string(taken(entry_of(8, {Operation::put("key", "value")})).hash())};
  for (const auto& operation : all_forms())
    hashes.push_back(to_string(taken(entry_of(7, {operation})).hash()));
  std::ranges::sort(hashes);
  EXPECT_EQ(std::ranges::adjacent_find(hashes), hashes.end());
}

TEST(EntryLsn, set_anew_makes_the_entry_that_was_written_so_in_the_first_place) {
  for (const std::size_t size : {1U, 200U, 20000U}) {  // one, two and three bytes of length
    const std::string value(size, 'v');
    const Operations operations{Operation::put("k", value)};
    auto bytes = entry_of(7, operations, 55);
    const auto hash = taken(bytes).hash();
    set_entry_lsn(bytes, {0x0102030405060708});
    EXPECT_EQ(bytes, entry_of(0x0102030405060708, operations, 55)) << size;
    EXPECT_EQ(taken(bytes).lsn(), Lsn{0x0102030405060708});
    EXPECT_NE(taken(bytes).hash(), hash);
  }
}

TEST(EntryRefusal, meets_every_cut_and_leaves_the_bytes_alone) {
  for (const auto& whole : {entry_of(7, all_forms()), entry_of(7, {Operation::put("k", std::string(300, 'v'))})}) {
    for (std::size_t size = 0; size < whole.size(); ++size)
      expect_refused(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
  }
}

TEST(EntryRefusal, meets_every_body_that_ends_within_its_operations) {
  const auto whole = entry_of(7, {Operation::put("key", "value", 3)});
  for (std::size_t size = 0; size + 1 < whole.size(); ++size)
    expect_refused(with_length(Bytes(whole.begin() + 1, whole.begin() + 1 + static_cast<std::ptrdiff_t>(size))));
}

TEST(EntryRefusal, meets_lengths_that_are_not_the_shortest) {
  const auto body = u64be(0) + u64be(7) + bytes_of("\1\3\1k");
  ASSERT_TRUE(taken(with_length(body)).operation_count() == 1);
  expect_refused(bytes_of("\x94\0"sv) + body);  // of the body: 20 in two bytes
  expect_refused(by_hand("\x81\0\3\1k"sv));     // number of operations
  expect_refused(by_hand("\1\3\x81\0k"sv));     // of a key
  expect_refused(by_hand("\1\1\1k\x81\0v"sv));  // of a value
  expect_refused(by_hand("\1\1\1k\x80\0"sv));   // 0 in two bytes
  expect_refused(by_hand("\1\4\1k\x81\0l"sv));  // of a range's end
}

TEST(EntryRefusal, meets_lengths_beyond_the_bytes_up_to_the_largest) {
  const auto largest = std::string(8, '\xff') + "\x7f";
  const auto ten_bytes = std::string(9, '\xff') + "\1";
  for (const auto& length : {std::string("\2"), std::string("\x80\1"), largest, ten_bytes, std::string(20, '\xff')}) {
    expect_refused(by_hand("\1\3" + length + "k"));
    expect_refused(by_hand("\1\1\1k" + length + "v"));
    expect_refused(by_hand("\1\4\1k" + length + "l"));
  }
  for (const auto& length : {largest, ten_bytes, std::string(20, '\xff')})
    expect_refused(bytes_of(length) + u64be(0) + u64be(7) + bytes_of("\1\3\1k"));
}

TEST(EntryRefusal, meets_every_unknown_operation) {
  for (unsigned tag = 0; tag < 256; ++tag) {
    if (tag >= 1 && tag <= 5) continue;
    expect_refused(by_hand(std::string("\1") + static_cast<char>(tag) + "\1k\1l"));
    expect_refused(by_hand(std::string("\1") + static_cast<char>(tag) + "\1k"));
    expect_refused(by_hand(std::string("\1") + static_cast<char>(tag)));
  }
}

TEST(EntryRefusal, meets_an_entry_without_operations) {
  expect_refused(by_hand("\0"sv));
  expect_refused(by_hand(""));
  expect_refused(by_hand("\0\3\1k"sv));
}

TEST(EntryRefusal, meets_lsn_zero_and_all_ones_and_no_other) {
  const auto body = [](std::uint64_t lsn) { return with_length(u64be(0) + u64be(lsn) + bytes_of("\1\3\1k")); };
  expect_refused(body(0));
  expect_refused(body(UINT64_MAX));
  EXPECT_EQ(taken(body(1)).lsn(), Lsn{1});
  EXPECT_EQ(taken(body(UINT64_MAX - 1)).lsn(), Lsn{UINT64_MAX - 1});
}

TEST(EntryRefusal, meets_ranges_that_are_empty_or_turned_round_compared_as_unsigned) {
  expect_refused(by_hand("\1\4\1k\1k"sv));
  expect_refused(by_hand("\1\4\1l\1k"sv));
  expect_refused(by_hand("\1\4\0\0"sv));
  expect_refused(by_hand("\1\4\1k\0"sv));
  expect_refused(by_hand("\1\4\2kk\1k"sv));
  expect_refused(by_hand("\1\4\1\x80\1\x7f"sv));
  const auto rising = by_hand("\1\4\1\x7f\1\x80"sv);
  EXPECT_EQ(taken(rising).operations().at(0).end, "\x80");
}

TEST(EntryRefusal, meets_bytes_after_the_last_operation) {
  expect_refused(by_hand("\1\3\1k\0"sv));
  expect_refused(by_hand("\1\3\1k\3\1k"sv));
}

TEST(EntryRefusal, meets_more_operations_than_there_are_without_taking_memory) {
  for (const std::string& count :
       {std::string("\2"), std::string(8, '\x80') + "\x10", std::string(8, '\xff') + "\x7f"}) {
    const auto bytes = by_hand(count + "\3\1k");
    std::span<const std::byte> rest(bytes);
    const AllocationWatch watch;
    const bool read = read_entry(rest).ok();
    EXPECT_LE(AllocationWatch::total_bytes(), 4096U);  // the sentence
    EXPECT_FALSE(read);
    EXPECT_EQ(rest.size(), bytes.size());
  }
}

// --- pairs -----------------------------------------------------------------------------------------------------------

std::vector<KeyValue> some_pairs() {
  return {{"k", "v", {}}, {"", "", {}}, {"a\0b"sv, "\xff", 0}, {"leased", "", UINT64_MAX}, {"x", "y", 258}};
}

Bytes pair_of(const KeyValue& pair) {
  Bytes bytes;
  encode_pair(bytes, pair);
  return bytes;
}

void expect_pair_refused(std::string_view encoding, std::uint64_t pair_bytes_max = 1000) {
  const auto bytes = bytes_of(encoding);
  std::span<const std::byte> rest(bytes);
  const auto pair = read_pair(rest, pair_bytes_max);
  ASSERT_FALSE(pair) << testing::PrintToString(bytes);
  EXPECT_EQ(pair.error().kind(), ErrorKind::ProtocolViolation);
  EXPECT_EQ(pair.error().caused_by(), CausedBy::peer);
  EXPECT_EQ(rest.size(), bytes.size());
}

TEST(Pair, is_key_value_and_whether_there_is_a_lease) {
  EXPECT_EQ(pair_of({"k", "va", {}}), bytes_of("\1k\2va\0"sv));
  EXPECT_EQ(pair_of({"k", "", 258}), bytes_of("\1k\0\1\0\0\0\0\0\0\1\2"sv));
}

TEST(Pair, comes_back_as_it_was_written_and_in_order) {
  Bytes bytes;
  std::size_t foretold = 0;
  for (const auto& pair : some_pairs()) {
    encode_pair(bytes, pair);
    foretold += encoded_pair_bytes(pair);
    EXPECT_EQ(bytes.size(), foretold);
  }
  std::span<const std::byte> rest(bytes);
  for (const auto& pair : some_pairs()) {
    const auto read = read_pair(rest, 1000);
    ASSERT_TRUE(read && *read);
    EXPECT_EQ((*read)->key, pair.key);
    EXPECT_EQ((*read)->value, pair.value);
    EXPECT_EQ((*read)->lease, pair.lease);
  }
  EXPECT_TRUE(rest.empty());
}

TEST(Pair, that_is_cut_short_is_none_yet_and_leaves_the_bytes_alone) {
  auto pairs = some_pairs();
  const std::string large(300, 'x');
  pairs.push_back({large, large, 7});
  for (const auto& pair : pairs) {
    const auto whole = pair_of(pair);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      auto rest = std::span<const std::byte>(whole).first(size);
      const auto read = read_pair(rest, 1000);
      ASSERT_TRUE(read) << read.error().message();
      EXPECT_FALSE(*read) << size;
      EXPECT_EQ(rest.data(), whole.data());
      EXPECT_EQ(rest.size(), size);
    }
  }
}

TEST(Pair, with_neither_a_lease_nor_none_is_refused) {
  for (unsigned has_lease = 2; has_lease < 256; ++has_lease)
    expect_pair_refused("\1k\1v" + std::string(1, static_cast<char>(has_lease)) + std::string(8, '\0'));
}

TEST(Pair, with_a_length_not_the_shortest_or_of_ten_bytes_is_refused) {
  expect_pair_refused("\x81\0k\1v\0"sv);
  expect_pair_refused("\1k\x81\0v\0"sv);
  expect_pair_refused("\x80\0\1v\0"sv);
  expect_pair_refused(std::string(9, '\xff') + "\1k");
}

TEST(Pair, with_a_key_or_value_over_the_bound_is_refused_before_it_is_there) {
  expect_pair_refused("\x0b", 10);
  expect_pair_refused("\1k\x0b", 10);
  expect_pair_refused(std::string(8, '\xff') + "\x7f", 10);
  const auto allowed = pair_of({std::string_view("0123456789"), "0123456789", {}});
  std::span<const std::byte> rest(allowed);
  const auto read = read_pair(rest, 10);
  EXPECT_TRUE(read && *read);
}

// --- digest and checksum ---------------------------------------------------------------------------------------------

EntryHash digest_of(const std::vector<KeyValue>& pairs) {
  PairDigest digest;
  for (const auto& pair : pairs)
    digest.add(pair.key, pair.value);
  return digest.digest();
}

TEST(PairDigest, is_xxh3_128_of_the_pairs_as_a_snapshot_writes_them_without_leases) {
  // Computed by libxxhash from the bytes 01 61 01 31 00, 01 62 00 00 and from none.
  EXPECT_EQ(to_string(digest_of({{"a", "1", {}}, {"b", "", {}}})), "9a2d6109282797426a0d84610e00723d");
  EXPECT_EQ(to_string(digest_of({})), "99aa06d3014798d86001c324468d497f");
}

TEST(PairDigest, ignores_leases) {
  EXPECT_EQ(digest_of({{"a", "1", 5}, {"b", "", 6}}), digest_of({{"a", "1", {}}, {"b", "", {}}}));
}

TEST(PairDigest, tells_where_a_key_ends_and_a_value_begins) {
  EXPECT_NE(digest_of({{"ab", "c", {}}}), digest_of({{"a", "bc", {}}}));
  EXPECT_NE(digest_of({{"a", "b", {}}, {"c", "d", {}}}), digest_of({{"a", "bcd", {}}}));
  EXPECT_NE(digest_of({{"", "", {}}}), digest_of({}));
}

TEST(PairDigest, can_be_asked_in_between_and_goes_on) {
  PairDigest digest;
  digest.add("a", "1");
  EXPECT_EQ(digest.digest(), digest_of({{"a", "1", {}}}));
  digest.add("b", "");
  EXPECT_EQ(digest.digest(), digest_of({{"a", "1", {}}, {"b", "", {}}}));
}

TEST(Crc32c, gives_the_known_values) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283U);
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0})), 0x8a9136aaU);     // RFC 3720, B.4
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xff})), 0x62a8ab43U);  // RFC 3720, B.4
}

TEST(Crc32c, of_the_whole_is_that_of_its_parts_one_after_another) {
  const auto whole = bytes_of("123456789");
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const auto first = crc32c(std::span(whole).first(cut));
    EXPECT_EQ(crc32c(std::span(whole).subspan(cut), first), 0xe3069283U) << cut;
  }
}

}  // namespace
}  // namespace crosslink::test
