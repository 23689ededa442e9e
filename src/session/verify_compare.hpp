// Comparing two views by digests of ranges: which question comes next, what the answers mean. docs/protocol.md,
// "Verify".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/verify.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::core {

/// Both sides' answer to a question about a range of a view, found in slices: a range may be the whole database.
class RangeDigester {
 public:
  RangeDigester(std::shared_ptr<const DataView> view, KeyRange range);
  ~RangeDigester();
  /// Goes on by at least one pair. `enough` is asked before each further one, of how many bytes the last one was; once
  /// it says so the rest waits for the next call. True: the answer is known. Errors: Storage.
  Result<bool> go_on(const std::function<bool(std::size_t pair_bytes)>& enough);
  /// Precondition: go_on() returned true.
  RangeDigest::Answer answer();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};
/// The same at once.
Result<RangeDigest::Answer> digest_range(const DataView& view, const KeyRange& range);
/// Errors: UnsupportedOperation when the range holds more than listed_keys_max keys, or more than 32 KiB of them.
Result<Keys::Answer> list_keys(const DataView& view, const KeyRange& range);

/// Asks both sides the same questions until every difference is found or there are too many.
class VerifyCompare {
 public:
  VerifyCompare() { ranges_.push_back({}); }

  struct AskDigest {
    KeyRange range;
  };
  struct AskKeys {
    KeyRange range;
  };
  struct Done {};
  using Step = std::variant<AskDigest, AskKeys, Done>;
  /// What to ask both sides now; the answers come by on_digests / on_keys.
  Step next();
  void on_digests(const RangeDigest::Answer& source, const RangeDigest::Answer& mirror);
  void on_keys(const Keys::Answer& source, const Keys::Answer& mirror);

  /// Some digests differ, whether or not it is known yet where.
  bool differs() const { return differs_; }
  /// What is known now. `unfinished`: not everything was compared, for this reason.
  VerifyResult result(Lsn lsn, std::string unfinished = {}) const;

 private:
  static constexpr std::size_t ranges_max = 4096;
  /// After as many as may be are named.
  static constexpr std::uint64_t counting_questions_max = 20'000;
  void found(std::string key, DifferenceKind kind);
  void count(std::uint64_t differences);
  bool all_named() const { return differences_.size() >= named_differences_max; }
  std::vector<KeyRange> ranges_;  ///< a stack: the parts of a range come before what follows it
  std::optional<KeyRange> asked_;
  bool list_next_ = false;
  bool first_ = true;
  bool differs_ = false, all_counted_ = true;
  std::uint64_t keys_compared_ = 0, difference_count_ = 0, counting_questions_ = 0;
  std::vector<KeyDifference> differences_;
};

}  // namespace crosslink::core
