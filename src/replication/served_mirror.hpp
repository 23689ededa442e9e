// One mirror's session at the source: core::SourceSession decides, this carries it out.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "async/signal.hpp"
#include "crosslink/database_source.hpp"
#include "replication/kept_pins.hpp"
#include "replication/log_ring.hpp"
#include "replication/session_driver.hpp"
#include "session/request_rates.hpp"
#include "session/source/source_session.hpp"

namespace crosslink::replication {

/// What all sessions of a database have together of snapshots and verifies. Thread safe.
class SharedRates {
 public:
  explicit SharedRates(const DatabaseSourceOptions& options)
      : snapshots_(options.snapshots_per_minute_max, options.snapshots_per_minute_in_all_max),
        verifies_(options.verifies_per_minute_max, options.verifies_per_minute_in_all_max) {}
  std::atomic<std::uint64_t> stalled = 0;  ///< readers that were closed for making no progress
  bool take_snapshot(const std::string& mirror, core::Instant now) {
    const std::scoped_lock lock(mutex_);
    return snapshots_.take(mirror, now);
  }
  bool take_verify(const std::string& mirror, core::Instant now) {
    const std::scoped_lock lock(mutex_);
    return verifies_.take(mirror, now);
  }

 private:
  std::mutex mutex_;
  core::RequestRates snapshots_, verifies_;
};

/// One mirror's session: the machine decides, this carries it out. Everything on one strand but head_moved().
class ServedMirror final : public SessionDriver<core::SourceSession, StrandOnly> {
 public:
  struct Shared {
    SourceEngine* engine;
    VerifiableEngine* verifiable;
    LogRing* ring;
    KeptPins* pins;
    SharedRates* rates;
    const DatabaseSourceOptions* options;
  };
  ServedMirror(Shared shared, AcceptedMirror& mirror, boost::asio::any_io_executor strand,
               const boost::asio::any_io_executor& engine_executor);

  static Task<void> run(std::shared_ptr<ServedMirror> self);
  /// From any thread.
  void head_moved();
  void end();
  ServedMirrorFacts facts() const;

 private:
  /// How long the session is not told of another head: commits that come meanwhile go together. Longer while many do.
  static constexpr auto head_pause_min = std::chrono::microseconds(500),
                        head_pause_max = std::chrono::microseconds(2000);
  using SourceSession = core::SourceSession;
  static awaitable<void> write_frames(std::shared_ptr<ServedMirror> self, StreamPointer stream);
  static awaitable<void> close(std::shared_ptr<ServedMirror> self, core::source_action::Close request);

  std::shared_ptr<ServedMirror> self() { return std::static_pointer_cast<ServedMirror>(shared_from_this()); }
  std::weak_ptr<ServedMirror> weak() { return self(); }
  void carry_out(core::SourceAction& request) override;
  void on_frame(core::StreamToken token, Frame frame) override;
  void on_stream_end(core::StreamToken token, const std::optional<MirrorError>& error) override;
  void on_told() override;
  void send(core::source_action::Send& frame);
  void note_mirror_at(const core::source_action::MirrorAt& at);
  bool read_kept(const core::source_action::ReadLog& question);
  void read_log(const core::source_action::ReadLog& question);
  void prove(const core::source_action::Prove& question);
  /// Absent: none of it any more.
  void hold_log(std::optional<Lsn> from);
  void open_snapshot(core::source_action::OpenSnapshot& question);
  void read_snapshot(const core::source_action::ReadSnapshot& question);
  void open_view(const core::source_action::OpenView& question);
  void tell_head();
  void announce_head();
  void resume_heads();
  void take_in(IncomingStream incoming);
  core::SourceNow read_now() const;

  const Shared shared_;
  AcceptedMirror* const mirror_;
  const std::vector<std::string> peer_names_;
  const quic::Address address_;
  const std::chrono::system_clock::time_point certificate_not_after_;
  const std::string certificate_serial_;
  const std::string mirror_name_;  ///< in this session and in others
  const std::string holder_;       ///< of pins
  const boost::asio::any_io_executor strand_;
  /// Engine calls of one session keep their order.
  const boost::asio::any_io_executor engine_strand_;
  core::StreamToken last_token_ = 0;
  std::unique_ptr<SourceSession> session_;
  std::shared_ptr<SnapshotReader> reader_;
  std::optional<MirrorError> ended_with_;
  std::size_t writers_ = 0;
  async::Signal writer_ended_;
  mutable std::mutex at_mutex_;
  MirrorIdentity identity_;
  core::source_action::MirrorAt at_{};
  std::atomic<bool> head_pending_ = false;    ///< it is told, was a moment ago, or does not want to know
  std::atomic<std::uint64_t> new_heads_ = 0;  ///< since it was told
  std::chrono::microseconds head_pause_ = head_pause_min;
  bool identified_ = false;
  bool heads_parked_ = false;  ///< until the session wants to know of a head
  boost::asio::steady_timer head_timer_;
};

}  // namespace crosslink::replication
