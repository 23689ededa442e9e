// A mirror of the simulated world: carries out what the real MirrorMachine says, against the engine under test, and
// checks after every step what must always hold.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "session/mirror/mirror_machine.hpp"
#include "session/reconnect_machine.hpp"
#include "sim/engine_faults.hpp"
#include "sim/source_host.hpp"

namespace crosslink::sim {

struct MirrorHostConfig {
  std::string name;         ///< for people, and of the host
  std::string peer;         ///< of its certificate
  MirrorIdentity identity;  ///< "cluster/database", and which copy of it
  bool sync = false;
  bool resync_when_source_behind = false;
  std::uint64_t in_flight_bytes_max = 2 * 1024 * 1024;
  Time engine_delay_max{3'000};
  double engine_stalls = 0.0;  ///< chance that a call of the engine takes seconds
  Time clock_offset{0};        ///< its steady clock against the world's
  Connection::Weather weather;
  std::function<const Node*()> root_node;  ///< what clients see at the root of its chain now
};

class MirrorHost {
 public:
  /// `own`: the same database as a source of others, told when it changes; may be null.
  MirrorHost(World& world, Oracle& oracle, Database& database, SourceHost& source, SourceHost* own,
             MirrorHostConfig config);
  ~MirrorHost();

  void start();
  /// The process dies; what was not synced is lost if `power`. Until start().
  void crash(bool power, Time idle_timeout);
  bool stores_snapshot() const {
    const auto partial = database_->engine().mirror_state().partial;
    return !is_down() && partial && partial->bytes() > 0;
  }
  bool is_down() const { return !machine_; }
  bool is_stopping() const { return stopping_; }
  core::MirrorMachine* machine() { return machine_.get(); }
  Database& database() { return *database_; }
  const MirrorHostConfig& config() const { return config_; }
  void use_good_disk() {
    config_.engine_delay_max = Time(3'000);
    config_.engine_stalls = 0.0;
  }
  void set_weather(const Connection::Weather& weather) {
    config_.weather = weather;
    if (connection_) connection_->set_weather(weather);
  }
  void cut(Time notice_max);
  /// A bit of what is stored flips, now or after the next chunk.
  void damage_snapshot();
  /// Its steady clock runs ahead, as after a suspended machine.
  void jump_clock(Time by);

  /// Calls of some kind fail for good, until mended.
  void refuse_calls() { engine_faults_.refuse_some(); }
  void mend_engine() { engine_faults_.mend(); }

  // The operator; refusals are told and counted for nothing.
  void pause();
  void resume();
  void resync();
  void promote(const core::PromotionRequest& request);
  /// Ends what is under way, as before a delete or an end of the process; it ends by itself then.
  void stop();
  void limit(std::uint64_t bytes_per_s);
  void verify();

  /// What this mirror would have after a power cut.
  const Node* durable_node() const { return durable_node_; }
  bool is_promoted() const { return promoted_; }
  /// Verifies that found both sides equal.
  std::uint64_t equal_verifies() const { return equal_verifies_; }
  MirrorStatus status();
  std::optional<Time> lag();
  void check();
  /// What clients wrote to it once it was promoted.
  void changed_by_client() { node_ = database_->node(); }

 private:
  void dial(const core::mirror_action::Dial& dial);
  void carry_out(core::Action action);
  void attempt();
  void end_link();
  void carry_out();
  void carry_out(core::MirrorAction& action);
  bool start_engine(const core::MirrorAction& action);
  Result<core::EngineAnswer> call_engine(const core::MirrorAction& action);
  void on_window_exceeded();
  void before_switch();
  void lose_unsynced();
  void check_call(const core::MirrorAction& action) const;
  Result<core::EngineAnswer> ask_engine(const core::MirrorAction& action);
  void check_memory();
  void check_status();
  void check_promotion(const MirrorStatus& status);
  void check_verify();
  EndCallbacks hear_from_source();
  void after_change();
  void later(Time delay, std::function<void()> what);
  Time engine_delay();
  core::Instant clock() const { return world_->now() + config_.clock_offset; }
  void check_position();
  void check_lag();
  void tell(const std::string& line);
  void after_operator(const char* what, const Result<void>& result);

  World* world_;
  Oracle* oracle_;
  Database* database_;
  SourceHost* source_;
  SourceHost* own_;
  MirrorHostConfig config_;
  EngineFaults engine_faults_;
  core::MemoryFragmentStore fragments_;
  core::ThrottleAccount throttle_{0};  ///< of the link
  std::unique_ptr<core::MirrorMachine> machine_;
  std::unique_ptr<core::ReconnectMachine> reconnect_;
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<const DataView> view_;
  std::shared_ptr<int> life_, link_life_;

  const Node* node_ = nullptr;                    ///< what it holds
  const Node* durable_node_ = nullptr;            ///< what it would hold after a power cut
  std::pair<const Node*, const Node*> compared_;  ///< what it holds, what clients see at the root
  const Node* missing_ = nullptr;                 ///< the first commit between the two; null: none
  std::optional<core::Instant> wake_at_;
  std::optional<Lsn> applied_;
  bool may_fall_ = false;  ///< a counted reason for applied to fall has come
  bool resync_asked_ = false, window_exceeded_ = false;
  bool damage_next_ = false;
  bool promoted_ = false;            ///< for ever, whatever the product says
  bool promotion_asked_ = false;     ///< and neither done nor given up
  std::optional<Time> promoted_by_;  ///< else it is given up
  bool stopping_ = false;
  const Node* halted_node_ = nullptr;  ///< what it held when it halted
  std::uint64_t switches_ = 0;         ///< snapshots switched in since the process began
  std::uint64_t equal_verifies_ = 0;
  /// Bytes of frames that anybody still holds, counted by their buffers.
  std::shared_ptr<std::uint64_t> live_bytes_ = std::make_shared<std::uint64_t>(0);
  bool checked_ = false;  ///< the snapshot was checked and not switched in yet
  StatusKind last_status_ = StatusKind::Disconnected;
};

}  // namespace crosslink::sim
