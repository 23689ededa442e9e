// Drives core::MirrorMachine by hand: what a source sends, what the engine answers, what comes out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "session/mirror/mirror_machine.hpp"

namespace crosslink::test {

namespace action = core::mirror_action;

class MirrorDriver {
 public:
  static constexpr core::StreamToken control = 1, first_bulk = 2;

  /// A session that stands. With data: applied up to LSN 8, the last entry at 5.
  explicit MirrorDriver(bool with_data, bool named_in_sync_mirrors = false, bool atomic_switch = true) {
    incarnation_.bytes.fill(std::byte{1});
    MirrorState state;
    if (with_data) {
      mark.position = Position{incarnation_, incarnation_, {Lsn{5}, {}}, Lsn{8}, Lsn{8}};
      mark.durable = Lsn{8};
      state.position = mark.position;
      state.durable = mark.durable;
    }
    core::MirrorMachineConfig config;
    config.self = "eu-1/orders";
    config.in_flight_bytes_max = 2 * 1024 * 1024;
    const EngineTraits traits{"memory", atomic_switch, true, {std::string(kv_format)}};
    machine = std::make_unique<core::MirrorMachine>(config, std::move(state), traits, fragments_, throttle_, now_);
    machine->on_time(now_);
    machine->on_connected(now_);
    core::SessionBegin begin;
    begin.features = core::feature_verify | core::feature_limit;
    begin.software = "crosslink";
    begin.bulk_data_bytes_max = bulk_data_bytes_max;
    begin.entry_bytes_max = entry_bytes_max_default;
    begin.in_flight_bytes_max = config.in_flight_bytes_max;
    begin.sync = named_in_sync_mirrors;
    begin.source = core::SessionBegin::Source{
        {"prod-us/orders"}, incarnation_, History::beginning({incarnation_, Lsn{1}, HistoryCause::created}), {}};
    hear(control, begin);
  }

  void hear(core::StreamToken stream, const core::SessionMessage& message, std::span<const std::byte> data = {}) {
    const auto kind = core::kind_of(message);
    auto frame =
        core::is_bulk_kind(kind) ? core::encode_bulk_head(message, data.size()) : core::encode_message(message);
    frame.insert(frame.end(), data.begin(), data.end());
    const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(frame));
    machine->on_frame(stream, kind, kept, std::span(*kept).subspan(frame_header_bytes), now_);
  }
  /// The answer to the one engine call that is under way.
  void engine_answers() {
    core::EngineAnswer answer;
    answer.mark = mark;
    answer.check = SnapshotCheck{};
    if (mark.position) answer.promoted_from = PromotedFrom{"prod-us", "orders", *mark.position};
    machine->on_engine(std::move(answer), now_);
  }
  void engine_fails() { machine->on_engine(MirrorError(ErrorKind::Storage, CausedBy::us, "the disk is full"), now_); }
  void engine_is_busy() { machine->on_engine(MirrorError(ErrorKind::Busy, CausedBy::us, "another owns it"), now_); }
  void pass(core::Duration time) {
    now_ += time;
    machine->on_time(now_);
  }
  void disconnect() { machine->on_disconnected(MirrorError::not_connected("the link"), now_); }

  /// What came out since the last call, without what only times things.
  std::vector<core::MirrorAction> take() {
    std::vector<core::MirrorAction> taken;
    for (auto& one : machine->take_actions()) {
      if (!std::holds_alternative<action::Wake>(one) && !std::holds_alternative<action::Progress>(one))
        taken.push_back(std::move(one));
    }
    return taken;
  }
  core::Instant now() const { return now_; }

  std::unique_ptr<core::MirrorMachine> machine;
  core::EngineMark mark;  ///< what the engine says of itself

 private:
  Incarnation incarnation_;
  core::MemoryFragmentStore fragments_;
  core::ThrottleAccount throttle_{2 * 1024 * 1024};
  core::Instant now_{1'000'000};
};

template <class Action>
std::size_t count(const std::vector<core::MirrorAction>& actions) {
  return static_cast<std::size_t>(
      std::ranges::count_if(actions, [](const auto& one) { return std::holds_alternative<Action>(one); }));
}

/// Frames of one kind among what was sent.
template <class Message>
std::size_t sent(const std::vector<core::MirrorAction>& actions) {
  return static_cast<std::size_t>(std::ranges::count_if(actions, [](const auto& one) {
    const auto* send = std::get_if<action::Send>(&one);
    return send != nullptr && std::to_integer<std::uint8_t>(send->frame[0]) == core::kind_of(Message{});
  }));
}

inline core::SnapshotBegin a_snapshot() {
  core::SnapshotBegin begin;
  begin.facts.format = std::string(kv_format);
  begin.facts.snapshot_lsn = begin.facts.origin_lsn = begin.facts.consistent_lsn = Lsn{9};
  return begin;
}

inline core::SnapshotChunk a_chunk(std::uint64_t offset, std::span<const std::byte> data, bool done) {
  core::SnapshotChunk chunk{offset, crc32c(data), done, 0, {}};
  if (done) chunk.consistent_lsn = Lsn{9};
  return chunk;
}

inline std::vector<std::byte> an_entry(Lsn lsn, std::size_t value_bytes) {
  const std::string value(value_bytes, 'x');
  const std::array operations{Operation::put("key", value)};
  std::vector<std::byte> entry;
  encode_entry(entry, lsn, 0, operations);
  return entry;
}

inline core::LogBatch a_batch(Lsn before, Lsn last, std::span<const std::byte> entries) {
  return {before, last, 1, entries.size(), std::string(core::codec_none), crc32c(entries), {}};
}

}  // namespace crosslink::test
