// One database offered to mirrors: what a MirrorAcceptor (source.hpp) runs for each accepted mirror.
//
//   DatabaseSource orders(engine, &engine, engine_threads, {.name = "prod-us/orders"});
//   MirrorAcceptor acceptor(listener, policy, limits, [&](AcceptedMirror& mirror) { return orders.serve(mirror); });
//
// Rules of what happens when: docs/protocol.md, "Sessions".
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

/// What a mirror said of itself, for the length of a call.
struct MirrorProgress {
  const std::vector<std::string>& peer_names;  ///< of its certificate
  MirrorIdentity mirror;
  Incarnation incarnation;  ///< the newest of the history in which the LSNs are meant
  Lsn applied, durable;
};

struct DatabaseSourceOptions {
  /// Own "cluster/database".
  std::string name;
  /// Of a database that is a mirror itself: its source's chain (MirrorFacts::chain). Absent: a root. Any thread.
  std::function<std::vector<std::string>()> upstream_chain;
  /// Of a database that is a mirror itself: how old its data is (Mirror::lag). Absent: a root. Any thread.
  std::function<std::optional<std::chrono::microseconds>()> upstream_lag;
  /// Certificate names of mirrors in sync mode, and what such a mirror is told of it.
  std::vector<std::string> sync_mirrors;
  OnSyncLoss on_sync_loss = OnSyncLoss::error;
  std::chrono::milliseconds sync_timeout{5'000};
  /// What the confirmations of a mirror that is named are worth now. On any thread; must not block. Empty: no mirror is
  /// told.
  std::function<std::optional<SyncStanding>(const std::vector<std::string>& peer_names, const MirrorIdentity& mirror)>
      sync_standing;
  std::uint64_t entry_bytes_max = entry_bytes_max_default;
  /// Sent to one mirror and not yet acknowledged as applied or stored.
  std::uint64_t in_flight_bytes_max = 64ull * 1024 * 1024;
  /// Where whole ranges are read for verify, in slices of some milliseconds; those of sessions that ended are given up.
  /// Empty: `engine_executor`, where they take turns with everything else.
  boost::asio::any_io_executor scan_executor;
  /// Entries kept encoded, for all mirrors together: the newest, which commits hand over, and what mirrors further
  /// behind have read.
  std::uint64_t ring_bytes_max = 16ull * 1024 * 1024;
  /// The log that a bootstrapping mirror needs is held for so long while it is away, within the engine's budget. As
  /// long as the engine's window, else it is held for a shorter time than the log is at all.
  std::chrono::seconds bootstrap_away_max = std::chrono::hours(24);
  /// A snapshot or a verify whose mirror makes no progress for so long, paused or not, is closed (Busy): its place is
  /// others'. The mirror asks again by itself, and goes on where it was if the snapshot is still there.
  std::chrono::seconds stall_max = std::chrono::minutes(5);
  std::uint32_t snapshots_per_minute_max = 6, verifies_per_minute_max = 6;  ///< per mirror, by name
  std::uint32_t snapshots_per_minute_in_all_max = 60, verifies_per_minute_in_all_max = 60;
  /// A mirror said how far it is. On the mirror's session's executor; must not block.
  std::function<void(const MirrorProgress&)> on_mirror_at;
  /// The history changed by itself: what mirrors said before does not count. On the thread that found it; must not
  /// block.
  std::function<void()> on_history_change;
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

/// Thread safe.
class DatabaseSource {
 public:
  /// `engine` (and `verifiable`, which may be null: verify is then refused) must outlive every serve(); its calls are
  /// made on `engine_executor`, except source_state(), which must be quick. Takes over engine.watch_log.
  DatabaseSource(SourceEngine& engine, VerifiableEngine* verifiable, boost::asio::any_io_executor engine_executor,
                 DatabaseSourceOptions options);
  /// Precondition: no serve() runs.
  ~DatabaseSource();
  DatabaseSource(const DatabaseSource&) = delete;
  DatabaseSource& operator=(const DatabaseSource&) = delete;

  /// One mirror's session, until it ends. Call on a strand or a single thread, as MirrorAcceptor does. Returns without
  /// error when the mirror left; else what ended the session; Cancelled by cancellation.
  Task<void> serve(AcceptedMirror& mirror);
  /// Ends every session and forgets what was kept of the log. Call before any change of the history (restamp, restore,
  /// a new snapshot switched in); mirrors come back by themselves.
  void end_sessions();
  /// Ends the sessions of mirrors for which `may_stay` is false; they may try again. It is called at once.
  void end_sessions_unless(const std::function<bool(const ServedMirrorFacts&)>& may_stay);
  std::vector<ServedMirrorFacts> mirrors() const;
  std::size_t sessions() const;
  /// How many snapshots and verifies were closed by stall_max.
  std::uint64_t stalled_readers() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace crosslink
