#include "session/verify_compare.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

namespace crosslink {

std::string_view to_string(DifferenceKind kind) {
  switch (kind) {
    case DifferenceKind::missing: return "missing";
    case DifferenceKind::extra: return "extra";
    case DifferenceKind::value: return "value";
  }
  return "";
}

std::string_view to_string(VerifyResult::Outcome outcome) {
  switch (outcome) {
    case VerifyResult::Outcome::equal: return "equal";
    case VerifyResult::Outcome::different: return "different";
    case VerifyResult::Outcome::unknown: return "unknown";
  }
  return "";
}

namespace core {
namespace {

std::optional<std::string_view> end_of(const KeyRange& range) {
  if (!range.end) return std::nullopt;
  return std::string_view(*range.end);
}

// So that an answer fits into a control frame whatever the keys are.
constexpr std::size_t split_bytes_max = 2048;
constexpr std::size_t listed_bytes_max = 32 * 1024;

/// Keeps about splits_max keys that part what was seen so far evenly, without knowing how much will come.
class EvenKeys {
 public:
  void add(std::string_view key) {
    if (seen_++ % stride_ != 0) return;
    // A prefix parts the range as well as the key it is of.
    kept_.emplace_back(key.substr(0, split_bytes_max));
    if (kept_.size() <= 2 * splits_max) return;
    for (std::size_t i = 0; 2 * i < kept_.size(); ++i)
      kept_[i] = std::move(kept_[2 * i]);
    kept_.resize((kept_.size() + 1) / 2);
    stride_ *= 2;
  }
  std::vector<std::string> splits() && {
    if (kept_.size() > splits_max + 1) {
      for (std::size_t i = 0; 2 * i < kept_.size(); ++i)
        kept_[i] = std::move(kept_[2 * i]);
      kept_.resize((kept_.size() + 1) / 2);
    }
    if (!kept_.empty()) kept_.erase(kept_.begin());  // the first key parts nothing
    return std::move(kept_);
  }

 private:
  std::uint64_t seen_ = 0, stride_ = 1;
  std::vector<std::string> kept_;
};

/// Parts of three quarters of what can be listed are small enough: smaller ones only cost more questions.
void thin_out(std::vector<std::string>& splits, std::uint64_t keys) {
  const auto wanted = std::max<std::uint64_t>(1, keys / (listed_keys_max / 4 * 3));
  if (splits.size() <= wanted) return;
  std::vector<std::string> kept;
  for (std::size_t i = 1; i <= wanted; ++i)
    kept.push_back(std::move(splits[i * splits.size() / (wanted + 1)]));
  splits = std::move(kept);
}

}  // namespace

struct RangeDigester::State {
  std::shared_ptr<const DataView> view;
  KeyRange range;
  std::string from;
  PairDigest digest;
  EvenKeys even;
  std::uint64_t keys = 0, key_bytes = 0;
};

RangeDigester::RangeDigester(std::shared_ptr<const DataView> view, KeyRange range) : state_(new State) {
  state_->view = std::move(view);
  state_->from = range.begin.value_or(std::string{});
  state_->range = std::move(range);
}

RangeDigester::~RangeDigester() = default;

Result<bool> RangeDigester::go_on(const std::function<bool(std::size_t)>& enough) {
  auto& own = *state_;
  std::optional<std::size_t> last_bytes;
  std::optional<std::string> next;
  auto scanned = own.view->scan(own.from, end_of(own.range), [&](const KeyValue& pair) {
    if (last_bytes && enough(*last_bytes)) {
      next = std::string(pair.key);
      return false;
    }
    last_bytes = pair.key.size() + pair.value.size();
    own.digest.add(pair.key, pair.value);
    own.even.add(pair.key);
    own.key_bytes += pair.key.size();
    ++own.keys;
    return true;
  });
  if (!scanned) return scanned.error();
  if (!next) return true;
  own.from = *std::move(next);
  return false;
}

RangeDigest::Answer RangeDigester::answer() {
  RangeDigest::Answer answer;
  answer.keys = state_->keys;
  answer.digest = state_->digest.digest();
  if (answer.keys > listed_keys_max || state_->key_bytes > listed_bytes_max)
    answer.splits = std::move(state_->even).splits();
  return answer;
}

Result<RangeDigest::Answer> digest_range(const DataView& view, const KeyRange& range) {
  RangeDigester digester(std::shared_ptr<const DataView>(std::shared_ptr<void>(), &view), range);
  const auto done = digester.go_on([](std::size_t) { return false; });
  if (!done) return done.error();
  return digester.answer();
}

Result<Keys::Answer> list_keys(const DataView& view, const KeyRange& range) {
  Keys::Answer answer;
  bool fits = true;
  std::size_t key_bytes = 0;
  auto scanned = view.scan(range.begin.value_or(std::string{}), end_of(range), [&](const KeyValue& pair) {
    key_bytes += pair.key.size();
    fits = answer.keys.size() < listed_keys_max && key_bytes <= listed_bytes_max;
    if (!fits) return false;
    PairDigest digest;
    digest.add(pair.key, pair.value);
    answer.keys.emplace_back(pair.key);
    answer.hashes.push_back(digest.digest());
    return true;
  });
  if (!scanned) return scanned.error();
  if (!fits) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us,
                       "a range differs whose keys are too many or too long to be listed");
  }
  return answer;
}

VerifyCompare::Step VerifyCompare::next() {
  if (list_next_) return AskKeys{*asked_};
  if (ranges_.empty()) return Done{};
  asked_ = std::move(ranges_.back());
  ranges_.pop_back();
  return AskDigest{*asked_};
}

void VerifyCompare::on_digests(const RangeDigest::Answer& source, const RangeDigest::Answer& mirror) {
  if (std::exchange(first_, false)) keys_compared_ = std::max(source.keys, mirror.keys);
  if (source.keys == mirror.keys && source.digest == mirror.digest) return;
  differs_ = true;
  if (all_named()) {
    if (source.keys == 0 || mirror.keys == 0) return count(std::max(source.keys, mirror.keys));
    ++counting_questions_;
  }
  const bool splittable = !source.splits.empty() || !mirror.splits.empty();
  if (source.keys <= listed_keys_max && mirror.keys <= listed_keys_max && !splittable) {
    list_next_ = true;
    return;
  }
  auto splits = source.keys >= mirror.keys ? source.splits : mirror.splits;
  if (splits.empty()) splits = source.splits.empty() ? mirror.splits : source.splits;
  // A split outside of the range, or out of order, would never end.
  std::erase_if(splits, [&](const std::string& key) {
    if (key.size() > split_bytes_max) return true;
    return (asked_->begin && key <= *asked_->begin) || (asked_->end && key >= *asked_->end);
  });
  std::ranges::sort(splits, std::greater{});
  splits.erase(std::unique(splits.begin(), splits.end()), splits.end());
  thin_out(splits, std::max(source.keys, mirror.keys));
  if (splits.empty() || ranges_.size() + splits.size() > ranges_max || counting_questions_ > counting_questions_max) {
    all_counted_ = false;
    return count(
        std::max<std::uint64_t>(1, source.keys > mirror.keys ? source.keys - mirror.keys : mirror.keys - source.keys));
  }
  auto end = asked_->end;
  for (auto& key : splits) {
    ranges_.push_back({key, end});
    end = std::move(key);
  }
  ranges_.push_back({asked_->begin, end});
}

void VerifyCompare::on_keys(const Keys::Answer& source, const Keys::Answer& mirror) {
  list_next_ = false;
  std::size_t s = 0, m = 0;
  while (s < source.keys.size() || m < mirror.keys.size()) {
    if (m == mirror.keys.size() || (s < source.keys.size() && source.keys[s] < mirror.keys[m])) {
      found(source.keys[s++], DifferenceKind::missing);
    } else if (s == source.keys.size() || mirror.keys[m] < source.keys[s]) {
      found(mirror.keys[m++], DifferenceKind::extra);
    } else {
      if (source.hashes[s] != mirror.hashes[m]) found(source.keys[s], DifferenceKind::value);
      ++s;
      ++m;
    }
  }
}

void VerifyCompare::found(std::string key, DifferenceKind kind) {
  count(1);
  if (!all_named()) differences_.push_back({std::move(key), kind});
}

/// The peer's numbers: no more than fit are added.
void VerifyCompare::count(std::uint64_t differences) {
  difference_count_ += std::min(differences, std::numeric_limits<std::uint64_t>::max() - difference_count_);
}

VerifyResult VerifyCompare::result(Lsn lsn, std::string unfinished) const {
  VerifyResult result;
  result.outcome = differs_ ? VerifyResult::Outcome::different : VerifyResult::Outcome::equal;
  if (!unfinished.empty() && !differs_) result.outcome = VerifyResult::Outcome::unknown;
  result.lsn = lsn;
  result.keys_compared = keys_compared_;
  result.all_counted = all_counted_ && unfinished.empty();
  result.difference_count = differs_ ? std::max<std::uint64_t>(1, difference_count_) : 0;
  result.differences = differences_;
  result.reason = std::move(unfinished);
  return result;
}

}  // namespace core
}  // namespace crosslink
