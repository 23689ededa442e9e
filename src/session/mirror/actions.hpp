// What a mirror's machine asks its driver to do, and what the engine answers.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <variant>
#include <vector>

#include "session/lag_tracker.hpp"
#include "session/log_order.hpp"
#include "session/session_tokens.hpp"
#include "session/snapshot_assembler.hpp"
#include "wire/session_frames.hpp"

namespace crosslink::core {

namespace mirror_action {
template <class Type, class... Types>
inline constexpr bool is_one_of = (std::is_same_v<Type, Types> || ...);

/// connect() the first time, schedule_reconnect() after that: on_connected or on_dial_failed.
struct Dial {
  bool reconnect = false;
  Lsn applied;
};
/// on_disconnected once no frame can come any more. Also after on_disconnected was said by itself.
struct CloseLink {};
/// A control or request frame; the first on a stream opens it.
struct Send {
  StreamToken stream = 0;
  std::vector<std::byte> frame;
  bool opens_bulk = false;  ///< what comes on this stream is bulk
};
/// Give up what we send and what we read of it; no frame of it may come after this.
struct DropStream {
  StreamToken stream = 0;
};
/// May bulk frames be read? Control and verify always are.
struct ReadBulk {
  bool allowed = true;
};
/// The session has brought something: CrossClusterLink::note_progress().
struct Progress {};
struct Wake {
  Instant at;
};  ///< call on_time() then, or earlier

// Engine calls, answered by on_engine. Only one is under way.
struct Apply {
  std::vector<AcceptedBatch> batches;  ///< keep what `group` points to
  std::vector<LeaseGrant> leases;      ///< note_leases() first, if there are any
  ApplyGroup group;
};
struct StepBack {
  Lsn from;
};
struct Sync {};
struct BeginSnapshot {
  SnapshotFacts facts;
};
struct StoreChunk {
  StoredChunk chunk;
  std::shared_ptr<const void> keep;
  std::span<const std::byte> bytes;
  std::vector<LeaseGrant> leases;  ///< note_leases() first, if there are any
};
struct CheckSnapshot {};
struct SwitchSnapshot {
  Lsn consistent_lsn;  ///< note_consistent() first
};
struct DropSnapshot {};
struct Promote {};
struct OpenView {};
template <class Action>
concept EngineCall = is_one_of<Action, Apply, StepBack, Sync, BeginSnapshot, StoreChunk, CheckSnapshot, SwitchSnapshot,
                               DropSnapshot, Promote, OpenView>;

// Questions about the view, answered by on_digest and on_keys; beside engine calls.
struct DigestRange {
  Question question = 0;
  KeyRange range;
};
struct ListKeys {
  Question question = 0;
  KeyRange range;
};
struct CloseView {};
}  // namespace mirror_action
using MirrorAction =
    std::variant<mirror_action::Dial, mirror_action::CloseLink, mirror_action::Send, mirror_action::DropStream,
                 mirror_action::ReadBulk, mirror_action::Progress, mirror_action::Wake, mirror_action::Apply,
                 mirror_action::StepBack, mirror_action::Sync, mirror_action::BeginSnapshot, mirror_action::StoreChunk,
                 mirror_action::CheckSnapshot, mirror_action::SwitchSnapshot, mirror_action::DropSnapshot,
                 mirror_action::Promote, mirror_action::OpenView, mirror_action::DigestRange, mirror_action::ListKeys,
                 mirror_action::CloseView>;

/// Where the engine stands after a call.
struct EngineMark {
  std::optional<Position> position;
  Lsn durable;
  bool inconsistent = false;  ///< as in MirrorState
  std::optional<PromotedFrom> promoted_from = std::nullopt;
};
struct EngineAnswer {
  EngineMark mark;
  std::optional<SnapshotCheck> check;         ///< of CheckSnapshot
  std::optional<PromotedFrom> promoted_from;  ///< of Promote
};

}  // namespace crosslink::core
