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

#include "core/lag_tracker.hpp"
#include "crosslink/types.hpp"

namespace crosslink::core {

enum class OnSyncLoss : std::uint8_t { error, async };

struct SyncConfig {
  std::vector<std::string> mirrors;  ///< names; empty: the rule is off
  Duration timeout{5'000'000};
  OnSyncLoss on_loss = OnSyncLoss::error;
};

class SyncRule {
 public:
  explicit SyncRule(SyncConfig config);
  bool names(const std::string& mirror) const { return durable_.contains(mirror); }

  /// A commit whose writer waits. LSNs rise.
  void on_commit(Lsn lsn, Instant now);
  void on_source_durable(Lsn lsn);
  /// What a LogAck of the present history said; of a mirror that is not named it changes nothing.
  void on_mirror_durable(const std::string& mirror, Lsn lsn);
  /// The mirror has caught up to the head. Sync returns once every mirror that was lost has.
  void on_mirror_caught_up(const std::string& mirror);
  /// The history changed, and LSNs may come again: nothing that the source or mirrors said before counts. Who waits is
  /// answered `unconfirmed`, whatever `on_loss` says: his commit may no longer be there, and another at its LSN.
  /// decide() says so at once.
  void on_history_change();

  enum class Answer : std::uint8_t {
    confirmed,
    unconfirmed,  ///< stored and visible; its writer must be told
    async,        ///< acknowledged without the mirrors: counted and shown
  };
  struct Decided {
    Lsn lsn;
    Answer answer;
    std::string missing;  ///< unconfirmed, async: which mirror
  };
  /// Commits that can be answered now, in order.
  std::vector<Decided> decide(Instant now);
  /// When decide() is due next, if nothing else happens. Absent: time alone decides nothing.
  std::optional<Instant> next_deadline() const;
  bool suspended() const { return !lost_.empty(); }  ///< on_loss = async and a mirror is lost

 private:
  struct Waiting {
    Lsn lsn;
    Instant since;
  };
  std::optional<std::string> missing(Lsn lsn) const;
  SyncConfig config_;
  std::map<std::string, Lsn> durable_;
  Lsn source_durable_;
  std::deque<Waiting> waiting_;
  std::vector<Lsn> given_up_;   ///< waited when the history changed
  std::set<std::string> lost_;  ///< on_loss = async: which mirrors nobody waits for
};

}  // namespace crosslink::core
