// The snapshots that a database keeps for mirrors, whichever engine makes them: how many are read at once, which goes
// first, and for how long one that is not read stays.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <utility>

#include "crosslink/engine.hpp"

namespace crosslink {

/// `What`: what the engine has of one. `drop` is called before one goes, but not for those that there are at this one's
/// end. Not thread safe.
template <class What>
class KeptSnapshots {
 public:
  using Clock = std::chrono::steady_clock;
  explicit KeptSnapshots(std::function<void(What&)> drop = [](What&) {}) : drop_(std::move(drop)) {}
  class Kept {
   public:
    explicit Kept(What own) : what(std::move(own)) {}
    What what;
    bool is_read() const { return !reader_.expired(); }

   private:
    friend class KeptSnapshots;
    std::weak_ptr<SnapshotReader> reader_;
    std::uint64_t use_ = 0;  ///< the larger, the later; a clock has the same time for two
    Clock::time_point used_at_;
  };

  Kept& add(What what) {
    kept_.emplace_back(std::move(what));
    use(kept_.back());
    return kept_.back();
  }
  /// The oldest that fits; null: none does.
  template <class Fits>
  Kept* find(const Fits& fits) {
    const auto found = std::ranges::find_if(kept_, [&](Kept& kept) { return fits(kept.what); });
    return found == kept_.end() ? nullptr : &*found;
  }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& kept : kept_)
      visit(kept.what);
  }
  /// The one reader of all mirrors that read it; `open` makes it, and gives a Result of one. Errors: those of `open`.
  template <class Open>
  Result<std::shared_ptr<SnapshotReader>> read(Kept& kept, const Open& open) {
    use(kept);
    if (auto reader = kept.reader_.lock()) return reader;
    Result<std::shared_ptr<SnapshotReader>> opened(open(kept.what));
    if (opened) kept.reader_ = *opened;
    return opened;
  }
  /// Errors: Busy when so many are being read.
  Result<void> check_read(std::size_t read_max) const {
    const auto read = std::ranges::count_if(kept_, [](const Kept& kept) { return kept.is_read(); });
    if (static_cast<std::size_t>(read) < read_max) return {};
    return MirrorError(ErrorKind::Busy, CausedBy::us, "as many snapshots as may be are being read; retry later");
  }
  /// Fewer than `kept_max` are kept, unless they are all being read.
  void make_room(std::size_t kept_max) {
    while (kept_.size() >= kept_max && drop_longest_unread()) {
    }
  }
  /// False when all are being read.
  bool drop_longest_unread() {
    auto longest = kept_.end();
    for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
      if (!kept->is_read() && (longest == kept_.end() || kept->use_ < longest->use_)) longest = kept;
    }
    if (longest == kept_.end()) return false;
    drop_(longest->what);
    kept_.erase(longest);
    return true;
  }
  /// Those that are not read and are such.
  template <class IsSuch>
  void drop_unread_if(const IsSuch& is_such) {
    drop_if([&](Kept& kept) { return is_such(kept.what); });
  }
  bool has_unread() const {
    return std::ranges::any_of(kept_, [](const Kept& kept) { return !kept.is_read(); });
  }
  /// Drops those that are not read and, for `kept_for`, were not, or are of no use.
  template <class IsOfUse>
  void prune(std::chrono::seconds kept_for, const IsOfUse& is_of_use) {
    const auto now = Clock::now();
    for (auto& kept : kept_) {
      if (kept.is_read()) use(kept);
    }
    drop_if([&](Kept& kept) { return !is_of_use(kept.what) || now - kept.used_at_ >= kept_for; });
  }
  /// None is offered any more; those that are read go on.
  void clear() {
    for (auto& kept : kept_)
      drop_(kept.what);
    kept_.clear();
  }

 private:
  template <class Goes>
  void drop_if(const Goes& goes) {
    std::erase_if(kept_, [&](Kept& kept) {
      if (kept.is_read() || !goes(kept)) return false;
      drop_(kept.what);
      return true;
    });
  }
  void use(Kept& kept) {
    kept.use_ = ++uses_;
    kept.used_at_ = Clock::now();
  }
  std::function<void(What&)> drop_;
  std::list<Kept> kept_;
  std::uint64_t uses_ = 0;
};

}  // namespace crosslink
