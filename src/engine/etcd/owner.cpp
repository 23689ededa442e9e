// Who owns a mirror: a key bound to a lease, an epoch in the record, and a record that every transaction compares.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr int commit_attempts = 3;
constexpr std::chrono::seconds keep_every(3);

MirrorError busy(std::string why) { return {ErrorKind::Busy, CausedBy::us, std::move(why)}; }

MirrorError promoted_by(const std::string& node) {
  return {ErrorKind::MirrorPromoted, CausedBy::us,
          fmt::format("node {} promoted this mirror: clients may write to it, and it follows no source any more",
                      escape(node))};
}

std::string owner_value(const std::string& node, std::uint64_t epoch) { return fmt::format("{}\n{}", epoch, node); }

void read_owner(std::string_view value, EtcdDatabase::Impl::Found& found) {
  const auto line = value.find('\n');
  const auto digits = value.substr(0, line);
  std::from_chars(digits.data(), digits.data() + digits.size(), found.owner_epoch);
  found.owner_node = line == std::string_view::npos ? std::string("?") : std::string(value.substr(line + 1));
}

}  // namespace

Result<EtcdDatabase::Impl::Found> EtcdDatabase::Impl::look() {
  wire::TxnRequest both;
  both.add_success()->mutable_range()->set_key(record_key(options.name));
  both.add_success()->mutable_range()->set_key(owner_key(options.name));
  const auto read = client->read_together(both);
  if (!read) return read.error();
  if (read->responses_size() != 2) return storage_error("a transaction was answered with something else");
  Found found;
  found.revision = read->header().revision();
  if (const auto& kvs = read->responses(0).range().kvs(); !kvs.empty()) {
    auto decoded = decode_record(kvs[0].value());
    if (!decoded) {
      return decoded.error().with_context(
          fmt::format("{0}, which `etcdctl del {0}` removes for the mirror to begin anew", record_key(options.name)));
    }
    found.record = *std::move(decoded);
    found.record_revision = kvs[0].mod_revision();
  }
  if (const auto& kvs = read->responses(1).range().kvs(); !kvs.empty()) {
    read_owner(kvs[0].value(), found);
    found.owner_revision = kvs[0].mod_revision();
  }
  return found;
}

/// With `mutex` held. True when the target is in an earlier state than it was, as one restored from a backup is: of its
/// revisions nothing is true that was said of them.
bool EtcdDatabase::Impl::take_record(Record next, std::int64_t revision) {
  const bool back = revision < record_revision;
  if (back) ++target_gone_back;
  record = std::move(next);
  record_revision = revision;
  return back;
}

/// `own`: everything up to `revision` since the last one was ours, unless a gap says otherwise.
void EtcdDatabase::Impl::adopt(Record next, std::int64_t revision, bool own) {
  std::function<void(Lsn)> tell;
  bool back = false;
  {
    const std::scoped_lock holding(mutex);
    back = take_record(std::move(next), revision);
    if (own && accounted_revision > 0 && revision > accounted_revision + 1) {
      const Lsn from{static_cast<std::uint64_t>(accounted_revision)}, to{static_cast<std::uint64_t>(revision) - 1};
      unexplained = Gap{unexplained ? unexplained->from : from, to};
    }
    accounted_revision = revision;
    tell = on_head;
  }
  uncertain = false;
  if (back) history_changed();
  if (tell) tell(lsn_of(revision));
}

/// What another crosslink made of the mirror while we did not own it.
void EtcdDatabase::Impl::note_moved(const Record& next) {
  if (next.position == record.position && next.bootstrapping == record.bootstrapping && next.role == record.role)
    return;
  moved = true;
  expect_again();
  use_keys(next.prefix, next.source_prefix);
}

void EtcdDatabase::Impl::lose(const Found& found) {
  if (found.record) note_moved(*found.record);
  bool back = false;
  {
    const std::scoped_lock holding(mutex);
    ownership.owned = false;
    ownership.stepped_down = found.record && found.record->owner == options.node;
    ownership.refused_by = found.record ? found.record->owner : std::string();
    lease_count.reset();
    if (found.record) back = take_record(*found.record, found.record_revision);
  }
  uncertain = false;
  if (back) history_changed();
}

/// Did another node promote the mirror? It could not tell us, and what we have received would undo its clients' writes.
Result<void> EtcdDatabase::Impl::check_promoted(const Found& found) {
  if (!found.record || found.record->role != DatabaseRole::promoted) return {};
  lose(found);
  return promoted_by(found.record->owner);
}

/// Of a database that was promoted, here or by another node. Again: nothing that is done already.
Result<void> EtcdDatabase::Impl::begin_promoted() {
  lease_keeper.reset();
  if (auto dropped = partial.drop(); !dropped) return dropped;
  // What was agreed to was a mirror's.
  if (auto withdrawn = notes.write_agreement(0); !withdrawn) return withdrawn;
  {
    const std::scoped_lock holding(mutex);
    shown_partial.reset();
    shown_deletions = 0;
    // Whose words tell an operator to verify and to resync a mirror.
    external_writes_note.clear();
    unexplained.reset();
    if (tail) return {};
  }
  return start_tail();
}

/// After a comparison that failed, or an outcome that is not known.
Result<void> EtcdDatabase::Impl::settle(const Record& attempted) {
  auto found = look();
  if (!found) {
    uncertain = true;
    return found.error();
  }
  if (found->record && found->record->write_id == attempted.write_id) {
    adopt(*found->record, found->record_revision, true);
    return {};
  }
  if (is_gone_back(*found)) return take_gone_back(*found);
  if (found->record_revision == record_revision) return storage_error("the transaction was not made");
  if (found->record && found->record->owner == options.node && found->record->epoch == record.epoch) {
    adopt(*found->record, found->record_revision, true);
    return busy("an earlier write, whose outcome was not known, has come through");
  }
  if (auto promoted = check_promoted(*found); !promoted) return promoted;
  lose(*found);
  return busy(fmt::format("another crosslink, node {}, has taken this mirror over",
                          found->record ? escape(found->record->owner) : std::string("?")));
}

Result<void> EtcdDatabase::Impl::commit(TxnBuilder builder, Record next, std::vector<wire::RequestOperation> beside) {
  const auto write_id = base::random_id<SnapshotId>();
  next.write_id = std::string(base::text_of(std::span(write_id.bytes).first(8)));
  next.owner = options.node;
  next.epoch = record.epoch;
  builder.compare_mod_revision(record_key(options.name), record_revision);
  beside.push_back(put_operation(record_key(options.name), encode_record(next)));
  const auto request = builder.build(std::move(beside));
  std::optional<MirrorError> unknown;
  for (int attempt = 0; attempt < commit_attempts; ++attempt) {
    const auto done = client->txn(request);
    if (done && done->succeeded()) {
      adopt(std::move(next), done->header().revision(), true);
      committed_at = std::chrono::steady_clock::now();
      {
        const std::scoped_lock holding(mutex);
        ++counted.transactions;
        const bool mended = record.position && !record.bootstrapping && record.position->applied_lsn >= gone_back_from;
        if (mended) gone_back_note.clear();
      }
      // Here, since a target can be filled within the second that the next round takes.
      if (note_written(done->header().revision(), request.ByteSizeLong())) compact_target();
      return {};
    }
    if (!done && done.error().kind() != ErrorKind::Storage) return done.error();
    if (!done) unknown = done.error();
    auto settled = settle(next);
    if (settled || settled.error().kind() != ErrorKind::Storage || uncertain) return settled;
    // It was not made, and the same comparison lets it through once at most.
  }
  uncertain = true;
  return unknown ? *unknown : storage_error("a transaction fails again and again");
}

// --- taking over
// -------------------------------------------------------------------------------------------------

Result<void> EtcdDatabase::Impl::ensure_owned(bool rereading) {
  if (auto owned = own_again(); !owned) return owned;
  if (!std::exchange(moved, false) || rereading) return {};
  const std::scoped_lock holding(mutex);
  return busy(gone_back_note.empty() ? "another crosslink owned this mirror meanwhile and moved its position"
                                     : gone_back_note);
}

Result<void> EtcdDatabase::Impl::own_again() {
  bool owned = false;
  {
    const std::scoped_lock holding(mutex);
    gives_way = false;
    owned = ownership.owned && std::chrono::steady_clock::now() < ownership.until;
  }
  if (owned && !uncertain && !look_first) return {};
  auto found = look();
  if (!found) return found.error();
  look_first = false;
  if (is_gone_back(*found)) {
    static_cast<void>(take_gone_back(*found));  // `moved` says so
    owned = false;
  }
  if (auto promoted = check_promoted(*found); !promoted) return promoted;
  if (!owned) return acquire(*found);
  const bool ours = found->record && found->record->owner == options.node && found->record->epoch == record.epoch;
  if (!ours) {
    lose(*found);
    return busy("another crosslink has taken this mirror over");
  }
  adopt(*found->record, found->record_revision, true);
  return {};
}

Result<void> EtcdDatabase::Impl::acquire(const Found& found) {
  const bool other = !found.owner_node.empty() && found.owner_node != options.node;
  {
    const std::scoped_lock holding(mutex);
    if (found.owner_node.empty()) ownership.stepped_down = false;
    ownership.refused_by = found.owner_node;
    if (other || ownership.stepped_down) {
      return busy(
          fmt::format("another crosslink, node {}, owns this mirror; this node takes over when that one ends, "
                      "is paused, or does not reach the source",
                      escape(found.owner_node)));
    }
  }
  wire::LeaseGrantRequest wanted;
  wanted.set_ttl_s(options.owner_lease.count());
  const auto asked_at = std::chrono::steady_clock::now();
  const auto lease = client->grant(wanted);
  if (!lease) return lease.error();
  auto next = found.record.value_or(Record{});
  next.owner = options.node;
  ++next.epoch;
  if (!next.id) next.id = id;
  const auto write_id = base::random_id<SnapshotId>();
  next.write_id = std::string(base::text_of(std::span(write_id.bytes).first(8)));
  TxnBuilder builder;
  builder.compare_mod_revision(owner_key(options.name), found.owner_revision);
  builder.compare_mod_revision(record_key(options.name), found.record_revision);
  builder.put(owner_key(options.name), owner_value(options.node, next.epoch), lease->id());
  builder.put(record_key(options.name), encode_record(next));
  const auto done = client->txn(builder.build());
  if (!done || !done->succeeded()) {
    static_cast<void>(client->revoke(lease->id()));  // it ends by itself, else
    return done ? busy("another crosslink is taking this mirror over") : done.error();
  }
  if (found.record) note_moved(*found.record);
  {
    const std::scoped_lock holding(mutex);
    ownership = {true, false, lease->id(), asked_at + std::chrono::seconds(lease->ttl_s()), asked_at, {}};
    // What came behind the record was written while no owner watched.
    accounted_revision = next.position && !next.bootstrapping ? std::max(accounted_revision, found.record_revision) : 0;
  }
  own_epoch = next.epoch;
  adopt(std::move(next), done->header().revision(), true);
  if (auto loaded = load_leases(); !loaded) {
    const std::scoped_lock holding(mutex);
    ownership.owned = false;
    return loaded;
  }
  return {};
}

Result<void> EtcdDatabase::Impl::load_leases() {
  leased.clear();
  granted.clear();
  uses.clear();
  const auto load = [&](const std::string& prefix, auto&& take) -> Result<void> {
    Pages pages(*client, {prefix, prefix_end(prefix)}, 0);
    for (;;) {
      const auto page = pages.next();
      if (!page) return page.error();
      if (!*page) return {};
      for (const auto& kv : (*page)->kvs()) {
        std::uint64_t number = 0;
        std::from_chars(kv.value().data(), kv.value().data() + kv.value().size(), number);
        take(kv.key().substr(prefix.size()), number);
      }
    }
  };
  auto loaded = load(leased_prefix(options.name), [&](const std::string& key, std::uint64_t lease) {
    leased[key] = lease;
    ++uses[lease];
  });
  if (!loaded) return loaded;
  loaded = load(leases_prefix(options.name), [&](const std::string& hex, std::uint64_t ttl_s) {
    std::uint64_t lease = 0;
    std::from_chars(hex.data(), hex.data() + hex.size(), lease, 16);
    granted[lease] = ttl_s;
  });
  if (!loaded) return loaded;
  const std::scoped_lock holding(mutex);
  lease_count = granted.size();
  return {};
}

Result<void> EtcdDatabase::forget(ForgetPromoted promoted) {
  const std::scoped_lock writing(impl_->write_mutex);
  if (impl_->root) return MirrorError::configuration("a root has no record in its etcd");
  return impl_->forget(promoted);
}

Result<void> EtcdDatabase::Impl::forget(ForgetPromoted promoted) {
  const auto found = look();
  if (!found) return found.error();
  if (found->record && found->record->role == DatabaseRole::promoted) {
    const bool ours = found->record->owner == options.node;
    if (!ours || promoted == ForgetPromoted::no) return promoted_by(found->record->owner);
  }
  if (!found->owner_node.empty() && found->owner_node != options.node)
    return busy(fmt::format("another crosslink, node {}, owns this mirror", escape(found->owner_node)));
  TxnBuilder builder;
  builder.compare_mod_revision(record_key(options.name), found->record_revision);
  builder.compare_mod_revision(owner_key(options.name), found->owner_revision);
  builder.erase(record_key(options.name));
  auto request = builder.build({erase_below(record_key(options.name) + "/")});
  const auto done = client->txn(request);
  if (!done) return done.error();
  if (!done->succeeded()) return busy("another crosslink is taking this mirror over");
  release();
  return {};
}

// --- keeping it
// -------------------------------------------------------------------------------------------------

void EtcdDatabase::let_go() {
  const std::scoped_lock holding(impl_->mutex);
  impl_->gives_way = impl_->ownership.owned;
}

/// Not in the middle of a call that writes.
void EtcdDatabase::Impl::give_way() {
  const std::unique_lock writing(write_mutex, std::try_to_lock);
  if (!writing) return;
  {
    const std::scoped_lock holding(mutex);
    if (!std::exchange(gives_way, false)) return;
    lease_count.reset();
  }
  release();
}

void EtcdDatabase::Impl::keep_ownership() {
  give_way();
  const auto now = std::chrono::steady_clock::now();
  std::int64_t lease = 0;
  {
    const std::scoped_lock holding(mutex);
    const auto every = std::min<std::chrono::milliseconds>(keep_every, options.owner_lease / 3);
    if (!ownership.owned || now - ownership.kept_at < every) return;
    lease = ownership.lease;
  }
  const auto asked = client->keep_alive(std::array{lease});
  const std::scoped_lock holding(mutex);
  if (!ownership.owned || ownership.lease != lease) return;
  if (asked && asked->front() > 0) {
    ownership.kept_at = now;
    ownership.until = now + std::chrono::seconds(asked->front());
  } else if (asked) {
    ownership.owned = false;  // it has ended: the next call takes over again, if no other node did
    lease_count.reset();
  }
}

void EtcdDatabase::Impl::release(AtEnd end) {
  std::int64_t lease = 0;
  {
    const std::scoped_lock holding(mutex);
    if (!std::exchange(ownership.owned, false)) return;
    lease = ownership.lease;
  }
  // It ends by itself, else.
  if (end == AtEnd::yes) return client->revoke_at_end(lease);
  static_cast<void>(client->revoke(lease));
}

}  // namespace crosslink
