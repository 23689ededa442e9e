// A received snapshot becomes a mirror's data by difference: what differs is written, by several at once, and what is
// not in it is deleted last. Done again after a kill it goes on, since what was written no longer differs.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>

#include "engine/etcd/etcd_impl.hpp"
#include "engine/random_id.hpp"

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
  Writers(Client& client, std::size_t threads) : client_(&client), waiting_max_(2 * threads) {
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
  /// Waits until all are made.
  Result<void> finish() {
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    if (error_) return *error_;
    return {};
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
      }
      changed_.notify_all();
      auto made = make(request);
      if (made) continue;
      const std::scoped_lock lock(mutex_);
      if (!error_) error_ = made.error();
      changed_.notify_all();
      return;
    }
  }
  Result<void> make(const wire::TxnRequest& request) {
    for (int attempt = 1;; ++attempt) {
      const auto place = client_->place();
      const auto done = client_->txn(request);
      if (done && done->succeeded()) return {};
      if (done) {
        return MirrorError(ErrorKind::Busy, CausedBy::us,
                           "another crosslink has taken this mirror over during its bootstrap");
      }
      if (done.error().kind() != ErrorKind::Storage || attempt == attempts_max) return done.error();
      client_->failed(place);
      std::this_thread::sleep_for(attempt_pause);
    }
  }
  Client* client_;
  std::size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<wire::TxnRequest> waiting_;
  std::optional<MirrorError> error_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// The target's pairs, one after another.
class TargetPairs {
 public:
  TargetPairs(Client& client, const KeySpace& keys, std::int64_t revision, bool keys_only)
      : keys_(&keys), pages_(client, keys.all(), revision, keys_only) {}
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

/// One bootstrap under way.
class EtcdDatabase::Impl::Difference {
 public:
  Difference(Impl& impl, std::int64_t revision)
      : impl_(&impl),
        revision_(revision),
        writers_(*impl.client, std::max<std::size_t>(impl.options.bootstrap_writers, 1)) {}

  Result<void> write() {
    auto pairs = impl_->partial.pairs();
    if (!pairs) return pairs.error();
    TargetPairs target(*impl_->client, impl_->keys, revision_, false);
    std::uint64_t stale = 0;
    for (;;) {
      const auto pair = pairs->next();
      if (!pair) return pair.error();
      const auto key = *pair ? impl_->keys.own((*pair)->key) : Result<std::string>(std::string());
      if (!key) return key.error();
      const auto passed = pass(target, *pair ? &*key : nullptr, stale);
      if (!passed) return passed.error();
      if (!*pair) break;
      if (auto written = put(*key, **pair, *passed); !written) return written;
      if (auto said = say_progress(); !said) return said;
    }
    if (auto flushed = flush(); !flushed) return flushed;
    if (stale > 0) {
      if (auto erased = erase_stale(); !erased) return erased;
    }
    if (auto erased = erase_stale_leases(); !erased) return erased;
    return writers_.finish();
  }

 private:
  /// What the target has at `key`, if anything, everything before it being stale.
  Result<const wire::Pair*> pass(TargetPairs& target, const std::string* key, std::uint64_t& stale) {
    for (;;) {
      const auto current = target.current();
      if (!current) return current.error();
      if (*current == nullptr || (key != nullptr && (*current)->key() > *key)) return nullptr;
      if (key != nullptr && (*current)->key() == *key) {
        target.advance();
        return *current;
      }
      ++stale;
      target.advance();
    }
  }

  Result<void> put(const std::string& key, const KeyValue& pair, const wire::Pair* present) {
    ++pairs_;
    const auto lease = pair.lease.value_or(0);
    if (lease != 0) leased_.insert_or_assign(key, lease);
    impl_->add_lease(builder_, key, lease, side_);
    const bool same = present != nullptr && present->value() == pair.value && present->lease() == 0;
    if (!same) {
      ++written_;
      builder_.put(key, std::string(pair.value));
    }
    return builder_.size() >= bootstrap_operations_max || builder_.bytes() >= bootstrap_bytes_max ? flush()
                                                                                                  : Result<void>{};
  }

  Result<void> flush() {
    if (builder_.size() == 0) return {};
    auto builder = std::exchange(builder_, TxnBuilder());
    builder.compare_mod_revision(record_key(impl_->options.name), impl_->record_revision);
    return writers_.add(builder.build());
  }

  Result<void> erase(std::string key) {
    builder_.erase(std::move(key));
    return builder_.size() >= bootstrap_operations_max || builder_.bytes() >= bootstrap_bytes_max ? flush()
                                                                                                  : Result<void>{};
  }

  Result<void> erase_stale() {
    auto pairs = impl_->partial.pairs();
    if (!pairs) return pairs.error();
    TargetPairs target(*impl_->client, impl_->keys, revision_, true);
    std::optional<std::string> wanted;
    bool more = true;
    for (;;) {
      const auto current = target.current();
      if (!current) return current.error();
      if (*current == nullptr) return flush();
      while (more && (!wanted || *wanted < (*current)->key())) {
        const auto pair = pairs->next();
        if (!pair) return pair.error();
        more = pair->has_value();
        if (!more) break;
        auto key = impl_->keys.own((*pair)->key);
        if (!key) return key.error();
        wanted = *std::move(key);
      }
      if (!wanted || *wanted != (*current)->key()) {
        if (auto erased = erase((*current)->key()); !erased) return erased;
      }
      target.advance();
    }
  }

  /// Of keys that the snapshot does not have.
  Result<void> erase_stale_leases() {
    for (const auto& [key, lease] : impl_->leased) {
      if (leased_.contains(key)) continue;
      if (auto erased = erase(leased_prefix(impl_->options.name) + key); !erased) return erased;
    }
    return flush();
  }

  /// For people who look into the target meanwhile.
  Result<void> say_progress() {
    const auto now = std::chrono::steady_clock::now();
    if (now - said_at_ < progress_every) return {};
    said_at_ = now;
    TxnBuilder builder;
    builder.compare_mod_revision(record_key(impl_->options.name), impl_->record_revision);
    builder.put(bootstrap_key(impl_->options.name), fmt::format("{} keys looked at, {} written", pairs_, written_));
    return writers_.add(builder.build());
  }

  Impl* impl_;
  std::int64_t revision_;
  TxnBuilder builder_;
  SideTable side_;
  std::map<std::string, std::uint64_t> leased_;
  std::uint64_t pairs_ = 0, written_ = 0;
  std::chrono::steady_clock::time_point said_at_ = std::chrono::steady_clock::now();
  Writers writers_;
};

/// Before anything is written over the old data.
Result<void> EtcdDatabase::Impl::check_pairs() {
  auto pairs = partial.pairs();
  if (!pairs) return pairs.error();
  for (;;) {
    const auto pair = pairs->next();
    if (!pair) return pair.error();
    if (!*pair) return {};
    if (const auto key = keys.own((*pair)->key); !key) return key.error();
  }
}

Result<void> EtcdDatabase::Impl::switch_received() {
  if (auto follows = check_follows(); !follows) return follows;
  if (!partial.partial()) return MirrorError::configuration("there is no snapshot to switch in");
  if (auto owned = ensure_owned(true); !owned) return owned;
  const auto facts = partial.partial()->facts;
  const auto old_prefix = keys.prefix, old_source_prefix = keys.offered_prefix;
  use_keys(options.prefix.value_or(facts.key_prefix), facts.key_prefix);
  auto good = check_neighbours(keys.prefix);
  if (good) good = check_pairs();
  if (!good) {
    use_keys(old_prefix, old_source_prefix);
    return good;
  }
  for (const auto& [lease, ttl_s] : partial.leases())
    announced.insert_or_assign(lease, ttl_s);
  auto begun = record;
  begun.bootstrapping = true;
  begun.snapshot = facts.id;
  begun.split.reset();
  begun.prefix = keys.prefix;
  begun.source_prefix = keys.offered_prefix;
  if (auto marked = commit({}, begun); !marked) return marked;
  {
    Difference difference(*this, record_revision);
    if (auto written = difference.write(); !written) {
      if (written.error().kind() == ErrorKind::Busy) {
        if (const auto found = look()) lose(*found);
      }
      return too_large(written.error(), {}, facts.snapshot_lsn);
    }
  }
  const auto found = look();
  if (!found) return found.error();
  auto next = record;
  next.bootstrapping = false;
  next.position = Position{facts.origin, facts.incarnation, facts.last_entry, facts.snapshot_lsn, facts.origin_lsn};
  next.consistent_lsn = std::max(received_consistent_lsn, facts.snapshot_lsn);
  next.history =
      crosslink::History::beginning({engine::random_id<Incarnation>(),
                                     Lsn{static_cast<std::uint64_t>(found->revision) + 1}, HistoryCause::bootstrap});
  {
    // What others wrote meanwhile is overwritten, or behind us: then only verify finds it.
    const std::scoped_lock holding(mutex);
    accounted_revision = 0;
  }
  if (auto done = commit({}, std::move(next), {erase_operation(bootstrap_key(options.name))}); !done) return done;
  forget_foreign();
  if (auto loaded = load_leases(); !loaded) return loaded;
  if (auto removed = remove_tree(split_file()); !removed) return removed;
  auto dropped = partial.drop();
  const std::scoped_lock holding(mutex);
  shown_partial = partial.partial();
  return dropped;
}

}  // namespace crosslink
