// docs/protocol.md, "Verify": differences are found by digests of ranges, named up to 100, counted beyond.
#include "session/verify_compare.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace crosslink::test {
namespace {

using namespace core;
using Pairs = std::map<std::string, std::string>;

class MapView final : public DataView {
 public:
  explicit MapView(const Pairs& pairs) : pairs_(&pairs) {}
  Lsn lsn() const override { return Lsn{1}; }
  Result<void> scan(std::string_view begin, std::optional<std::string_view> end,
                    const std::function<bool(const KeyValue&)>& visit) const override {
    for (auto at = pairs_->lower_bound(std::string(begin)); at != pairs_->end(); ++at) {
      if (end && at->first >= *end) break;
      if (!visit({at->first, at->second, std::nullopt})) break;
    }
    return {};
  }

 private:
  const Pairs* pairs_;
};

struct Found {
  std::uint64_t questions = 0, count = 0, compared = 0;
  bool all_counted = false;
  std::vector<KeyDifference> named;  ///< by key
};

/// Asks both sides until the comparison is done.
void compare(const Pairs& source, const Pairs& mirror, Found& found) {
  const MapView at_source(source), at_mirror(mirror);
  VerifyCompare compare;
  for (;; ++found.questions) {
    ASSERT_LT(found.questions, 100'000u) << "does not end";
    const auto step = compare.next();
    if (const auto* digest = std::get_if<VerifyCompare::AskDigest>(&step)) {
      const auto s = digest_range(at_source, digest->range), m = digest_range(at_mirror, digest->range);
      ASSERT_TRUE(s.ok() && m.ok());
      ASSERT_LE(std::max(s->splits.size(), m->splits.size()), splits_max);
      compare.on_digests(*s, *m);
    } else if (const auto* keys = std::get_if<VerifyCompare::AskKeys>(&step)) {
      const auto s = list_keys(at_source, keys->range), m = list_keys(at_mirror, keys->range);
      ASSERT_TRUE(s.ok() && m.ok()) << "asked for more keys than can be listed";
      compare.on_keys(*s, *m);
    } else {
      break;
    }
  }
  auto result = compare.result(Lsn{1});
  EXPECT_TRUE(result.reason.empty());
  found.count = result.difference_count;
  found.compared = result.keys_compared;
  found.all_counted = result.all_counted;
  found.named = std::move(result.differences);
  std::ranges::sort(found.named, {}, &KeyDifference::key);
}

Pairs many(std::size_t count) {
  Pairs pairs;
  for (std::size_t i = 0; i < count; ++i)
    pairs.emplace(fmt::format("key{:06}", i), fmt::format("value {}", i));
  return pairs;
}

void expect_exactly(const Pairs& source, const Pairs& mirror, const std::vector<KeyDifference>& expected) {
  Found found;
  compare(source, mirror, found);
  EXPECT_EQ(found.named, expected);
  EXPECT_EQ(found.count, expected.size());
  EXPECT_TRUE(found.all_counted);
  EXPECT_EQ(found.compared, std::max(source.size(), mirror.size()));
}

TEST(VerifyCompare, equal_views_take_one_question) {
  for (const std::size_t keys : {0u, 1u, 64u, 65u, 3'000u}) {
    Found found;
    compare(many(keys), many(keys), found);
    EXPECT_EQ(found.questions, 1u) << keys;
    EXPECT_EQ(found.count, 0u);
    EXPECT_EQ(found.compared, keys);
    EXPECT_TRUE(found.named.empty());
  }
}

TEST(VerifyCompare, one_difference_is_found_wherever_it_is) {
  for (const std::size_t keys : {1u, 2u, 64u, 65u, 66u, 1'000u}) {
    for (const std::size_t place : {std::size_t{0}, keys / 2, keys - 1}) {
      SCOPED_TRACE(fmt::format("{} of {}", place, keys));
      const auto full = many(keys);
      const auto key = std::next(full.begin(), static_cast<std::ptrdiff_t>(place))->first;
      auto other = full, fewer = full;
      other[key] = "another";
      fewer.erase(key);
      expect_exactly(full, fewer, {{key, DifferenceKind::missing}});
      expect_exactly(fewer, full, {{key, DifferenceKind::extra}});
      expect_exactly(full, other, {{key, DifferenceKind::value}});
    }
  }
}

TEST(VerifyCompare, a_few_differences_among_thousands_are_found_exactly) {
  const auto source = many(8'000);
  auto mirror = source;
  mirror.erase("key000000");
  mirror.erase("key004321");
  mirror["key001111"] = "";
  mirror["key007999"] = "another";
  mirror["key002000x"] = "extra";
  mirror["a"] = mirror["z"] = "extra";
  expect_exactly(source, mirror,
                 {{"a", DifferenceKind::extra},
                  {"key000000", DifferenceKind::missing},
                  {"key001111", DifferenceKind::value},
                  {"key002000x", DifferenceKind::extra},
                  {"key004321", DifferenceKind::missing},
                  {"key007999", DifferenceKind::value},
                  {"z", DifferenceKind::extra}});
}

TEST(VerifyCompare, as_many_keys_with_other_names_are_missing_and_extra) {
  auto source = many(500), mirror = source;
  mirror.erase("key000250");
  mirror["key000250x"] = source["key000250"];
  expect_exactly(source, mirror, {{"key000250", DifferenceKind::missing}, {"key000250x", DifferenceKind::extra}});
}

TEST(VerifyCompare, everything_different_is_counted_and_at_most_100_are_named) {
  const auto source = many(5'000);
  auto mirror = source;
  for (auto& [key, value] : mirror)
    value += "!";
  Found found;
  compare(source, mirror, found);
  EXPECT_EQ(found.count, 5'000u);
  ASSERT_EQ(found.named.size(), named_differences_max);
  std::set<std::string> names;
  for (const auto& difference : found.named) {
    EXPECT_EQ(difference.kind, DifferenceKind::value);
    EXPECT_TRUE(source.contains(difference.key));
    names.insert(difference.key);
  }
  EXPECT_EQ(names.size(), named_differences_max) << "none is named twice";
}

TEST(VerifyCompare, exactly_100_differences_are_all_named) {
  const auto source = many(2'000);
  auto mirror = source;
  std::vector<KeyDifference> expected;
  for (std::size_t i = 0; i < 2'000; i += 20) {
    expected.push_back({fmt::format("key{:06}", i), DifferenceKind::missing});
    mirror.erase(expected.back().key);
  }
  expect_exactly(source, mirror, expected);
}

TEST(VerifyCompare, empty_against_full_is_all_missing_or_all_extra) {
  const auto full = many(3'000);
  for (const auto kind : {DifferenceKind::missing, DifferenceKind::extra}) {
    Found found;
    const bool missing = kind == DifferenceKind::missing;
    compare(missing ? full : Pairs{}, missing ? Pairs{} : full, found);
    EXPECT_EQ(found.count, 3'000u);
    EXPECT_EQ(found.compared, 3'000u);
    EXPECT_EQ(found.named.size(), named_differences_max);
    EXPECT_TRUE(std::ranges::all_of(found.named, [&](const auto& d) { return d.kind == kind; }));
  }
}

// The count was wrong once more than 4,096 ranges waited: 300,000 other values counted as 38,634.
TEST(VerifyCompare, three_hundred_thousand_differences_are_counted_exactly) {
  const auto source = many(300'000);
  auto mirror = source;
  for (auto& [key, value] : mirror)
    value += "!";
  Found found;
  compare(source, mirror, found);
  EXPECT_EQ(found.count, 300'000u);
  EXPECT_TRUE(found.all_counted);
  Found gone;
  compare(source, {}, gone);
  EXPECT_EQ(gone.count, 300'000u);
  EXPECT_LT(gone.questions, 100u) << "nothing at one side is counted without a list";
}

TEST(VerifyCompare, differences_that_cannot_be_told_apart_are_some_and_not_all_counted) {
  Pairs source;
  for (int i = 0; i < 200; ++i)
    source[std::string(3'000, 'k') + fmt::format("{:03}", i)] = "v";
  auto mirror = source;
  mirror[std::string(3'000, 'k') + "033"] = "w";
  Found found;
  compare(source, mirror, found);
  EXPECT_EQ(found.count, 1u);
  EXPECT_FALSE(found.all_counted);
  EXPECT_TRUE(found.named.empty());
}

TEST(VerifyCompare, what_was_found_different_stays_so_when_the_comparison_is_broken_off) {
  VerifyCompare compare;
  EXPECT_EQ(compare.result(Lsn{}, "the link was lost").outcome, VerifyResult::Outcome::unknown);
  static_cast<void>(compare.next());
  RangeDigest::Answer one, other;
  one.keys = other.keys = 1;
  other.digest.bytes[0] = std::byte{1};
  compare.on_digests(one, other);
  const auto result = compare.result(Lsn{7}, "a key is too long to be listed");
  EXPECT_EQ(result.outcome, VerifyResult::Outcome::different);
  EXPECT_EQ(result.difference_count, 1u);
  EXPECT_FALSE(result.all_counted);
  EXPECT_EQ(result.reason, "a key is too long to be listed");
}

TEST(VerifyCompare, keys_of_any_bytes_are_compared) {
  const std::string bytes("\x00\x01\x7f\x80\xfe\xff", 6);
  Pairs source{{"", "empty"}};
  for (const char a : bytes) {
    for (const char b : bytes)
      for (const char c : bytes)
        source[std::string{a, b, c}] = "v";
    source[std::string{a}] = "v";
  }
  for (std::size_t length = 4; length < 100; ++length)
    source[std::string(length, '\xff')] = source[std::string(length, '\0')] = "v";
  std::vector<KeyDifference> expected;
  auto mirror = source;
  for (const auto& key : {std::string(), std::string(1, '\0'), std::string(50, '\0'), std::string("\x7f\x00\xff", 3),
                          std::string(1, '\xff'), std::string(99, '\xff')}) {
    mirror.erase(key);
    expected.push_back({key, DifferenceKind::missing});
  }
  mirror[std::string(100, '\xff')] = "v";
  expected.push_back({std::string(100, '\xff'), DifferenceKind::extra});
  std::ranges::sort(expected, {}, &KeyDifference::key);
  expect_exactly(source, mirror, expected);
}

TEST(VerifyCompare, long_keys_are_listed_in_parts) {
  Pairs source;
  for (int i = 0; i < 60; ++i)
    source[std::string(1'000, 'k') + fmt::format("{:03}", i)] = "v";
  auto mirror = source;
  const auto key = std::string(1'000, 'k') + "033";
  mirror[key] = "w";
  expect_exactly(source, mirror, {{key, DifferenceKind::value}});
}

TEST(VerifyCompare, one_of_10000_takes_few_questions) {
  const auto source = many(10'000);
  for (const auto* key : {"key000000", "key005000", "key009999"}) {
    auto mirror = source;
    mirror[key] = "another";
    Found found;
    compare(source, mirror, found);
    EXPECT_EQ(found.count, 1u);
    // 10,000 keys part into at most 16, at most three times, before at most 64 are left to list.
    EXPECT_LE(found.questions, 1 + 3 * (splits_max + 1) + 1) << key;
    EXPECT_GT(found.questions, 2u) << "the whole cannot be listed";
  }
}

TEST(VerifyRange, splits_part_a_range_about_evenly_and_only_one_of_more_than_64_keys) {
  for (const std::size_t keys : {64u, 65u, 100u, 496u, 497u, 5'000u}) {
    SCOPED_TRACE(keys);
    const auto pairs = many(keys);
    const auto answer = digest_range(MapView(pairs), {});
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->keys, keys);
    if (keys <= listed_keys_max) {
      EXPECT_TRUE(answer->splits.empty());
      continue;
    }
    ASSERT_FALSE(answer->splits.empty());
    EXPECT_LE(answer->splits.size(), splits_max);
    auto begin = pairs.begin();
    for (const auto& split : answer->splits) {
      const auto end = pairs.lower_bound(split);
      EXPECT_GT(std::distance(begin, end), 0) << split;
      EXPECT_LE(std::distance(begin, end), static_cast<std::ptrdiff_t>(keys / 8 + 1)) << split;
      begin = end;
    }
    EXPECT_GT(std::distance(begin, pairs.end()), 0);
    EXPECT_LE(std::distance(begin, pairs.end()), static_cast<std::ptrdiff_t>(keys / 8 + 1));
  }
}

TEST(VerifyRange, has_the_same_digest_in_slices_as_at_once) {
  const auto pairs = many(1'000);
  const KeyRange range{"key000010", "key000900"};
  const auto at_once = digest_range(MapView(pairs), range);
  ASSERT_TRUE(at_once.ok());
  RangeDigester digester(std::make_shared<MapView>(pairs), range);
  int slices = 0;
  for (bool done = false; !done; ++slices) {
    int taken = 0;
    const auto went_on = digester.go_on([&taken](std::size_t) { return ++taken == 7; });
    ASSERT_TRUE(went_on.ok());
    done = *went_on;
  }
  EXPECT_EQ(slices, 890 / 7 + 1);
  const auto answer = digester.answer();
  EXPECT_EQ(answer.keys, at_once->keys);
  EXPECT_EQ(answer.digest, at_once->digest);
  EXPECT_EQ(answer.splits, at_once->splits);
}

TEST(VerifyRange, goes_on_by_a_pair_although_a_slice_is_over_at_once) {
  const auto pairs = many(3);
  RangeDigester digester(std::make_shared<MapView>(pairs), {});
  const auto over = [](std::size_t) { return true; };
  EXPECT_FALSE(*digester.go_on(over));
  EXPECT_FALSE(*digester.go_on(over));
  EXPECT_TRUE(*digester.go_on(over));
  EXPECT_EQ(digester.answer().keys, 3u);
}

TEST(VerifyRange, holds_its_begin_and_not_its_end) {
  const auto pairs = many(100);
  const KeyRange range{"key000010", "key000020"};
  const auto listed = list_keys(MapView(pairs), range);
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->keys.size(), 10u);
  EXPECT_EQ(listed->keys.front(), "key000010");
  EXPECT_EQ(listed->keys.back(), "key000019");
  EXPECT_EQ(listed->hashes.size(), 10u);
  PairDigest digest;
  for (std::size_t i = 10; i < 20; ++i)
    digest.add(fmt::format("key{:06}", i), fmt::format("value {}", i));
  const auto answer = digest_range(MapView(pairs), range);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->keys, 10u);
  EXPECT_EQ(answer->digest, digest.digest());
}

TEST(VerifyRange, of_more_than_64_keys_or_32_kib_of_them_is_not_listed) {
  const auto fits = many(64), too_many = many(65);
  const auto listed = list_keys(MapView(fits), {});
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->keys.size(), 64u);
  const auto refused = list_keys(MapView(too_many), {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::UnsupportedOperation);
  const Pairs long_key{{std::string(32 * 1024, 'k'), ""}}, longer_key{{std::string(32 * 1024 + 1, 'k'), ""}};
  EXPECT_TRUE(list_keys(MapView(long_key), {}).ok());
  const auto too_long = list_keys(MapView(longer_key), {});
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().kind(), ErrorKind::UnsupportedOperation);
}

}  // namespace
}  // namespace crosslink::test
