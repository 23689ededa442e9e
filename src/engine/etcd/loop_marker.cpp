// Finds a mirror that is kept over its own source's keys although their names do not show it, as behind a proxy that
// adds a prefix: a key that only we can have written comes back from the source.
#include <fmt/format.h>

#include <utility>

#include "base/random_id.hpp"
#include "engine/etcd/etcd_impl.hpp"
#include "engine/etcd/identity.hpp"

namespace crosslink {

using namespace etcd;

/// Once for each process that owns the mirror: the key is there for a moment, and goes with us at the latest.
Result<void> EtcdDatabase::Impl::write_loop_marker() {
  if (loop_marker.empty()) {
    auto marker = fmt::format("{}crosslink-loop-{}", keys.prefix, to_string(base::random_id<SnapshotId>()));
    std::int64_t lease = 0;
    {
      const std::scoped_lock holding(mutex);
      lease = ownership.lease;
    }
    TxnBuilder builder;
    builder.put(marker, "", lease);
    if (auto put = commit(std::move(builder), record); !put) return put;
    loop_marker = std::move(marker);
  }
  TxnBuilder builder;
  builder.erase(loop_marker);
  auto erased = commit(std::move(builder), record);
  loop_marker_gone = erased.ok();
  return erased;
}

/// Where the source's cluster may be this one. Errors: UnsupportedOperation: it is, and these are its keys.
Result<void> EtcdDatabase::Impl::look_for_loop(const ApplyGroup& group) {
  if (!may_be_in(group.position.incarnation, client->cluster_id())) return {};
  if (!loop_marker_gone) {
    if (auto marked = write_loop_marker(); !marked) return marked;
  }
  const auto marker = keys.offered(loop_marker);
  bool found = false;
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();
      entry->for_each([&](const Operation& operation) { found = found || operation.key == marker; });
    }
  }
  if (!found) return {};
  return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::us,
                     fmt::format("what this mirror writes below \"{}\" comes back to it from its source, as new writes "
                                 "without end: it is kept over its source's own keys, in the same etcd cluster under "
                                 "other names; choose another cluster, or a prefix that has no key in common with it",
                                 escape(keys.prefix, 200)));
}

}  // namespace crosslink
