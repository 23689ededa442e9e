// Sync mode: a source confirms a write to its client only when a named mirror has made it durable. What is promised,
// and what is not: docs/protocol.md, "Sync mode", and docs/security.md, "What sync mode promises".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace crosslink {

/// What a source does with a write that a mirror in sync mode does not confirm in time.
enum class OnSyncLoss : std::uint8_t {
  error,  ///< its writer is told that it is not confirmed
  async,  ///< it is acknowledged without the mirror
};

/// What a mirror's confirmations are worth to its source at present.
enum class SyncStanding : std::uint8_t {
  counted,      ///< no write is confirmed without this mirror
  suspended,    ///< on_sync_loss = async: it was lost, and writes are acknowledged without it until it has caught up
  not_counted,  ///< another copy stands for the name that the source's config gives
};

/// What a source promises a mirror that it names in sync mode, as it last said.
struct SyncPromise {
  OnSyncLoss on_loss = OnSyncLoss::error;
  std::chrono::milliseconds timeout{0};  ///< without a confirmation for this long on_loss holds
  std::optional<SyncStanding> standing;  ///< absent: it did not say yet
};

/// The enumerator's spelling, as in JSON, configs and on the wire; the functions below read it back, and are empty for
/// any other text.
std::string_view to_string(OnSyncLoss loss);
std::string_view to_string(SyncStanding standing);
std::optional<OnSyncLoss> on_sync_loss_named(std::string_view name);
std::optional<SyncStanding> sync_standing_named(std::string_view name);

}  // namespace crosslink
