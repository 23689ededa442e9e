// What the parts of EtcdDatabase share: etcd_open.cpp, etcd_source.cpp, etcd_mirror.cpp, owner.cpp, bootstrap.cpp,
// promotion.cpp, conflicts.cpp, external_writes.cpp, place.cpp.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "base/files.hpp"
#include "crosslink/etcd_engine.hpp"
#include "engine/etcd/client.hpp"
#include "engine/etcd/history.hpp"
#include "engine/etcd/keys.hpp"
#include "engine/etcd/lease_keeper.hpp"
#include "engine/etcd/log_store.hpp"
#include "engine/etcd/loop_marker.hpp"
#include "engine/etcd/notes.hpp"
#include "engine/etcd/partial.hpp"
#include "engine/etcd/record.hpp"
#include "engine/etcd/snapshot.hpp"
#include "engine/etcd/tail.hpp"
#include "engine/etcd/txn.hpp"

namespace crosslink {

// Lock order: write_mutex, then mutex. No call of the cluster is made with `mutex` held.
struct EtcdDatabase::Impl {
  explicit Impl(EtcdOptions chosen);
  ~Impl();

  // etcd_open.cpp
  Result<void> open(bool as_root);
  Result<void> open_root();
  Result<void> open_mirror();
  Result<void> start_tail();
  void history_changed();
  etcd::LogOrigin log_origin(bool mirror) const;
  void use_keys(std::string prefix, std::string source_prefix);

  // etcd_source.cpp
  bool is_mirror() const;
  Lsn mirror_oldest() const;
  Result<std::optional<EntryId>> last_entry_in(Lsn after, Lsn up_to, std::size_t* count, EntryId* first);
  Result<EntryId> last_entry(Lsn head);
  Result<LogSlice> read(Lsn after, std::size_t bytes_max);
  SourceState state() const;

  // owner.cpp: with write_mutex held
  struct Found {
    std::optional<etcd::Record> record;
    std::int64_t record_revision = 0;
    std::string owner_node;  ///< empty: no node
    std::uint64_t owner_epoch = 0;
    std::int64_t owner_revision = 0, revision = 0;
  };
  Result<Found> look();
  /// `rereading`: a position that has moved is no error.
  Result<void> ensure_owned(bool rereading);
  Result<void> own_again();
  Result<void> acquire(const Found& found);
  Result<void> load_leases();
  /// The operations of `builder` and the record `next`, in one transaction that only an unchanged record lets through.
  Result<void> commit(etcd::TxnBuilder builder, etcd::Record next,
                      std::vector<etcd::wire::RequestOperation> beside = {});
  Result<void> settle(const etcd::Record& attempted);
  void adopt(etcd::Record next, std::int64_t revision, bool own);
  void note_moved(const etcd::Record& next);
  bool take_record(etcd::Record next, std::int64_t revision);
  void lose(const Found& found);
  Result<void> check_promoted(const Found& found);
  Result<void> begin_promoted();
  Result<void> forget(ForgetPromoted promoted);
  /// Is the record not the one that we know, nor one that came after it?
  bool is_gone_back(const Found& found) const;
  /// Takes what the target holds now for the truth, and tells.
  MirrorError take_gone_back(const Found& found);
  /// Every few seconds, while nothing is written.
  void watch_record();
  void hear_of_promotion(const Found& found);
  void on_target_silent();
  void keep_ownership();
  void give_way();
  enum class AtEnd : std::uint8_t { no, yes };
  void release(AtEnd end = AtEnd::no);

  // etcd_mirror.cpp: with write_mutex held
  Result<void> check_follows() const;
  Result<void> apply(const ApplyGroup& group);
  Result<etcd::Fold> fold_of(const EntryView& entry);
  Result<void> flush(std::vector<etcd::Change> changes, const Position& position);
  Result<void> check_split(const ApplyGroup& group) const;
  Result<void> write_split(const EntryView& entry, std::vector<etcd::Change> changes, const Position& position);
  Result<void> write_parts(const etcd::Record::Split& split, const std::vector<etcd::Change>& changes,
                           const Position& position);
  Result<std::vector<std::string>> keys_in(const etcd::KeySpace::OwnRange& range);
  /// What a transaction does to the side table of leases; ours once it was made.
  struct SideTable {
    std::vector<std::pair<std::string, std::uint64_t>> leased;  ///< 0: no longer
    std::map<std::uint64_t, std::uint64_t> granted;
    std::map<std::uint64_t, std::int64_t> uses;  ///< so many more keys use it, or fewer
  };
  std::string lease_key(std::uint64_t lease) const;
  /// What a change of the key may add to a transaction for the side table, at most.
  etcd::Weight lease_weight(std::string_view key, std::uint64_t lease) const;
  /// Adds what a change means for the side table, but for the leases' own lines.
  void add_change(etcd::TxnBuilder& builder, const etcd::Change& change, SideTable& side) const;
  void add_leased(etcd::TxnBuilder& builder, const std::string& key, std::uint64_t lease, SideTable& side) const;
  /// The lines of leases that come into use, and of those that no key uses any more.
  void add_leases(etcd::TxnBuilder& builder, SideTable& side) const;
  void add_granted(etcd::TxnBuilder& builder, std::uint64_t lease, SideTable& side) const;
  void take_over(SideTable side);
  /// `changes`, if it is one value, in a transaction of its own before the one of the record; else `too_large`.
  Result<void> commit_alone(std::span<const etcd::Change> changes, etcd::Record next, SideTable& side,
                            const MirrorError& too_large);
  Result<void> write_alone(const etcd::Change& change);
  MirrorError too_large(const MirrorError& error, std::span<const etcd::Change> changes, Lsn lsn) const;

  // bootstrap.cpp: with write_mutex held
  Result<void> switch_received();
  Result<void> write_received(const SnapshotFacts& facts);
  struct Pairs {
    std::uint64_t count = 0;
    bool has_plain_neighbours = false;  ///< without a separator behind the prefix, as "/app2" below "/app"
  };
  /// What the received snapshot has. Errors: Storage; UnsupportedOperation.
  Result<Pairs> check_pairs();
  /// Keys at the place that came after that revision: all, or `only`: neighbours of which that snapshot has none.
  Result<EtcdSurvey> came_after(std::int64_t revision, const Pairs* only);
  class Difference;

  // promotion.cpp: with write_mutex held
  Result<PromotedFrom> promote(const std::string& source_cluster, const std::string& source_database);
  Result<void> finish_split();
  Result<void> take_back_promotion();
  Result<void> grant_leases();
  Result<void> bind_keys(const SnapshotId* seed);
  Result<bool> has_leased_keys();

  // conflicts.cpp
  MirrorId id_in(const etcd::Record& of) const;
  Result<bool> happened_here(const std::string& prefix, Lsn revision);
  /// With write_mutex held. Errors: UnsupportedOperation.
  Result<void> check_source(const SnapshotFacts& facts);
  Result<void> check_neighbours(const std::string& prefix);
  bool would_echo(const Position& position) const;

  // place.cpp
  /// The keys at the place are this mirror's own: its record says so.
  static bool explains(const etcd::Record& record) { return record.position || record.bootstrapping; }
  static MirrorError no_common_prefix();
  Result<EtcdSurvey> survey_at(const std::string& prefix) const;
  /// With write_mutex held. Errors: UnsupportedOperation.
  Result<void> check_prefixes(const SnapshotFacts& facts) const;
  Result<void> check_deletions(const Pairs& pairs);

  // loop_marker.cpp: with write_mutex held
  Result<void> look_for_loop(const Position& position);
  bool may_come_through_others(const Position& position) const;
  Result<void> show_loop_marker();
  Result<void> leave_loop_marker();
  void note_returned(std::span<const etcd::Change> changes);
  /// The mirror goes back: what the source sends again for that says nothing of a loop.
  void expect_again();
  bool is_own_loop_marker(std::string_view offered_key) const;
  MirrorError found_loop();
  void end_loop_look(const std::set<std::string>& copies = {});
  /// Takes write_mutex itself, if it is free.
  void end_late_loop_look();
  /// Another mirror's marker that is mirrored goes with this one, also when its deletion does not come; else 0.
  std::int64_t lease_of_copy(std::string_view key) const;

  // external_writes.cpp
  void every_round(void (Impl::*work)());
  void note_owner();
  void look_after_target();
  void find_external_writes();
  void forget_external_writes(std::int64_t mended);
  bool note_written(std::int64_t revision, std::size_t bytes);
  std::uint64_t history_allowed() const;
  Lsn compaction_due();
  void compact_target();
  std::string detail() const;

  EtcdOptions options;
  bool root = false;
  base::Files files;
  base::FileLock lock;
  std::shared_ptr<etcd::Client> client;
  std::shared_ptr<etcd::LeaseBook> lease_book;
  Incarnation root_incarnation;
  MirrorId id;  ///< of a mirror
  const std::shared_ptr<const base::Space> space;
  const std::shared_ptr<etcd::Shortage> log_shortage, snapshot_shortage;
  etcd::LogStore store;
  etcd::SnapshotStore snapshot_store;
  etcd::PartialStore partial;
  const etcd::Notes notes;

  std::mutex write_mutex;   ///< one call that writes at a time
  bool uncertain = false;   ///< a write's outcome is not known
  bool look_first = false;  ///< before the next write, whatever is known
  bool moved = false;       ///< by another crosslink, and its caller was not told
  std::chrono::steady_clock::time_point committed_at;
  std::map<std::string, std::uint64_t, std::less<>> leased;  ///< the target's keys that have a lease at the source
  std::map<std::uint64_t, std::uint64_t> granted;            ///< TTL of leases, as the target has them
  std::map<std::uint64_t, std::int64_t> uses;                ///< how many of `leased` have it
  std::map<std::uint64_t, std::uint64_t> announced;          ///< told by the source
  Lsn received_consistent_lsn;
  struct LoopLook {
    bool begun = false;      ///< what there is to be done at the beginning
    std::int64_t lease = 0;  ///< of the marker that stands; 0: none does
    std::chrono::steady_clock::time_point until, next;
    std::chrono::minutes pause{10};
    std::uint64_t patience = etcd::drawn_patience();  ///< so many more must be given again before it is looked
    std::uint64_t returned = 0;                       ///< values that the source gave again, since it was last looked
    etcd::ReturnedWrites written;
    std::set<std::string> copies;  ///< markers of others that were mirrored and are not deleted yet
  };
  LoopLook loop_look;
  std::unique_ptr<etcd::LeaseKeeper> lease_keeper;  ///< of a promotion that was begun here

  mutable std::mutex mutex;
  etcd::KeySpace keys;
  std::string loop_marker = etcd::new_loop_marker();  ///< the end of a key that only this process writes
  std::shared_ptr<etcd::Tail> tail;                   ///< of a root and of a promoted database
  std::shared_ptr<etcd::PastLog> history;             ///< of a mirror
  etcd::Record record;
  std::int64_t record_revision = 0;
  std::uint64_t target_gone_back = 0;        ///< how often
  std::optional<std::uint64_t> lease_count;  ///< of `granted`; absent: another process may have changed it
  std::int64_t shown_deletions = 0;
  std::string gone_back_note;  ///< until what was lost then is there again
  Lsn gone_back_from;
  std::uint64_t own_epoch = 0;  ///< of this process; 0: it has not owned the mirror yet
  std::chrono::steady_clock::time_point record_read_at, target_answered_at = std::chrono::steady_clock::now();
  bool target_silent = false;  ///< the mirror was told
  std::optional<PartialSnapshot> shown_partial;
  std::function<void(Lsn)> on_head;
  std::mutex history_mutex;  ///< beside the others: nothing is called with it held but on_history
  std::function<void()> on_history, on_moved;
  std::int64_t accounted_revision = 0;  ///< every revision of the target up to it is ours or a gap
  struct Gap {
    Lsn from, to;
  };
  std::optional<Gap> unexplained;
  Result<void> scan_external_writes(Gap& gap);
  std::shared_ptr<etcd::WatchStream> scanning;
  std::set<std::int64_t> written_alone;  ///< the last revisions that are ours though the record is not in them
  Lsn external_writes_forgotten;         ///< what others wrote up to it was overwritten since
  std::uint64_t external_writes_noted = 0;
  Counters counted;
  std::string external_writes_note, open_note;
  Lsn compacted_to, found_compacted;
  /// What this process wrote to the target, as a history takes it up: marks at some revisions, the oldest first.
  struct Written {
    Lsn revision;
    std::uint64_t bytes;  ///< written up to it
  };
  std::deque<Written> written_marks{{Lsn{}, 0}};
  std::uint64_t written_bytes = 0;

  struct Ownership {
    bool owned = false;
    bool stepped_down = false;  ///< another process of the same name took over: it is not taken back
    std::int64_t lease = 0;
    std::chrono::steady_clock::time_point until, kept_at;
    std::string refused_by;
  };
  Ownership ownership;
  bool gives_way = false;  ///< until the next call that writes

  std::condition_variable stop_signal;
  bool stopping = false;
  std::thread keeper, maintainer;  ///< of the lease; of the rest, which may take long
};

}  // namespace crosslink
