// A mirror of one database: link, session and engine together, from the first dial to promotion.
//
// 1. make a CrossClusterLink (link.hpp), and have a MirrorEngine (engine.hpp; rocksdb_engine.hpp is one) and threads that
//    may block
// 2. run() it
// 3. status(), lag(); pause(), resume(), resync(), verify(); promote() makes it a database of its own
//
//   auto link = std::make_unique<CrossClusterLink>(ClusterId("prod-us"), DatabaseId("orders"), "prod-us.example:7400",
//                                                  endpoint, config);
//   Mirror mirror(std::move(link), engine, &engine, engine_threads.get_executor(), {.name = "eu-1/orders"});
//   boost::asio::co_spawn(context, mirror.run(), boost::asio::detached);
//   context.run();  // until mirror.stop()
//
// What happens when: docs/protocol.md, "Sessions" and "Statuses".
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/engine.hpp"
#include "crosslink/link.hpp"
#include "crosslink/status.hpp"
#include "crosslink/sync_mode.hpp"
#include "crosslink/verify.hpp"

namespace crosslink {

/// Each says its default, when to change it and what that costs.
struct MirrorOptions {
  /// Own "cluster/database". Required: a source whose chain contains it is refused, as the mirror would follow itself.
  std::string name = {};
  /// Which copy this is, over restarts: by it a source in sync mode tells it from others of its cluster's. All zero
  /// (the default): the source is not told, and does not count its confirmations.
  MirrorId id = {};
  /// Demand sync mode: a source that does not name this mirror in sync_mirrors answers NotAuthorized. One that does
  /// makes it a sync mirror without this, too: what is applied is made durable at once, at the cost of a disk sync for
  /// each group, and the threshold of Degraded is sync's. Default: no.
  bool sync = false;
  /// A source that lost its tail or was restored, and so no longer has what this mirror holds: bootstrap anew instead
  /// of Halted. Not in sync mode. Default: no, as that drops the only copy of those commits; yes for a mirror whose
  /// data may always be its source's.
  bool resync_when_source_behind = false;
  /// Smallest lag limit that readers demand. Absent (the default): they demand none. The smaller, the more often the
  /// mirror asks its source how far it is, which costs both a small frame each time; see also set_max_lag().
  std::optional<std::chrono::milliseconds> max_lag = {};
  /// The largest entry that is taken from the source; a larger one ends the session. Default 256 MiB. Raise it before
  /// the source's is raised; one entry then costs that much disk in spill_folder, and memory while it is applied.
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// Received and not yet applied or stored, at most; the source holds back at it. The link's throttle counts it, and
  /// its cap holds as well. Default 64 MiB; less than 2 MiB counts as 2 MiB. Raise it, and the throttle's cap, where a
  /// long, fast line is not filled; costs up to that much memory.
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  /// Called on an engine thread before a received snapshot replaces the data: DatabaseSource::end_sessions of a
  /// database that is offered to mirrors itself. It may block; it must not call back into the Mirror. Empty (the
  /// default): not called.
  std::function<void()> before_history_change = {};
  /// An entry above 8 MiB waits here, in a file without a name, until it is whole. Empty (the default): the system's
  /// temporary folder; set it where that is in memory or small.
  std::filesystem::path spill_folder = {};
  /// Where the engine's long work is done: a verify's ranges in slices of some milliseconds, a received snapshot's
  /// check and switch each at once. Empty (the default): `engine_executor`. Set it where several databases share that
  /// one.
  boost::asio::any_io_executor scan_executor = {};
  /// What a file in spill_folder leaves free on its disk: an entry that does not fit is refused (Storage), and asked
  /// for again. Default 1 GiB. Raise it where other databases on that disk must always be able to write.
  std::uint64_t min_free_bytes = min_free_bytes_default;
  /// Offer zstd for batches of the log. Default: yes. No on lines faster than about 1 Gbit/s, where the processors of
  /// both sides are the limit.
  bool zstd = true;
  /// Without a control frame for this long the status is Disconnected, whatever the transport says. Default 30 s.
  /// Shorter, a source that hangs shows earlier; less than a few seconds takes a busy source for a lost one.
  std::chrono::milliseconds disconnected_after{30'000};
};

/// What is known of a mirror at one moment. What is not known is absent, never 0.
struct MirrorFacts {
  std::optional<Position> position;  ///< absent: no data yet
  /// What keeps the data is being asked where it stands: `position` is of before, and may not be true any more.
  bool position_in_doubt = false;
  Lsn durable;
  std::optional<Lsn> source_head;  ///< as far as the source is known to be; absent before the first session
  /// How old at most is what the source last said of its head and of sync mode, counted from when it was asked: an
  /// answer may have waited in a buffer. Absent: it did not say since the start.
  std::optional<std::chrono::microseconds> heard_ago;
  /// How old the source's own data was at most when it last said so: 0 at a root that users write to. Absent: it did
  /// not know, as one that does not hear what it follows or reads, or it did not say so yet.
  std::optional<std::chrono::microseconds> source_behind;
  /// The source has another history than this mirror, and how it said so: its LSNs are of another count. Until a
  /// snapshot of it is switched in, or it lets the log go on. Absent: not as far as it is known.
  std::optional<std::string> diverged_from_source;
  bool sync = false;  ///< in sync mode: demanded here, or the source names this mirror
  /// In sync mode: what the source promises, as it last said; absent: it names no such mirror, or was not heard.
  std::optional<SyncPromise> sync_promise;
  std::uint64_t received_bytes = 0;       ///< of log and snapshots, uncompressed, since it was made
  std::uint64_t snapshot_resumed_at = 0;  ///< offset at which the snapshot was last taken up; 0: its beginning
  std::uint64_t bootstraps = 0;           ///< snapshots switched in, the first one included
  std::uint64_t last_snapshot_bytes = 0;  ///< of the last one switched in; 0 before
  std::uint64_t held_bytes = 0;           ///< received, neither applied nor stored yet
  std::vector<std::string> chain;         ///< the source's, up to the root; empty before the first session
  std::optional<MirrorError> last_error;  ///< of the link or the session
  std::optional<PromotedFrom> promoted_from;
  /// The source no longer knew the last entry that this mirror had when its log went on: a fork would not have been
  /// found. Until a verify() says equal, a bootstrap has copied all, or a later session can tell.
  bool unverified = false;
  /// Why its data is, or is about to be, of no single moment of the source; empty: it is of one, or there is none.
  std::string inconsistent;
  /// While it is behind: how much more the source may write before the log this mirror needs next is dropped, and how
  /// long that takes at the present rate. What the source last said; absent: it did not.
  std::optional<std::uint64_t> window_left_bytes;
  std::optional<std::chrono::milliseconds> window_left_time;
  std::optional<std::uint64_t> snapshot_queue;  ///< snapshots that the source makes or sends before this mirror's
  std::optional<std::uint64_t> leases;          ///< as MirrorState::leases
};

struct PromotionOptions {
  /// Promote data of no single moment as well (MirrorFacts::inconsistent). Default: no. Yes when no other copy is left.
  bool accept_inconsistent = false;
  /// Data that may be older, or is of unknown age, is not promoted. Judged right before the engine is told, each time
  /// that it is; what that step itself takes is in Promotion::age, which may so be more.
  std::optional<std::chrono::milliseconds> lag_max = {};
  /// Given up after this long, and the mirror follows on. A step of the engine that is under way then is awaited.
  /// Default 30 s; raise it for engines that answer slowly, such as a cluster under load.
  std::chrono::milliseconds timeout{30'000};
};

/// What a promotion came to.
struct Promotion {
  PromotedFrom from;
  /// How old the data was at most when it was opened for writes; absent: unknown, also when it was promoted before.
  std::optional<std::chrono::microseconds> age;
  friend bool operator==(const Promotion&, const Promotion&) = default;
};

/// Thread safe. Everything but run(), promote() and verify() returns at once, and may be called before run() and after
/// it.
class Mirror {
 public:
  /// Does no I/O but MirrorEngine::mirror_state(). `engine` (and `verifiable`, which may be null: then verify() is
  /// refused) must outlive this; its calls are made on `engine_executor`, one at a time, never on the caller's. That
  /// executor must have threads that may block, and outlive run(). The link belongs to the mirror from now on.
  Mirror(std::unique_ptr<CrossClusterLink> link, MirrorEngine& engine, VerifiableEngine* verifiable,
         boost::asio::any_io_executor engine_executor, MirrorOptions options = {});
  /// Precondition: run() has ended.
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Dials, bootstraps, follows, reconnects, until stop() or cancellation: then it ends the link, awaits what the
  /// engine is doing, and returns. Goes on after promotion until stop(). Call once. What goes wrong shows in status()
  /// and facts(). Errors: Cancelled, by cancellation only. Cancelled: the same orderly end as by stop(); a snapshot
  /// that is being received stays with the engine, and a new Mirror goes on with it.
  Task<void> run();
  /// Idempotent and final; run() then returns. Does not wait.
  void stop();

  /// Asks the engine for its detail() as well, which is quick.
  MirrorStatus status() const;
  /// An upper bound of how old the data is, as of now; absent: unknown.
  std::optional<std::chrono::microseconds> lag() const;
  MirrorFacts facts() const;
  /// For its facts. It lives as long as this.
  const CrossClusterLink& link() const;

  /// Keeps the link but stops the log and snapshots. Not kept over a restart: a new Mirror is not paused. Errors (us),
  /// of this and the next three: MirrorPromoted; Busy while a promotion is under way, but that pause() and resume()
  /// withdraw it up to its last step.
  Result<void> pause();
  /// Ends a pause or a halt; the source is asked again.
  Result<void> resume();
  /// Bootstraps anew; where EngineTraits::atomic_switch says so the present data stays readable until then.
  Result<void> resync();
  /// Bytes per second that the source may send; 0 (the default): no limit. Holds for this and all later sessions.
  Result<void> set_bandwidth(std::uint64_t bytes_per_s);
  /// As MirrorOptions::max_lag, from now on.
  void set_max_lag(std::optional<std::chrono::milliseconds> max_lag);
  /// Ends the link, applies what was received whole, opens the database for writes. Called again, it returns the first
  /// result. Where it is not done in time, withdrawn by pause() or resume(), or refused for the data's age, the mirror
  /// follows on. The old source is not told, and may go on taking writes: see docs/security.md. Needs run() to be
  /// running. Errors, ours: Configuration when there is no data to promote, when it is of no single moment and that is
  /// not accepted, or when it is too old (promotion_refused_for_age() then); Timeout; Busy while another is under way;
  /// Storage; Cancelled by pause() and resume(), by cancellation, and when run() ends first. Cancelled by the caller's
  /// cancellation: the promotion goes on; pause() withdraws it, and promote() again returns what it came to.
  Task<Promotion> promote(PromotionOptions options = {});
  /// The last promotion that was given up was refused because the data was older than PromotionOptions::lag_max.
  bool promotion_refused_for_age() const;
  /// Compares this mirror with its source at one LSN, while both go on; reads all data at both. Needs run() to be
  /// running. Errors, ours: Busy while one runs; NotConnected while it is not following; Configuration when this engine
  /// or the source cannot verify; MirrorPromoted; Cancelled by cancellation and when run() ends first. Cancelled: the
  /// comparison itself goes on to its end, without a result.
  Task<VerifyResult> verify();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink
