// When a commit is confirmed: durable at the source and at every mirror it names. docs/protocol.md, "Sync mode".
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "crosslink/position.hpp"
#include "crosslink/sync_mode.hpp"
#include "crosslink/types.hpp"
#include "session/lag_tracker.hpp"

namespace crosslink::core {

struct SyncConfig {
  std::vector<std::string> mirrors;  ///< names; empty: the rule is off
  Duration timeout{5'000'000};
  OnSyncLoss on_loss = OnSyncLoss::error;
};

/// A commit, or how far a mirror is. An LSN alone says nothing: after a change of history it may come again, for
/// another commit.
struct SyncPoint {
  Incarnation incarnation;  ///< the newest of the history in which the LSN is meant
  Lsn lsn;
  friend auto operator<=>(const SyncPoint&, const SyncPoint&) = default;
};

/// Does a mirror at `said` have the commit, in a database whose history and head are these now? Not when a change of
/// history took the commit back, or when `said` is of another history: LSNs come again, for other commits.
bool has_commit(const History& present, Lsn head, const SyncPoint& said, const SyncPoint& commit);
/// Is the commit in that database still?
bool is_in(const History& present, Lsn head, const SyncPoint& commit);

class SyncRule {
 public:
  explicit SyncRule(SyncConfig config);
  bool names(const std::string& mirror) const { return durable_.contains(mirror); }

  /// A commit whose writer waits. LSNs rise within an incarnation; another incarnation than that of the commit before
  /// is a change of history.
  void on_commit(const SyncPoint& commit, Instant now);
  void on_source_durable(const SyncPoint& point);
  /// What a LogAck said; of a mirror that is not named it changes nothing. It counts for commits of its incarnation
  /// alone.
  void on_mirror_durable(const std::string& mirror, const SyncPoint& point);
  /// The mirror has caught up to the head. Sync returns once every mirror that was lost has.
  void on_mirror_caught_up(const std::string& mirror);
  /// The history changed: nothing that the source or mirrors said before counts. Who waits is answered `unconfirmed`,
  /// whatever `on_loss` says: his commit may no longer be there. decide() says so at once.
  void on_history_change();

  enum class Answer : std::uint8_t {
    confirmed,
    unconfirmed,  ///< stored and visible; its writer must be told
    async,        ///< acknowledged without the mirrors: counted and shown
  };
  struct Decided {
    SyncPoint commit;
    Answer answer;
    std::string missing;  ///< unconfirmed, async: which mirror
  };
  /// Commits that can be answered now, in order.
  std::vector<Decided> decide(Instant now);
  /// When decide() is due next, if nothing else happens. Absent: time alone decides nothing.
  std::optional<Instant> next_deadline() const;
  bool is_lost(const std::string& mirror) const { return lost_.contains(mirror); }
  bool suspended() const { return !lost_.empty(); }  ///< on_loss = async and a mirror is lost

 private:
  struct Waiting {
    SyncPoint commit;
    Instant since;
  };
  void give_up_waiting();
  std::optional<std::string> missing(const SyncPoint& commit) const;
  SyncConfig config_;
  std::map<std::string, SyncPoint> durable_;
  SyncPoint source_durable_;
  std::deque<Waiting> waiting_;      ///< all of one incarnation
  std::vector<SyncPoint> given_up_;  ///< waited when the history changed
  std::set<std::string> lost_;       ///< on_loss = async: mirrors that no write waits for
};

}  // namespace crosslink::core
