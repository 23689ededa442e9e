#include "crosslink/sync_mode.hpp"

#include <algorithm>
#include <array>
#include <optional>

namespace crosslink {
namespace {

constexpr std::array losses{OnSyncLoss::error, OnSyncLoss::async};
constexpr std::array standings{SyncStanding::counted, SyncStanding::suspended, SyncStanding::not_counted};

template <class All>
std::optional<typename All::value_type> named(const All& all, std::string_view name) {
  const auto* const found = std::ranges::find_if(all, [name](auto one) { return to_string(one) == name; });
  return found == all.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

std::string_view to_string(OnSyncLoss loss) { return loss == OnSyncLoss::error ? "error" : "async"; }

std::string_view to_string(SyncStanding standing) {
  switch (standing) {
    case SyncStanding::counted: return "counted";
    case SyncStanding::suspended: return "suspended";
    case SyncStanding::not_counted: return "not_counted";
  }
  return "";
}

std::optional<OnSyncLoss> on_sync_loss_named(std::string_view name) { return named(losses, name); }
std::optional<SyncStanding> sync_standing_named(std::string_view name) { return named(standings, name); }

}  // namespace crosslink
