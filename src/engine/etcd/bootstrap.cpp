// A received snapshot becomes a mirror's data by difference: what differs is written, by several at once, and what is
// not in it is deleted last. Done again after a kill it goes on, since what was written no longer differs.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <set>
#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr int attempts_max = 20;
constexpr std::chrono::milliseconds attempt_pause(250);
constexpr std::chrono::seconds progress_every(2);
/// Of one transaction of a bootstrap: large ones cost the target's other users latency, small ones cost us speed.
constexpr std::size_t bootstrap_operations_max = 1000;
constexpr std::size_t bootstrap_bytes_max = std::size_t{512} * 1024;

/// Transactions made by several threads. Each may be made twice: it says what keys are to be, and only while the record
/// is the one it was.
class Writers {
 public:
  /// `lsn`: of the snapshot, for what is said of an error.
  Writers(Client& client, std::size_t threads, Lsn lsn) : client_(&client), waiting_max_(2 * threads), lsn_(lsn) {
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i)
      threads_.emplace_back([this] { work(); });
  }
  ~Writers() { static_cast<void>(finish()); }
  Result<void> add(wire::TxnRequest request) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_ || waiting_.size() < waiting_max_; });
    if (error_) return *error_;
    waiting_.push_back(std::move(request));
    changed_.notify_all();
    return {};
  }
  /// Waits until all that were added are made; gives the revisions that they are.
  Result<std::set<std::int64_t>> settle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_ || (waiting_.empty() && working_ == 0); });
    if (error_) return *error_;
    return made_;
  }
  /// The same, and ends.
  Result<std::set<std::int64_t>> finish() {
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    if (error_) return *error_;
    return made_;
  }

 private:
  void work() {
    for (;;) {
      wire::TxnRequest request;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return error_ || ending_ || !waiting_.empty(); });
        if (error_ || waiting_.empty()) return;
        request = std::move(waiting_.front());
        waiting_.pop_front();
        ++working_;
      }
      changed_.notify_all();
      auto made = make(request);
      const std::scoped_lock lock(mutex_);
      --working_;
      if (made) made_.insert(*made);
      if (!made && !error_) error_ = made.error();
      changed_.notify_all();
      if (!made) return;
    }
  }
  Result<std::int64_t> make(const wire::TxnRequest& request) {
    for (int attempt = 1;; ++attempt) {
      const auto place = client_->place();
      const auto done = client_->txn(request);
      if (done && done->succeeded()) return done->header().revision();
      if (done) {
        return MirrorError(ErrorKind::Busy, CausedBy::us,
                           "another crosslink has taken this mirror over during its bootstrap");
      }
      if (done.error().kind() != ErrorKind::Storage || attempt == attempts_max || client_->stopping()) {
        const auto* const largest = largest_put(request);
        if (largest == nullptr) return done.error();
        return explain_too_large(done.error(), largest->key(), largest->value().size(), lsn_);
      }
      client_->failed(place);
      std::this_thread::sleep_for(attempt_pause);
    }
  }
  Client* client_;
  std::size_t waiting_max_;
  Lsn lsn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<wire::TxnRequest> waiting_;
  std::optional<MirrorError> error_;
  std::size_t working_ = 0;
  std::set<std::int64_t> made_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// The target's pairs, one after another, each page as it is by then: no compaction stops it, and what is written
/// meanwhile for the keys before a page does not change the page.
class TargetPairs {
 public:
  TargetPairs(Client& client, const KeySpace& keys, bool keys_only)
      : keys_(&keys), pages_(client, keys.all(), 0, keys_only) {}
  /// Null at the end; holds until the next call.
  Result<const wire::Pair*> current() {
    for (;;) {
      if (!page_ || at_ == page_->kvs_size()) {
        auto page = pages_.next();
        if (!page) return page.error();
        page_ = *std::move(page);
        at_ = 0;
        if (!page_) return nullptr;
        continue;
      }
      const auto& kv = page_->kvs(at_);
      if (keys_->contains(kv.key())) return &kv;
      ++at_;
    }
  }
  void advance() { ++at_; }

 private:
  const KeySpace* keys_;
  Pages pages_;
  std::optional<wire::RangeResponse> page_ = wire::RangeResponse();
  int at_ = 0;
};

}  // namespace

/// One bootstrap under way. `begun`: the revision since which only this process writes for the mirror. Each of its
/// transactions makes one revision: when the target has come further, others wrote to it.
class EtcdDatabase::Impl::Difference {
 public:
  Difference(Impl& impl, std::int64_t begun)
      : impl_(&impl),
        begun_(begun),
        writers_(*impl.client, std::max<std::size_t>(impl.options.bootstrap_writers, 1),
                 impl.partial.partial()->facts.snapshot_lsn) {}

  Result<void> write() {
    const auto stale = compare();
    if (!stale) return stale.error();
    const auto made = writers_.settle();
    if (!made) return made.error();
    const auto found = impl_->look();
    if (!found) return found.error();
    mended_ = found->revision;
    if (stale->keys > 0 && impl_->options.on_deletions) impl_->options.on_deletions(*stale);
    if (stale->keys > 0 || wrote_others(*made, mended_)) {
      if (auto swept = sweep(*made); !swept) return swept;
    }
    if (auto erased = erase_stale_leases(); !erased) return erased;
    auto finished = writers_.finish();
    if (!finished) return finished.error();
    made_ = *std::move(finished);
    return {};
  }

  /// After write(), at this revision of the target: what others wrote up to the one that is returned is mended.
  std::int64_t mended(std::int64_t now) const { return wrote_others(made_, now) ? mended_ : now; }

 private:
  bool wrote_others(const std::set<std::int64_t>& made, std::int64_t now) const {
    return now - begun_ != static_cast<std::int64_t>(made.size());
  }

  /// Writes what differs; gives what the target has and the snapshot has not.
  Result<EtcdDeletions> compare() {
    EtcdDeletions stale;
    const auto take = [this](const std::string& key, const KeyValue& pair, const wire::Pair* present) {
      auto written = put(key, pair, present);
      return written ? say_progress() : written;
    };
    const auto walked = walk(false, take, [&](const std::string& key) {
      if (++stale.keys <= EtcdSurvey::shown_max) stale.shown.push_back(key);
      return Result<void>{};
    });
    if (!walked) return walked.error();
    return stale;
  }

  /// Deletes what is not in the snapshot, and writes once more what others changed since it was compared. Precondition:
  /// `made` are all transactions so far.
  Result<void> sweep(const std::set<std::int64_t>& made) {
    const auto take = [&](const std::string& key, const KeyValue& pair, const wire::Pair* present) {
      const bool ours =
          present != nullptr && (present->mod_revision() <= begun_ || made.contains(present->mod_revision()));
      return ours ? Result<void>{} : put_value(key, pair);
    };
    return walk(true, take, [this](const std::string& key) {
      {
        const std::scoped_lock holding(impl_->mutex);
        ++impl_->counted.deleted_keys;
      }
      return erase(key);
    });
  }

  /// `take`: each pair of the snapshot, and what the target has at its key, if anything; `stale`: each key that only
  /// the target has. What they add is flushed at the end.
  template <class Take, class Stale>
  Result<void> walk(bool keys_only, Take&& take, Stale&& stale) {
    auto pairs = impl_->partial.pairs();
    if (!pairs) return pairs.error();
    TargetPairs target(*impl_->client, impl_->keys, keys_only);
    for (;;) {
      const auto pair = pairs->next();
      if (!pair) return pair.error();
      const auto key = *pair ? impl_->keys.own((*pair)->key) : Result<std::string>(std::string());
      if (!key) return key.error();
      const auto present = pass(target, *pair ? &*key : nullptr, stale);
      if (!present) return present.error();
      if (!*pair) return flush();
      if (auto taken = take(*key, **pair, *present); !taken) return taken;
    }
  }

  /// What the target has at `key`, if anything, everything before it being stale.
  template <class Stale>
  Result<const wire::Pair*> pass(TargetPairs& target, const std::string* key, Stale&& stale) {
    for (;;) {
      const auto current = target.current();
      if (!current) return current.error();
      if (*current == nullptr || (key != nullptr && (*current)->key() > *key)) return nullptr;
      target.advance();
      if (key != nullptr && (*current)->key() == *key) return *current;
      if (auto done = stale((*current)->key()); !done) return done.error();
    }
  }

  Result<void> put(const std::string& key, const KeyValue& pair, const wire::Pair* present) {
    ++pairs_;
    const auto lease = pair.lease.value_or(0);
    if (lease != 0) leased_.insert(key);
    const bool same = present != nullptr && present->value() == pair.value && present->lease() == 0;
    auto weight = impl_->lease_weight(key, lease);
    if (!same) weight += {1, operation_bytes + key.size() + pair.value.size()};
    if (auto room = make_room(weight); !room) return room;
    SideTable side;
    impl_->add_leased(builder_, key, lease, side);
    if (lease != 0 && used_.insert(lease).second) impl_->add_granted(builder_, lease, side);
    return same ? Result<void>{} : put_value(key, pair);
  }

  Result<void> put_value(const std::string& key, const KeyValue& pair) {
    if (auto room = make_room({1, operation_bytes + key.size() + pair.value.size()}); !room) return room;
    ++written_;
    builder_.put(key, std::string(pair.value), impl_->lease_of_copy(key));
    return {};
  }

  /// One that is too large for any transaction goes alone.
  Result<void> make_room(const Weight& weight) {
    const bool fits = builder_.size() + weight.operations <= bootstrap_operations_max &&
                      builder_.bytes() + weight.bytes <= bootstrap_bytes_max;
    return fits ? Result<void>{} : flush();
  }

  Result<void> flush() { return builder_.size() > 0 ? send() : Result<void>{}; }

  /// With a line for people who look into the target meanwhile; it tells these transactions from those of others.
  Result<void> send() {
    said_at_ = std::chrono::steady_clock::now();
    auto builder = std::exchange(builder_, TxnBuilder());
    builder.compare_mod_revision(record_key(impl_->options.name), impl_->record_revision);
    // A value near the target's limit of a request has it for itself.
    if (builder.bytes() > txn_bytes_max) return writers_.add(builder.build());
    auto line = fmt::format("{} keys looked at, {} written", pairs_, written_);
    return writers_.add(builder.build({put_operation(bootstrap_key(impl_->options.name), std::move(line))}));
  }

  Result<void> say_progress() {
    return std::chrono::steady_clock::now() - said_at_ < progress_every ? Result<void>{} : send();
  }

  Result<void> erase(std::string key) {
    if (auto room = make_room({1, operation_bytes + key.size()}); !room) return room;
    builder_.erase(std::move(key));
    return {};
  }

  /// Of keys that the snapshot does not have, and those that it does not use.
  Result<void> erase_stale_leases() {
    for (const auto& [key, lease] : impl_->leased) {
      if (leased_.contains(key)) continue;
      if (auto erased = erase(leased_prefix(impl_->options.name) + key); !erased) return erased;
    }
    for (const auto& [lease, ttl_s] : impl_->granted) {
      if (used_.contains(lease)) continue;
      if (auto erased = erase(impl_->lease_key(lease)); !erased) return erased;
    }
    return flush();
  }

  Impl* impl_;
  std::int64_t begun_, mended_ = 0;
  std::set<std::int64_t> made_;
  TxnBuilder builder_;
  std::set<std::string, std::less<>> leased_;
  std::set<std::uint64_t> used_;
  std::uint64_t pairs_ = 0, written_ = 0;
  std::chrono::steady_clock::time_point said_at_ = std::chrono::steady_clock::now();
  Writers writers_;
};

/// Before anything is written over the old data.
Result<EtcdDatabase::Impl::Pairs> EtcdDatabase::Impl::check_pairs() {
  auto pairs = partial.pairs();
  if (!pairs) return pairs.error();
  for (Pairs has;; ++has.count) {
    const auto pair = pairs->next();
    if (!pair) return pair.error();
    if (!*pair) return has;
    const auto key = keys.own((*pair)->key);
    if (!key) return key.error();
    if (is_own_loop_marker((*pair)->key)) return found_loop();
    has.has_plain_neighbours |= neighbour_of(keys.prefix, *key) == *key;
  }
}

Result<EtcdSurvey> EtcdDatabase::Impl::came_after(std::int64_t revision, const Pairs* only) {
  EtcdSurvey found;
  const auto now = look();
  if (!now) return now.error();
  found.revision = now->revision;
  auto pairs = partial.pairs();
  if (!pairs) return pairs.error();
  std::optional<std::string> ours = std::string();  // the snapshot's key that was read last; absent behind its end
  const auto snapshot_has = [&](std::string_view word) -> Result<bool> {
    while (ours && *ours < word) {
      const auto pair = pairs->next();
      if (!pair) return pair.error();
      const auto key = *pair ? keys.own((*pair)->key) : Result<std::string>(std::string());
      if (!key) return key.error();
      ours = *pair ? std::optional(*key) : std::nullopt;
    }
    return ours && ours->starts_with(word);
  };
  TargetPairs target(*client, keys, true);
  for (;; target.advance()) {
    const auto current = target.current();
    if (!current) return current.error();
    if (*current == nullptr) return found;
    const auto& key = (*current)->key();
    if ((*current)->create_revision() <= revision) continue;
    if (only != nullptr) {
      const auto word = neighbour_of(keys.prefix, key);
      if (word.empty() || (word == key && only->has_plain_neighbours)) continue;
      const auto has = snapshot_has(word);
      if (!has) return has.error();
      if (*has) continue;
    }
    if (++found.keys <= EtcdSurvey::shown_max) found.shown.push_back(key);
  }
}

Result<void> EtcdDatabase::Impl::switch_received() {
  if (auto follows = check_follows(); !follows) return follows;
  if (!partial.partial()) return MirrorError::configuration("there is no snapshot to switch in");
  if (auto owned = ensure_owned(true); !owned) return owned;
  const auto facts = partial.partial()->facts;
  if (auto fixed = check_prefixes(facts); !fixed) return fixed;
  const auto old_prefix = keys.prefix, old_source_prefix = keys.offered_prefix;
  use_keys(options.prefix.value_or(facts.key_prefix), facts.key_prefix);
  end_loop_look();
  auto good = check_neighbours(keys.prefix);
  if (good) {
    const auto pairs = check_pairs();
    good = pairs ? check_deletions(*pairs) : Result<void>(pairs.error());
  }
  if (!good) {
    use_keys(old_prefix, old_source_prefix);
    return good;
  }
  return write_received(facts);
}

/// Precondition: it may be written where `keys` say.
Result<void> EtcdDatabase::Impl::write_received(const SnapshotFacts& facts) {
  for (const auto& [lease, ttl_s] : partial.leases())
    announced.insert_or_assign(lease, ttl_s);
  auto begun = record;
  begun.bootstrapping = true;
  begun.snapshot = facts.id;
  begun.split.reset();
  begun.prefix = keys.prefix;
  begun.source_prefix = keys.offered_prefix;
  {
    // Whatever was written before is mended now, and what had gone back is another history's from here on.
    const std::scoped_lock holding(mutex);
    gone_back_from = Lsn{};
    accounted_revision = 0;
    unexplained.reset();
  }
  if (auto marked = commit({}, begun); !marked) return marked;
  Difference difference(*this, record_revision);
  if (auto written = difference.write(); !written) {
    if (written.error().kind() == ErrorKind::Busy) {
      if (const auto found = look()) lose(*found);
    }
    return written;
  }
  const auto found = look();
  if (!found) return found.error();
  auto next = record;
  next.bootstrapping = false;
  next.position = Position{facts.origin, facts.incarnation, facts.last_entry, facts.snapshot_lsn, facts.origin_lsn};
  next.consistent_lsn = std::max(received_consistent_lsn, facts.snapshot_lsn);
  next.history = crosslink::History::beginning(
      {base::random_id<Incarnation>(), Lsn{static_cast<std::uint64_t>(found->revision) + 1}, HistoryCause::bootstrap});
  forget_external_writes(difference.mended(found->revision));
  if (auto done = commit({}, std::move(next), {erase_operation(bootstrap_key(options.name))}); !done) return done;
  if (auto loaded = load_leases(); !loaded) return loaded;
  if (auto removed = notes.drop_split(); !removed) return removed;
  if (auto removed = notes.write_agreement(0); !removed) return removed;
  auto dropped = partial.drop();
  // An idle source brings no group that would do it. When it fails the first one does.
  loop_look.begun = false;
  static_cast<void>(look_for_loop(*record.position));
  const std::scoped_lock holding(mutex);
  shown_partial = partial.partial();
  shown_deletions = 0;
  return dropped;
}

}  // namespace crosslink
