// A value so near the target's limit of a request that the record, which is in every other one, does not fit beside it.
#include <utility>

#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::size_t written_alone_max = 100;

}  // namespace

/// Only while the record is unchanged, which is what it costs beside the value. Done again it does no harm: the
/// position moves after it.
Result<void> EtcdDatabase::Impl::write_alone(const Change& change) {
  TxnBuilder builder;
  builder.compare_mod_revision(record_key(options.name), record_revision);
  builder.put(change.key, *change.value);
  const auto done = client->txn(builder.build());
  if (!done) return done.error();
  if (!done->succeeded()) {
    auto settled = settle(record);
    return settled ? storage_error("the transaction was not made") : settled;
  }
  const auto revision = done->header().revision();
  static_cast<void>(note_written(revision, change_bytes(change)));  // the record follows
  const std::scoped_lock holding(mutex);
  written_alone.insert(revision);
  if (written_alone.size() > written_alone_max) written_alone.erase(written_alone.begin());
  return {};
}

Result<void> EtcdDatabase::Impl::commit_alone(std::span<const Change> changes, Record next, SideTable& side,
                                              const MirrorError& too_large) {
  if (changes.size() != 1 || !changes.front().value) return too_large;
  const auto& change = changes.front();
  if (auto written = write_alone(change); !written) return written;
  side = {};
  TxnBuilder builder;
  add_leased(builder, change.key, change.lease, side);
  add_leases(builder, side);
  return commit(std::move(builder), std::move(next));
}

}  // namespace crosslink
