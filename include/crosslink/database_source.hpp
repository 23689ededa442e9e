// One database offered to mirrors: what a MirrorAcceptor (source.hpp) runs for each accepted mirror.
//
//   DatabaseSource orders(engine, &engine, engine_threads.get_executor(), {.name = "prod-us/orders"});
//   MirrorAcceptor acceptor(std::move(listener), policy, AcceptorLimits{},
//                           [&](AcceptedMirror& mirror) { return orders.serve(mirror); });
//   auto ended = co_await acceptor.run();
//
// What happens when: docs/protocol.md, "Sessions".
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crosslink/awaitable.hpp"
#include "crosslink/engine.hpp"
#include "crosslink/position.hpp"
#include "crosslink/source.hpp"
#include "crosslink/sync_mode.hpp"

namespace crosslink {

/// What a mirror said of itself. Its references are good for the length of the call that it is passed to.
struct MirrorProgress {
  const std::vector<std::string>& peer_names;  ///< of its certificate
  MirrorIdentity mirror;
  Incarnation incarnation;  ///< the newest of the history in which the LSNs are meant
  Lsn applied, durable;
};

/// Each says its default, when to change it and what that costs. Functions are called on the threads that they name,
/// must not block, and must not call back into the DatabaseSource.
struct DatabaseSourceOptions {
  /// Own "cluster/database". Required: mirrors use it to find out that they would follow themselves.
  std::string name = {};
  /// Of a database that is a mirror itself: its source's chain (MirrorFacts::chain). Empty (the default): a root. Any
  /// thread.
  std::function<std::vector<std::string>()> upstream_chain = {};
  /// Of a database that is a mirror itself: how old its data is (Mirror::lag), which its own mirrors add to their lag.
  /// Empty (the default): a root. Any thread.
  std::function<std::optional<std::chrono::microseconds>()> upstream_lag = {};
  /// Certificate names of mirrors in sync mode. Default: none. Such a mirror makes durable at once what it applies,
  /// which costs it a disk sync for each group; on_mirror_at then tells this side. Waiting for it before a client is
  /// answered is the caller's work: these options are what the mirror is told of that.
  std::vector<std::string> sync_mirrors = {};
  /// What the caller does with a write that is not confirmed in time. Default: error.
  OnSyncLoss on_sync_loss = OnSyncLoss::error;
  /// How long the caller waits for a confirmation. Default 5 s. Shorter: a lost mirror holds clients up for less time,
  /// and a slow line is taken for a lost mirror more often.
  std::chrono::milliseconds sync_timeout{5'000};
  /// What the confirmations of a mirror that is named are worth now. On any thread; must not block. Empty (the
  /// default): no mirror is told.
  std::function<std::optional<SyncStanding>(const std::vector<std::string>& peer_names, const MirrorIdentity& mirror)>
      sync_standing = {};
  /// The largest entry that the engine commits (entry.hpp), by which its mirrors judge whether they can follow. Default
  /// 256 MiB. Set it as the engine's own.
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// Sent to one mirror and not yet acknowledged as applied or stored; the mirror's own limit holds as well. Default 64
  /// MiB. Raise it where a long, fast line is not filled: it should be at least the line's rate times its round trip.
  /// Costs up to that much memory for each mirror that is slow.
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  /// Where whole ranges are read for verify, in slices of some milliseconds; those of sessions that ended are given up.
  /// Empty (the default): `engine_executor`, where they take turns with everything else. Set it where a verify must not
  /// delay log and snapshots.
  boost::asio::any_io_executor scan_executor = {};
  /// Entries kept encoded, for all mirrors together: the newest, which commits hand over, and what mirrors further
  /// behind have read. Default 16 MiB, all of which is held once so much was committed. Raise it where several mirrors
  /// follow some seconds behind a busy source: they are then served from memory and not from the engine's log.
  std::uint64_t ring_bytes_max = 16ull * 1024 * 1024;
  /// The log that a bootstrapping mirror needs is held for so long while it is away, within the engine's budget.
  /// Default 24 hours. As long as the engine's window, else it is held for a shorter time than the log is at all. Costs
  /// disk up to the engine's budget for a mirror that never comes back.
  std::chrono::seconds bootstrap_away_max = std::chrono::hours(24);
  /// A snapshot or a verify whose mirror makes no progress for so long, paused or not, is closed (Busy), so that others
  /// can have its place. The mirror asks again by itself, and goes on where it was if the snapshot is still there.
  /// Default 5 minutes. Raise it where mirrors pause for longer than that in the middle of a bootstrap.
  std::chrono::seconds stall_max = std::chrono::minutes(5);
  /// How often one mirror, by its name, may ask for a snapshot and for a verify within a minute; the next is answered
  /// Busy. Default 6. Each snapshot may make the engine flush and read all of its data, each verify read all of it.
  std::uint32_t snapshots_per_minute_max = 6, verifies_per_minute_max = 6;
  /// The same for all mirrors together. Default 60. Raise it for hundreds of mirrors that bootstrap at once.
  std::uint32_t snapshots_per_minute_in_all_max = 60, verifies_per_minute_in_all_max = 60;
  /// A mirror said how far it is. On the mirror's session's executor; must not block. Empty (the default): not called.
  std::function<void(const MirrorProgress&)> on_mirror_at = {};
  /// The history changed by itself (SourceEngine::watch_history): what mirrors said before does not count. On the
  /// thread that found it; must not block. Empty (the default): not called.
  std::function<void()> on_history_change = {};
  /// Entries were committed, or applied by this database as a mirror (SourceEngine::watch_log). On the thread that did
  /// it, for each group; must not block. Empty (the default): not called.
  std::function<void(const CommittedLog&)> on_log = {};
};

/// One mirror that is being served.
struct ServedMirrorFacts {
  std::vector<std::string> peer_names;  ///< of its certificate
  MirrorIdentity mirror;                ///< empty until it began the session
  quic::Address address;
  Incarnation incarnation;  ///< the newest of the history in which the LSNs are meant
  Lsn applied, durable;     ///< as it last said of the log; 0: it did not yet
  std::chrono::system_clock::time_point certificate_not_after;
  std::string certificate_serial;  ///< in the form of quic::DeniedSerials
};

/// One for each database; all its mirrors share what it keeps of the log. Thread safe.
class DatabaseSource {
 public:
  /// `engine` (and `verifiable`, which may be null: verify is then refused) must outlive this; its calls are made on
  /// `engine_executor`, except source_state(), which must be quick. `engine_executor` must have threads that may block,
  /// and outlive every serve(). Takes over engine.watch_log and engine.watch_history.
  DatabaseSource(SourceEngine& engine, VerifiableEngine* verifiable, boost::asio::any_io_executor engine_executor,
                 DatabaseSourceOptions options);
  /// Precondition: no serve() runs.
  ~DatabaseSource();
  DatabaseSource(const DatabaseSource&) = delete;
  DatabaseSource& operator=(const DatabaseSource&) = delete;

  /// One mirror's session, until it ends; `mirror` must live as long. Any number may run, each on a strand or a single
  /// thread, as MirrorAcceptor has it. Returns without error when the mirror left. Errors: what ended the connection;
  /// ProtocolViolation and ObserverRoleViolation (peer); Busy and Storage (us); what end_sessions() says; Cancelled.
  /// Cancelled: the session ends as by end_sessions(), after the engine's call that is under way; the mirror's pins are
  /// kept for bootstrap_away_max, so that it can go on where it was.
  Task<void> serve(AcceptedMirror& mirror);
  /// Ends every session and forgets what was kept of the log. Call before any change of the history (restamp, restore,
  /// a new snapshot switched in); mirrors come back by themselves. Does not wait: serve() returns soon after.
  void end_sessions();
  /// Ends the sessions of mirrors for which `may_stay` is false; they may try again. `may_stay` is called before this
  /// returns, on this thread.
  void end_sessions_unless(const std::function<bool(const ServedMirrorFacts&)>& may_stay);
  /// The mirrors whose session runs now, and how many those are.
  std::vector<ServedMirrorFacts> mirrors() const;
  std::size_t sessions() const;
  /// How many snapshots and verifies were closed by stall_max since this was made.
  std::uint64_t stalled_readers() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink
