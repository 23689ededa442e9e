// A database that lives in an existing etcd cluster, behind both engine interfaces: as a source, the keys below a
// prefix with etcd's revisions as LSNs; as a mirror, the keys below a prefix of another cluster.
//
//   auto registry = EtcdDatabase::open_root({.cluster = {.endpoints = {"http://10.0.0.1:2379"}},
//                                            .prefix = "/registry/",
//                                            .crosslink_cluster = "prod-us",
//                                            .folder = "data/registry"});
//   auto copy = EtcdDatabase::open_mirror({.cluster = {.endpoints = {"http://10.1.0.1:2379"}},
//                                          .folder = "data/copy",
//                                          .name = "registry",
//                                          .node = "eu-1-a"});
//
// Users go on reading and writing etcd itself; this class writes only to a mirror's prefix and below `/crosslink/`,
// which is no part of any database. What a mirror is worth, which rights are needed, and what becomes of revisions,
// versions and leases: docs/etcd.md. Link `crosslink::engine_etcd`.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "crosslink/engine.hpp"

namespace crosslink {

/// How to reach an etcd cluster.
struct EtcdCluster {
  /// Required. `http://HOST:PORT` or `https://HOST:PORT`, all of one kind; the next one is taken when one fails, so
  /// name every member.
  std::vector<std::string> endpoints = {};
  /// PEM files, for https: the authority that the servers' certificates are of (empty: the system's), and the
  /// certificate and key that they ask for (both or neither). A file that was changed counts for calls and connections
  /// from a second later on; one that cannot be used then is passed over, and what was good stays in use.
  std::filesystem::path ca_file = {}, cert_file = {}, key_file = {};
  /// Empty (the default): no authentication, or by certificate. The password is the file's first line; it is read again
  /// when a token has expired.
  std::string user = {};
  std::filesystem::path password_file = {};
  /// How long one call may take. Reads are then asked of the next endpoint, twice around. Default 5 s. Raise it for a
  /// cluster that is slow or far away; a member that hangs holds up the database for that long.
  std::chrono::milliseconds call_deadline = std::chrono::seconds(5);
  friend bool operator==(const EtcdCluster&, const EtcdCluster&) = default;
};

/// What stands in a mirror's target, below the prefix that is or would be its own.
struct EtcdSurvey {
  static constexpr std::size_t shown_max = 5;
  std::string prefix;
  std::uint64_t keys = 0;               ///< without crosslink's own below `/crosslink/`
  std::vector<std::string> shown;       ///< the first of them, at most shown_max
  std::vector<std::string> neighbours;  ///< where the prefix ends in no separator: what begins with it and goes on
                                        ///< otherwise than with '/', as "/app-prod/" does of "/app"; at most shown_max
  bool explained = false;               ///< this mirror's record says that the keys are its own
  std::string owner;                    ///< the node that owns the mirror now; empty: none
  std::string promoted_by;              ///< the node that promoted it, so that clients may write to it; empty: none
  std::int64_t revision = 0;            ///< of the cluster, when it was asked: what came later is not counted for sure
};

/// Keys that a bootstrap is about to delete.
struct EtcdDeletions {
  std::uint64_t keys = 0;
  std::vector<std::string> shown;  ///< the first of them, at most EtcdSurvey::shown_max
};

/// Is the record of a promoted database removed as well? What that node promoted, itself, or nothing.
enum class ForgetPromoted : std::uint8_t { no, own };

/// Each says its default, when to change it and what that costs.
struct EtcdOptions {
  /// Required.
  EtcdCluster cluster = {};
  /// What the database's keys begin with in this etcd; may be empty: all keys but `/crosslink/`. Of a mirror: absent
  /// takes the source's prefix at its first bootstrap; one that differs replaces it. The mirror's record keeps both
  /// prefixes from then on.
  std::optional<std::string> prefix = {};
  /// Keys that begin with one of these are no part of the database. Of a root only. Default: none.
  std::vector<std::string> excludes = {};
  /// Of a root, required: crosslink's own name of the cluster. Several nodes before one etcd name the same, and agree
  /// on the incarnation.
  std::string crosslink_cluster = {};
  /// Required. For what is kept on disk: log, snapshots, a snapshot being received. Made with mode 0700; one process at
  /// a time.
  std::filesystem::path folder = {};
  /// Of a mirror, required: its name, of letters, digits, '_', '-' and '.': its record is the key `/crosslink/NAME`.
  std::string name = {};
  /// Of a mirror, required: names this process among those that may own the mirror. Of two with different names one is
  /// refused; one that comes back under its name goes on at once.
  std::string node = {};
  /// Log kept for mirrors beside etcd's own history, so that a compaction does not cut them off; on disk beyond
  /// log_memory_bytes. Pins keep more of it, up to the budget. Defaults 32 MiB, 256 MiB and 1 GiB. Raise them where
  /// mirrors are away for longer than etcd keeps its history; they cost that much memory and disk.
  std::uint64_t log_memory_bytes = 32ull * 1024 * 1024;
  std::uint64_t log_window_bytes = 256ull * 1024 * 1024, log_budget_bytes = 1024ull * 1024 * 1024;
  /// Snapshots that mirrors read at once, and what all together may take on disk: each is a full copy of the keys.
  /// Others are answered Busy. Defaults 2 and 16 GiB.
  std::size_t snapshots_max = 2;
  std::uint64_t snapshot_budget_bytes = 16ull * 1024 * 1024 * 1024;
  /// How long a snapshot that no mirror reads can be taken up again. Default 10 minutes. Raise it where a bootstrap is
  /// cut for longer and begins anew each time.
  std::chrono::seconds snapshot_kept = std::chrono::minutes(10);
  /// One revision of a source is held in memory whole. A larger one is left out, and every mirror bootstraps anew.
  /// Default 256 MiB, far above what etcd takes in one transaction where its own limits are not raised.
  std::size_t revision_bytes_max = std::size_t{256} * 1024 * 1024;
  /// A mirror's target is compacted to about so many revisions, for every client of that etcd; 0: never by us. Default
  /// 100,000. Raise it, or set 0, where other clients read old revisions there; etcd's database grows with them.
  std::uint64_t target_revisions_kept = 100'000;
  /// How long an owner of a mirror that was killed keeps others out. Default 10 s. Shorter, a short outage of the
  /// cluster hands the mirror over; data is safe either way, as every write checks its owner.
  std::chrono::seconds owner_lease = std::chrono::seconds(10);
  /// What is kept here leaves so much free on the folder's disk, for the databases that take writes there. Without room
  /// the log is shorter, its oldest part first, and detail() says so; a snapshot, written or received, and a revision
  /// that goes in several transactions are refused (Storage) and tried again, and what was received stays. Raise it
  /// where other databases write much while a mirror bootstraps. Default 1 GiB.
  std::uint64_t min_free_bytes = min_free_bytes_default;
  /// How many bytes are free at a folder. Called from any thread; must not call back. Null (the default): asks
  /// the system. Set it where a quota, and not the disk, is the limit.
  std::function<Result<std::uint64_t>(const std::filesystem::path& folder)> free_bytes = nullptr;
  /// Called with what an operator should read in a log, in words, from any thread. It must not block or call back. Null
  /// (the default): it is not said.
  std::function<void(const std::string& what)> on_warning = nullptr;
  /// Once it is requested, calls of the cluster that are under way or come later end at once with Storage, whatever
  /// hangs: for a process that stops. Default: never.
  std::stop_token stop = {};
  /// Threads that write at once during a bootstrap. Default 4. More fill a distant cluster's line, and take more of
  /// what its other clients need.
  std::size_t bootstrap_writers = 4;
  /// Called on the thread of switch_snapshot(), before a bootstrap deletes the first key; again when it is done again.
  /// Must not call back. Empty (the default): not called.
  std::function<void(const EtcdDeletions&)> on_deletions = {};
};

/// Thread safe. Everything but what engine.hpp calls quick asks the cluster and may take as long as
/// EtcdCluster::call_deadline a few times over; then it answers Storage. Errors of this class are caused by us, also
/// those that the cluster answers with: it is this side's own.
class EtcdDatabase final : public SourceEngine, public MirrorEngine, public VerifiableEngine {
 public:
  /// A root: users write to it, crosslink only reads. Errors: Configuration; NotAuthorized; Storage when no endpoint
  /// answers.
  static Result<std::unique_ptr<EtcdDatabase>> open_root(EtcdOptions options);
  /// The mirror (or promoted database) of that name, or an empty one to become it. Opening it owns nothing yet: a call
  /// that writes, or own(), does. Errors: as open_root, Configuration also when its keys lie below another prefix;
  /// UnsupportedOperation when the record was written by a newer crosslink, or another mirror keeps keys of the same
  /// prefix there.
  static Result<std::unique_ptr<EtcdDatabase>> open_mirror(EtcdOptions options);
  /// Gives up ownership, so that another may take over at once; waits a second for the cluster at most to take that
  /// in. Precondition: no call is under way.
  ~EtcdDatabase() override;

  /// Takes the mirror over now. Errors: Busy while another owns it; MirrorPromoted, as of every call that writes, when
  /// another node promoted it: the record is read first, and compared by each transaction; NotAuthorized; Storage.
  Result<void> own();
  /// Could this mirror follow a root of that incarnation, whose cluster is known by that name and whose head is there?
  /// As far as it can be told before a snapshot is received; begin_snapshot() knows more. Errors: UnsupportedOperation
  /// when it would be kept over the root's own keys; NotAuthorized; Storage.
  Result<void> may_follow(const Incarnation& source, const std::string& crosslink_cluster, Lsn head) const;
  /// What stands where this mirror is or would be kept, asked of the cluster; changes nothing. `source_prefix`: what
  /// the source's keys begin with, if it is known. Errors: UnsupportedOperation when neither side has a prefix;
  /// Configuration when the source's is wanted and not known; NotAuthorized; Storage.
  Result<EtcdSurvey> survey(const std::optional<std::string>& source_prefix) const;
  /// The next bootstrap may delete what switch_snapshot() refuses to: keys that no mirror's record explains, all keys
  /// for an empty snapshot, and, below a prefix that ends in no separator, neighbours (EtcdSurvey) of which the
  /// snapshot has none. It holds for keys that were there at `revision` of the cluster, as the operator was shown them
  /// (EtcdSurvey::revision, shown_deletions()), until a bootstrap is done, over restarts. 0: withdraws that. Errors:
  /// Storage.
  Result<void> agree_to_deletions(std::int64_t revision);
  /// When switch_snapshot() last refused to delete what it then named, in this process and since the last bootstrap:
  /// the cluster's revision then. 0: it did not.
  std::int64_t shown_deletions() const;
  /// Does the target still hold what this mirror wrote, and does no other node say by now that it was promoted
  /// (mirror_state() tells)? Checked every few seconds without this, too. Errors: Storage
  /// when the cluster does not answer; Busy when it was restored from a backup, or emptied: the mirror goes on from
  /// what it holds now.
  Result<void> check_target();
  /// Of the mirror of this name at this place, whichever node follows for it: for MirrorOptions::id. Quick.
  MirrorId mirror_id() const;
  /// Removes the mirror's record, and what belongs to it, from the target: the next one of its name begins anew. The
  /// mirrored keys stay. This object is of no use then. Errors: Busy while another owns it; MirrorPromoted when
  /// another node promoted it, or this one did and `promoted` does not say so; NotAuthorized; Storage.
  Result<void> forget(ForgetPromoted promoted = ForgetPromoted::no);
  /// Waits until the head is at `lsn` or above. Errors: Storage after `patience`.
  Result<void> wait_for(Lsn lsn, std::chrono::milliseconds patience = std::chrono::seconds(10));
  /// Compacts etcd's history up to the head, for every client of it, and drops the log kept here. Errors: Storage.
  Result<void> compact();

  struct Counters {
    std::uint64_t split_revisions = 0;  ///< entries that were too large for one transaction of the target
    std::uint64_t external_writes = 0;  ///< external: revisions of the target, not ours, that changed the mirror's keys
    std::uint64_t transactions = 0;     ///< that this process committed at the target
    std::uint64_t target_gone_back = 0;  ///< how often it was found restored from a backup, or emptied
    std::uint64_t deleted_keys = 0;      ///< by bootstraps: the target had them, the snapshot did not
    std::string server_version;          ///< of the member asked when it was opened
  };
  /// Since it was opened. Quick.
  Counters counters() const;

  // SourceEngine
  SourceState source_state() const override;
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override;
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override;
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& wanted) override;
  void pin(const std::string& holder, Lsn from) override;
  void unpin(const std::string& holder) override;
  std::optional<WindowLeft> window_left(Lsn after) const override;
  void watch_log(std::function<void(const CommittedLog& log)> on_log) override;
  void watch_history(std::function<void()> on_change) override;

  // MirrorEngine
  EngineTraits traits() const override;
  MirrorState mirror_state() const override;
  void watch_position(std::function<void()> on_moved) override;
  Result<void> apply(const ApplyGroup& group) override;
  Result<void> step_back(Lsn from) override;
  Result<Lsn> sync() override;
  Result<void> note_leases(std::span<const LeaseGrant> leases) override;
  Result<void> note_consistent(Lsn lsn) override;
  /// Errors, beside MirrorEngine's: UnsupportedOperation when the source's keys begin otherwise than the record says.
  Result<void> begin_snapshot(const SnapshotFacts& facts) override;
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override;
  Result<SnapshotCheck> check_snapshot() override;
  /// Errors, beside MirrorEngine's: UnsupportedOperation when it takes agree_to_deletions(), and when the prefix is
  /// another one than the record's. The target is unchanged then.
  Result<void> switch_snapshot() override;
  Result<void> drop_snapshot() override;
  Result<PromotedFrom> promote(const std::string& source_cluster, const std::string& source_database) override;
  void let_go() override;
  std::string detail() const override;
  std::vector<EngineCount> counts() const override;

  // VerifiableEngine
  Result<std::shared_ptr<const DataView>> view() override;

  struct Impl;

 private:
  explicit EtcdDatabase(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace crosslink
