// Sync mode at a source of the simulated world: clients whose writes wait at the node's own SyncGate, and the promise
// that their answers are. Docs: docs/protocol.md, "Sync mode".
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/hosting/sync_gate.hpp"
#include "sim/oracle.hpp"

namespace crosslink::sim {

class SyncWriters {
 public:
  using Clock = std::function<core::Instant()>;
  /// Off when `sync` names no mirror.
  SyncWriters(World& world, std::string database, core::SyncConfig sync, Clock clock);
  ~SyncWriters();

  /// The process begins, or is gone: who waits hears nothing. Which mirrors count is on its disk.
  void start();
  void stop();
  bool names(const std::string& peer) const;
  /// A client wrote; his answer waits for the source's own disk first.
  void on_commit(const core::SyncPoint& commit, const Node* node);
  void on_durable(const core::SyncPoint& durable);
  /// What was not durable here is gone, or another history's: its writers are told that this is unknown.
  void forget_unsynced() { unsynced_.clear(); }
  void on_mirror_at(const std::string& peer, const MirrorIdentity& mirror, const core::SyncPoint& durable,
                    const core::SyncPoint& head);
  void on_history_change();
  std::optional<SyncStanding> standing(const std::string& peer, const MirrorIdentity& mirror) const;
  /// Time has passed for its clock.
  void look();

  /// The operator: another copy counts from now on; what was promised before is not promised by that one.
  void count(const MirrorId& id, const core::SyncPoint& head);
  /// An operator took the data back: what was confirmed before is his to answer for.
  void forget_promises() {
    last_confirmed_ = nullptr;
    unsynced_.clear();
  }

  const Node* last_confirmed() const { return last_confirmed_; }
  /// Did a writer's answer count on this mirror?
  bool promised_by(const MirrorIdentity& mirror) const;
  /// Whether a writer waits for a mirror.
  bool anybody_waits() const { return gate_ && gate_->waiting() > 0; }
  /// What was confirmed is durable at the mirror that counts under each name, from then on.
  void check(const std::function<const Node*(const MirrorIdentity&)>& durable_of);

 private:
  struct Writer {
    const Node* node = nullptr;
    bool refused = false;  ///< as unconfirmed
  };
  void after_gate();
  void see_answers();
  void see_who_counts(const node::SyncFacts& facts);
  void look_again();

  World* world_;
  const std::string database_;
  const core::SyncConfig config_;
  const Clock clock_;
  std::unique_ptr<node::SyncGate> gate_;
  std::shared_ptr<int> life_;
  std::optional<core::Instant> look_at_;
  node::CountedMirrors on_disk_;
  std::deque<std::pair<core::SyncPoint, const Node*>> unsynced_;
  std::vector<std::shared_ptr<Writer>> answered_;  ///< by the gate, in the call that is under way
  std::uint64_t async_seen_ = 0;
  core::SyncPoint highest_;
  const Node* last_confirmed_ = nullptr;
  std::map<std::string, MirrorIdentity> counted_;                    ///< by name, as the source shows it
  std::map<std::string, std::pair<const Node*, const Node*>> kept_;  ///< by name: promised, and where it is kept
};

}  // namespace crosslink::sim
