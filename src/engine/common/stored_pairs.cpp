#include "engine/common/stored_pairs.hpp"

#include <algorithm>
#include <span>

namespace crosslink::engine {
namespace {

constexpr std::size_t read_at_once = std::size_t{1024} * 1024;

MirrorError unreadable(std::string why) { return {ErrorKind::UnsupportedOperation, CausedBy::peer, std::move(why)}; }

}  // namespace

Result<std::optional<KeyValue>> StoredPairs::next() {
  for (;;) {
    auto rest = std::span<const std::byte>(buffer_).subspan(used_);
    if (rest.empty() && left_ == 0) return std::optional<KeyValue>{};
    const auto pair = read_pair(rest, rest.size() + left_);
    if (!pair) return unreadable(pair.error().message());
    if (*pair) {
      used_ = buffer_.size() - rest.size();
      if (before_ && (*pair)->key <= *before_) return unreadable("the keys of a kv snapshot do not rise");
      before_ = (*pair)->key;
      return *pair;
    }
    if (left_ == 0) return unreadable("a kv snapshot ends in the middle of a pair");
    if (auto more = read_on(); !more) return more.error();
  }
}

Result<void> StoredPairs::read_on() {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(used_));
  used_ = 0;
  const auto had = buffer_.size();
  // Twice as much each time a pair does not fit.
  buffer_.resize(had + static_cast<std::size_t>(std::min<std::uint64_t>(left_, std::max(read_at_once, had))));
  const auto wanted = buffer_.size() - had;
  const auto got = file_.read(std::span(buffer_).subspan(had), at_);
  if (!got) return got.error();
  if (*got < wanted) return MirrorError(ErrorKind::Storage, CausedBy::us, "a stored snapshot is shorter than it was");
  at_ += wanted;
  left_ -= wanted;
  return {};
}

}  // namespace crosslink::engine
