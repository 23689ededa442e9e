// A source of the simulated world: carries out what the real SourceSession machines say, against the engine under test.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "session/pin_keeper.hpp"
#include "session/source/source_session.hpp"
#include "sim/connection.hpp"
#include "sim/database.hpp"
#include "sim/sync_writers.hpp"

namespace crosslink::sim {

struct SourceHostConfig {
  std::vector<std::string> chain;
  std::uint64_t in_flight_bytes_max = 2 * 1024 * 1024;
  std::uint64_t bulk_bytes_max = 64 * 1024;
  core::SyncConfig sync;
  bool of_a_later_version = false;  ///< its connections carry what this version does not know
  Time clock_offset{0};             ///< its steady clock against the world's
  Time engine_delay_max{2'000};
  std::size_t mirrors = 0;  ///< there are; no more can have anything
};

class SourceHost {
 public:
  SourceHost(World& world, Oracle& oracle, Database& database, SourceHostConfig config);
  ~SourceHost();

  /// A mirror dials, with a certificate of the name `peer`. Null while the host is down.
  std::shared_ptr<Connection> accept(const std::string& mirror, const std::string& peer, Connection::Weather weather,
                                     EndCallbacks of_mirror);
  /// Every session gets the news; called after a commit or an apply.
  void head_moved();
  /// A commit of a client, with its wait for confirmation in sync mode.
  bool commit(std::size_t big_bytes);
  /// LSNs go by that no entry has.
  void pass_over(std::uint64_t lsns);
  /// The disk fails a sync: what it had not confirmed is gone, LSNs come again, and the process lives on. `told`:
  /// sessions and sync mode hear of it at once, else they find out.
  void lose_tail(bool told);
  /// Every session ends, as before a change of history.
  void end_sessions();
  /// The history has changed, whether sessions were ended before or must find it themselves.
  void history_changed();
  /// Its steady clock runs ahead.
  void jump_clock(Time by);
  /// The process dies: connections vanish without a word. `down` until restart().
  void crash(Time idle_timeout);
  void restart();
  bool is_down() const { return down_; }
  /// After a power cut: what was confirmed must still be here.
  void recovered();
  void cut_all(Time notice_max);
  void set_upstream_lag(std::function<std::optional<core::Duration>()> read) { upstream_lag_ = std::move(read); }
  /// The next answer to ReadLog begins elsewhere than it was asked to: an engine's defect that the order must catch.
  void misread_once() { misread_ = true; }
  /// What is committed is made durable; sync mode's writers get their answers.
  void sync();
  /// What a mirror would hold after a power cut, for sync mode's promise.
  std::function<const Node*(const MirrorIdentity& mirror)> durable_at;
  SyncWriters& writers() { return writers_; }
  /// The operator: this copy counts from now on.
  void count_mirror(const MirrorId& id);
  /// Told when a mirror is sent LogWindowExceeded, by its name.
  std::map<std::string, std::function<void()>> on_window_exceeded;
  Database& database() { return *database_; }
  void check();

 private:
  struct Served {
    std::string mirror, peer, holder;
    std::shared_ptr<Connection> connection;
    std::unique_ptr<core::SourceSession> session;
    std::shared_ptr<SnapshotReader> reader;
    std::shared_ptr<const DataView> view;
    Lsn applied;
    Incarnation incarnation;
    std::optional<core::Instant> wake_at;
    struct Stream {
      std::uint64_t charged = 0, released = 0;
    };
    std::map<Token, Stream> accounts;  ///< of streams that live, counted by what went over the wire
  };
  using Handle = std::weak_ptr<Served>;
  void on_frame(const std::shared_ptr<Served>& served, Token token, std::uint8_t kind,
                const std::shared_ptr<const std::vector<std::byte>>& payload);
  void carry_out(const std::shared_ptr<Served>& served);
  void carry_out(const std::shared_ptr<Served>& served, core::source_action::Send& send);
  void ask_engine(const std::shared_ptr<Served>& served, const core::SourceAction& action);
  void read_log(Served& served, const core::source_action::ReadLog& ask);
  void count_sent(Served& served, Token token, const std::vector<std::byte>& head, std::size_t data_bytes);
  void later(Time delay, std::function<void()> what);
  void engine_later(const Handle& handle, std::function<void(Served&)> what);
  void forget(const std::shared_ptr<Served>& served);
  core::SourceNow read_now();
  core::SyncPoint point(Lsn lsn) const;
  void answer_wait(core::SyncPoint written);
  void unpin(const core::PinKeeper::Holders& holders);
  void check_log();
  core::Instant clock() const { return world_->now() + config_.clock_offset; }

  World* world_;
  Oracle* oracle_;
  Database* database_;
  SourceHostConfig config_;
  std::vector<std::shared_ptr<Served>> served_;
  std::shared_ptr<int> life_ = std::make_shared<int>(0);
  std::function<std::optional<core::Duration>()> upstream_lag_;
  bool down_ = false, misread_ = false;
  SyncWriters writers_;
  core::PinKeeper pins_{Time(5'000'000)};
  std::uint64_t sessions_ = 0;
};

}  // namespace crosslink::sim
