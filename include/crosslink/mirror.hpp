// A mirror of one database: link, session and engine together, from the first dial to promotion.
//
//   1. make a CrossClusterLink (link.hpp) and have a MirrorEngine (engine.hpp; memory_engine.hpp is one)
//   2. Mirror mirror(std::move(link), engine, engine_threads); co_spawn(..., mirror.run(), ...)
//   3. status(), lag(); pause(), resume(), resync(), verify(); promote() makes it a database of its own
//
// Rules of what happens when: docs/protocol.md, "Sessions".
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

struct MirrorOptions {
  /// Own "cluster/database". A source whose chain contains it is refused: a loop.
  std::string name;
  /// Which copy this is, over restarts: by it a source in sync mode tells it from others of its cluster's. All zero:
  /// the source is not told, and does not count its confirmations.
  MirrorId id;
  /// Demand sync mode: a source that does not name this mirror in sync_mirrors answers NotAuthorized. One that does
  /// makes it a sync mirror without this, too: what is applied is made durable at once, and the threshold of Degraded
  /// is sync's.
  bool sync = false;
  /// A source that lost its tail or was restored: bootstrap anew instead of Halted. Not in sync mode.
  bool resync_when_source_behind = false;
  /// Smallest lag limit that readers demand; probes are as frequent as it needs.
  std::optional<std::chrono::milliseconds> max_lag;
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// Received and not yet applied or stored, at most; the source holds back at it. The link's throttle counts it, and
  /// its cap holds as well. Less than 2 MiB counts as 2 MiB.
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  /// Called on an engine thread before a received snapshot replaces the data: DatabaseSource::end_sessions of a
  /// database that is offered to mirrors itself.
  std::function<void()> before_history_change;
  /// An entry above 8 MiB waits here, in a file without a name, until it is whole. Empty: the system's temporary
  /// folder.
  std::filesystem::path spill_folder;
  /// Where the engine's long work is done: a verify's ranges in slices of some milliseconds, a received snapshot's
  /// check and switch each at once. Empty: `engine_executor`.
  boost::asio::any_io_executor scan_executor;
  /// What such a file leaves free on its disk: an entry that does not fit is refused (Storage), and asked for again.
  std::uint64_t min_free_bytes = 1024ull * 1024 * 1024;
  /// Offer zstd for batches of the log.
  bool zstd = true;
  /// Without a control frame for this long the status is Disconnected, whatever the transport says.
  std::chrono::milliseconds disconnected_after{30'000};
};

/// What is known of a mirror at one moment.
struct MirrorFacts {
  std::optional<Position> position;  ///< absent: no data yet
  Lsn durable;
  std::optional<Lsn> source_head;  ///< as far as the source is known to be; absent before the first session
  /// Since the source last said how far it is; absent: it did not since the start.
  std::optional<std::chrono::microseconds> heard_ago;
  /// How old the source's own data was at most when it last said so: 0 at a root that users write to. Absent: it did
  /// not know, as one that does not hear what it follows or reads, or it did not say so yet.
  std::optional<std::chrono::microseconds> source_behind;
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
  bool accept_inconsistent = false;
  /// Data that may be older, or is of unknown age, is not promoted. Judged right before the engine is told, each time
  /// that it is; what that step itself takes is in Promotion::age, which may so be more.
  std::optional<std::chrono::milliseconds> lag_max = {};
  /// Given up after this long. A step of the engine that is under way then is awaited.
  std::chrono::milliseconds timeout{30'000};
};

struct Promotion {
  PromotedFrom from;
  /// How old the data was at most when it was opened for writes; absent: unknown, also when it was promoted before.
  std::optional<std::chrono::microseconds> age;
  friend bool operator==(const Promotion&, const Promotion&) = default;
};

/// Thread safe. Everything but run(), promote() and verify() returns at once.
class Mirror {
 public:
  /// `engine` (and `verifiable`, which may be null: then verify() is refused) must outlive run(); its calls are made on
  /// `engine_executor`, never on the caller's.
  Mirror(std::unique_ptr<CrossClusterLink> link, MirrorEngine& engine, VerifiableEngine* verifiable,
         boost::asio::any_io_executor engine_executor, MirrorOptions options = {});
  /// Precondition: run() has ended.
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Dials, bootstraps, follows, reconnects, until stop() or cancellation: then it ends the link, awaits what the
  /// engine is doing, and returns. Goes on after promotion until stop(). Call once. Errors: Cancelled, by cancellation
  /// only.
  Task<void> run();
  void stop();

  MirrorStatus status() const;
  /// An upper bound of how old the data is; absent: unknown.
  std::optional<std::chrono::microseconds> lag() const;
  MirrorFacts facts() const;
  const CrossClusterLink& link() const;

  /// Keeps the link but stops the log and snapshots. Errors: MirrorPromoted.
  Result<void> pause();
  /// Ends a pause or a halt; the source is asked again. Errors: MirrorPromoted.
  Result<void> resume();
  /// Bootstraps anew; the present data stays readable until then. Errors: MirrorPromoted.
  Result<void> resync();
  /// Bytes per second that the source may send; 0: no limit. Errors: MirrorPromoted.
  Result<void> set_bandwidth(std::uint64_t bytes_per_s);
  /// Smallest lag that readers accept: probes are as frequent as it needs. Absent: they do not ask.
  void set_max_lag(std::optional<std::chrono::milliseconds> max_lag);
  /// Ends the link, applies what was received whole, opens the database for writes. Again: the first result. Not done
  /// in time, withdrawn by pause() or resume(), or refused for its age, it follows on. Errors: Configuration when there
  /// is no data to promote, MirrorFacts::inconsistent and not accepted, or too old (promotion_refused_for_age() then);
  /// Timeout; Busy while another is under way; Storage; Cancelled by pause() and resume(), by cancellation, which
  /// leaves it under way, and when run() ends first. Needs run() to be running.
  Task<Promotion> promote(PromotionOptions options = {});
  bool promotion_refused_for_age() const;
  /// Compares this mirror with its source at one LSN. Errors: Busy while one runs; Configuration when it is not
  /// following; MirrorPromoted; Cancelled as for promote().
  Task<VerifyResult> verify();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink
