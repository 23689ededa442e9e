// Keys that a mirror would share with others: with its own source, whose log it would then feed without end, or with
// another mirror, of which one would delete what the other writes.
#include <fmt/format.h>

#include <utility>

#include "engine/etcd/etcd_impl.hpp"
#include "engine/etcd/identity.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::chrono::seconds idle_position_every(10);

bool overlap(const std::string& one, const std::string& other) {
  return one.starts_with(other) || other.starts_with(one);
}

std::string below(const std::string& prefix) {
  return prefix.empty() ? std::string("all keys") : fmt::format("the keys below \"{}\"", escape(prefix, 200));
}

MirrorError own_source(const std::string& prefix) {
  return {ErrorKind::UnsupportedOperation, CausedBy::us,
          fmt::format("the mirror would be kept in the source's own etcd cluster, as {}, over the very keys it is to "
                      "follow: every write would come back to it as a new one, without end; choose another cluster, or "
                      "a prefix that has no key in common with the source's",
                      below(prefix))};
}

}  // namespace

/// Tells clusters apart that were set up alike and so have one id: did anything happen below `prefix` at `revision`?
/// Unless it can be shown that not, it did.
Result<bool> EtcdDatabase::Impl::happened_here(const std::string& prefix, Lsn revision) {
  const auto range = KeySpace{prefix, prefix, {}}.all();
  wire::RangeRequest request;
  request.set_key(range.key);
  request.set_range_end(range.range_end);
  const auto ask = [&](Lsn at) -> Result<std::int64_t> {
    request.set_revision(static_cast<std::int64_t>(at.value));
    const auto answer = client->range(request);
    if (!answer) return answer.error();
    return request.count_only() ? answer->count() : answer->kvs_size();
  };
  const auto known = [](const Result<std::int64_t>& count) {
    return count || count.error().kind() != ErrorKind::LogWindowExceeded;
  };
  if (revision <= Lsn{1}) return true;
  request.set_keys_only(true);
  request.set_min_mod_revision(static_cast<std::int64_t>(revision.value));
  const auto written = ask(revision);
  if (!known(written)) return true;
  if (!written) return written.error();
  if (*written > 0) return true;
  request.clear_min_mod_revision();
  request.set_count_only(true);
  const auto before = ask(Lsn{revision.value - 1}), after = ask(revision);
  if (!known(before) || !known(after)) return true;
  if (!before) return before.error();
  if (!after) return after.error();
  return *before != *after;
}

Result<void> EtcdDatabase::Impl::check_source(const SnapshotFacts& facts) {
  const auto& prefix = options.prefix.value_or(facts.key_prefix);
  // A promoted database's incarnation is no etcd's: it may be followed back to where it came from.
  if (!may_be_in(facts.incarnation, client->cluster_id()) || !overlap(prefix, facts.key_prefix)) return {};
  if (record.position && record.position->incarnation == facts.incarnation) return {};  // looked at when it began
  const auto found = look();
  if (!found) return found.error();
  if (static_cast<std::uint64_t>(found->revision) < facts.snapshot_lsn.value) return {};
  const auto same = happened_here(facts.key_prefix, facts.last_entry.lsn);
  if (!same) return same.error();
  return *same ? own_source(prefix) : Result<void>{};
}

/// Made of what is known before the first bootstrap, and from then on as the record says: a source counts it, and must
/// not take the mirror for another one once it has its keys. Older versions made it of the prefix as well, and said
/// nothing in the record: what they followed stays what it is.
MirrorId EtcdDatabase::Impl::id_in(const Record& of) const {
  if (of.id) return *of.id;
  PairDigest digest;
  digest.add("etcd cluster", std::to_string(client->cluster_id()));
  if (explains(of)) digest.add("prefix", of.prefix);
  digest.add("crosslink cluster", options.crosslink_cluster);
  digest.add("mirror", options.name);
  return {digest.digest().bytes};
}

MirrorId EtcdDatabase::mirror_id() const { return impl_->id; }

Result<void> EtcdDatabase::may_follow(const Incarnation& source, const std::string& crosslink_cluster, Lsn head) const {
  const auto& client = *impl_->client;
  if (!may_be_in(source, client.cluster_id())) return {};
  const auto found = impl_->look();
  if (!found) return found.error();
  if (static_cast<std::uint64_t>(found->revision) < head.value) return {};
  const auto& prefix = impl_->options.prefix;
  if (!prefix) return own_source("");
  for (std::size_t size = 0; size <= prefix->size(); ++size) {
    if (source == root_incarnation(client.cluster_id(), crosslink_cluster, prefix->substr(0, size), {}))
      return own_source(*prefix);
  }
  return {};
}

/// In the source's own etcd our record is a revision that moves the source's head: written each time the head moves, it
/// would move it without end.
bool EtcdDatabase::Impl::would_echo(const Position& position) const {
  return may_be_in(position.incarnation, client->cluster_id()) &&
         std::chrono::steady_clock::now() - committed_at < idle_position_every;
}

/// What others keep in this etcd. Where the right to read it is missing, nothing is known.
Result<void> EtcdDatabase::Impl::check_neighbours(const std::string& prefix) {
  const std::string all(reserved_prefix);
  Pages pages(*client, {all, prefix_end(all)}, 0);
  for (;;) {
    const auto page = pages.next();
    if (!page && page.error().kind() == ErrorKind::NotAuthorized) return {};
    if (!page) return page.error();
    if (!*page) return {};
    for (const auto& kv : (*page)->kvs()) {
      const auto name = kv.key().substr(all.size());
      if (name == options.name || name.find('/') != std::string::npos) continue;
      const auto other = decode_record(kv.value());
      const bool has_keys = other && (other->position || other->bootstrapping);
      if (!has_keys || !overlap(other->prefix, prefix)) continue;
      return MirrorError(
          ErrorKind::UnsupportedOperation, CausedBy::us,
          fmt::format("the mirror {} keeps {} in this etcd, this one would keep {}: one would delete what the other "
                      "writes; choose another prefix, or delete that mirror (with its record /crosslink/{}) first",
                      escape(name, 80), below(other->prefix), below(prefix), escape(name, 80)));
    }
  }
}

}  // namespace crosslink
