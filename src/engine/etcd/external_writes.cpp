// What a mirror does beside applying: it stays its owner, looks for writes that were not its own, compacts the target.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/etcd/etcd_impl.hpp"

namespace crosslink {

using namespace etcd;

namespace {

constexpr std::chrono::milliseconds round(1000);
/// The target's history takes as many bytes at least, and at most this part of what is in use there.
constexpr std::uint64_t history_bytes_min = std::uint64_t{4} << 20, history_part = 8;
constexpr std::uint64_t history_bytes_unknown = std::uint64_t{64} << 20;
constexpr std::uint64_t written_mark_bytes = std::uint64_t{256} << 10, written_marks_max = 256;

}  // namespace

void EtcdDatabase::Impl::every_round(void (Impl::*work)()) {
  std::unique_lock holding(mutex);
  while (!stop_signal.wait_for(holding, round, [this] { return stopping; })) {
    const bool follows = is_mirror();
    holding.unlock();
    if (follows) (this->*work)();
    holding.lock();
  }
}

/// A standby is one as well while its source writes nothing that it could not apply.
void EtcdDatabase::Impl::note_owner() {
  {
    const std::scoped_lock holding(mutex);
    if (ownership.owned) return;
  }
  const auto found = look();
  const std::scoped_lock holding(mutex);
  if (!found || ownership.owned) return;
  ownership.refused_by = found->owner_node == options.node ? std::string() : found->owner_node;
}

void EtcdDatabase::Impl::look_after_target() {
  note_owner();
  watch_record();
  end_late_loop_look();
  find_external_writes();
  compact_target();
}

/// A mirror's own transactions follow one another: what lies between two of them was written by others.
void EtcdDatabase::Impl::find_external_writes() {
  {
    const std::unique_lock writing(write_mutex, std::try_to_lock);
    if (writing) {
      const std::unique_lock holding(mutex);
      const bool is_promoted = record.role == DatabaseRole::promoted;  // heard of a moment ago: clients write now
      if (record.bootstrapping || is_promoted || accounted_revision == 0) return;
    }
    const auto found = writing ? look() : Result<Found>(storage_error("it is being written to"));
    // Without an owner it is looked at as well: who has nothing to write does not take it over.
    const bool of_others = found && !found->owner_node.empty() && found->owner_node != options.node;
    if (found && !of_others && found->record_revision == record_revision) {
      const std::scoped_lock holding(mutex);
      if (found->revision > accounted_revision) {
        const auto from = lsn_of(accounted_revision), to = lsn_of(found->revision);
        unexplained = Gap{unexplained ? unexplained->from : from, to};
        accounted_revision = found->revision;
      }
    }
  }
  std::optional<Gap> gap;
  {
    const std::scoped_lock holding(mutex);
    gap = std::exchange(unexplained, std::nullopt);
  }
  if (!gap) return;
  const auto scanned = scan_external_writes(*gap);
  std::shared_ptr<WatchStream> ended;  // after the lock: its end waits for gRPC
  const std::scoped_lock holding(mutex);
  ended = std::exchange(scanning, nullptr);
  if (scanned) return;
  if (scanned.error().kind() == ErrorKind::NotAuthorized) {
    external_writes_note =
        "writes of others to the mirror are not noticed: that takes the right to read all keys of the target";
  } else if (scanned.error().kind() == ErrorKind::LogWindowExceeded) {
    external_writes_note =
        "some writes of others may have gone unnoticed: the target was compacted before they were looked at";
  } else {
    unexplained = Gap{gap->from, unexplained ? unexplained->to : gap->to};  // another time
  }
}

/// Moves the gap's beginning to where it has come.
Result<void> EtcdDatabase::Impl::scan_external_writes(Gap& gap) {
  const auto place = client->place();
  const bool loses_deletes = client->loses_deletes_at(place);
  auto opened = WatchStream::open_at(place, client, first_key, no_end, static_cast<std::int64_t>(gap.from.value) + 1);
  if (!opened) return opened.error();
  const std::shared_ptr<WatchStream> watch = *std::move(opened);
  {
    const std::scoped_lock holding(mutex);
    if (stopping) return MirrorError::cancelled("looking for writes of others");
    scanning = watch;
  }
  const auto own = record_key(options.name), bootstrap = bootstrap_key(options.name);
  auto& at = gap.from;
  const auto check_whole = [&]() -> Result<void> {
    if (!loses_deletes) return {};
    const auto kept = newest_if_kept(*client, keys, at);
    return kept ? Result<void>{} : kept.error();
  };
  // Before the first answer as well: where a delete was left out, none may come for long.
  if (auto whole = check_whole(); !whole) return whole;
  while (at < gap.to) {
    const auto response = watch->read();
    if (!response) return response.error();
    if (auto whole = check_whole(); !whole) return whole;
    const auto& events = response->events();
    for (int begin = 0, end = 0; begin < events.size() && at < gap.to; begin = end) {
      const auto revision = events[begin].kv().mod_revision();
      bool ours = false;
      const std::string* touched = nullptr;
      for (end = begin; end < events.size() && events[end].kv().mod_revision() == revision; ++end) {
        const auto& key = events[end].kv().key();
        ours |= key == own || key == bootstrap;
        if (keys.contains(key) && !is_loop_marker(key)) touched = &key;
      }
      at = lsn_of(revision);
      {
        const std::scoped_lock holding(mutex);
        ours |= written_alone.contains(revision);
      }
      if (ours || touched == nullptr || at > gap.to) continue;
      const std::scoped_lock holding(mutex);
      ++counted.external_writes;
      if (at <= external_writes_forgotten) continue;
      external_writes_note = fmt::format(
          "{} writes that were not crosslink's changed this mirror, the last one \"{}\" at the target's revision {}: "
          "verify shows what differs, resync mends it",
          ++external_writes_noted, escape(*touched, 200), revision);
    }
    at = std::max(at, come_to(*response));
  }
  return {};
}

/// At a bootstrap's end: what others wrote up to that revision was written over.
void EtcdDatabase::Impl::forget_external_writes(std::int64_t mended) {
  const std::scoped_lock holding(mutex);
  accounted_revision = mended;
  external_writes_forgotten = lsn_of(mended);
  external_writes_noted = 0;
  external_writes_note.clear();
  unexplained.reset();
}

/// True now and then: time to look whether the target is to be compacted.
bool EtcdDatabase::Impl::note_written(std::int64_t revision, std::size_t bytes) {
  const std::scoped_lock holding(mutex);
  written_bytes += bytes;
  const auto apart = std::max(written_mark_bytes, (written_bytes - written_marks.front().bytes) / written_marks_max);
  if (written_bytes - written_marks.back().bytes < apart) return false;
  written_marks.push_back({lsn_of(revision), written_bytes});
  return true;
}

/// Of bytes: a part of what the target has in use, so that a small quota holds; a member that does not tell how much
/// that is counts as a large one.
std::uint64_t EtcdDatabase::Impl::history_allowed() const {
  const auto asked = client->status();
  const auto in_use = asked ? static_cast<std::uint64_t>(std::max<std::int64_t>(asked->db_size_in_use(), 0)) : 0;
  return in_use == 0 ? history_bytes_unknown : std::max(history_bytes_min, in_use / history_part);
}

/// Up to where the target is to be compacted now; 0: not now.
Lsn EtcdDatabase::Impl::compaction_due() {
  const auto keep = options.target_revisions_kept;
  std::uint64_t history_bytes = 0;
  {
    const std::scoped_lock holding(mutex);
    const bool others = !ownership.owned && !ownership.refused_by.empty();
    const auto newest = lsn_of(record_revision);
    // Nothing else makes room, and without room no node can own the mirror.
    if (client->out_of_space() && !others) return newest > compacted_to ? newest : Lsn{};
    if (!ownership.owned || record.bootstrapping) return {};
    // Not for every few revisions: each compaction costs the target a walk over its keys.
    if (newest.value > keep && newest.value - keep >= compacted_to.value + keep / 10 + 1)
      return Lsn{newest.value - keep};
    history_bytes = written_bytes - written_marks.front().bytes;
  }
  if (history_bytes <= history_bytes_min) return {};
  const auto allowed = history_allowed();
  const std::scoped_lock holding(mutex);
  if (written_bytes - written_marks.front().bytes <= allowed) return {};
  Lsn to;
  for (const auto& mark : written_marks) {
    if (written_bytes - mark.bytes >= allowed / 2) to = mark.revision;
  }
  return to > compacted_to ? to : Lsn{};
}

void EtcdDatabase::Impl::compact_target() {
  if (options.target_revisions_kept == 0) return;
  const auto to = compaction_due();
  if (to == Lsn{} || !client->compact(static_cast<std::int64_t>(to.value))) return;  // again in a second
  const std::scoped_lock holding(mutex);
  compacted_to = std::max(compacted_to, to);
  found_compacted = std::max(found_compacted, compacted_to);
  while (written_marks.size() > 1 && written_marks[1].revision <= compacted_to)
    written_marks.pop_front();
}

std::string EtcdDatabase::Impl::detail() const {
  std::shared_ptr<Tail> following;
  std::vector<std::string> all;
  {
    const std::scoped_lock holding(mutex);
    following = tail;
    if (!gone_back_note.empty()) all.push_back(gone_back_note);
    if (!external_writes_note.empty()) all.push_back(external_writes_note);
    if (!open_note.empty() && store.last_entry().value_or(EntryId{}).lsn == Lsn{0}) all.push_back(open_note);
    if (!ownership.owned && !ownership.refused_by.empty() && is_mirror())
      all.push_back(fmt::format("this node stands by: node {} owns this mirror", escape(ownership.refused_by)));
  }
  for (const auto& shortage : {log_shortage, snapshot_shortage}) {
    if (auto text = shortage->text(); !text.empty()) all.push_back(std::move(text));
  }
  if (following) {
    if (auto watched = following->detail(); !watched.empty()) all.push_back(std::move(watched));
  }
  return fmt::format("{}", fmt::join(all, "; "));
}

}  // namespace crosslink
