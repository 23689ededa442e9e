// A promotion that an operator asked for: how long it may take, how old the data may be, why it was given up.
#pragma once

#include <cstdint>
#include <optional>

#include "session/mirror/outbox.hpp"

namespace crosslink::core {

struct PromotionRequest {
  bool accept_inconsistent = false;
  std::optional<Duration> age_max = {};  ///< older data, or data of unknown age, is not promoted
  std::optional<Duration> within = {};   ///< given up then; absent: it is tried until it is done or withdrawn
};

namespace mirror {

class Promotion {
 public:
  void begin(const PromotionRequest& request, Instant now);
  bool active() const { return active_; }
  /// `calling`: the engine's call is under way, which may still bring it about: given up when it fails. True: it is
  /// given up.
  bool give_up(MirrorError why, bool calling);
  /// What it was to be given up for when the call under way fails.
  const std::optional<MirrorError>& giving_up() const { return giving_up_; }
  /// Ended by what halts the mirror.
  void end();
  void on_promoted(std::optional<Duration> age);
  void forget_outcome();
  /// Why it is to be given up now; absent: it goes on. `storage_error`: of the call that is tried again.
  std::optional<MirrorError> overdue(const std::optional<MirrorError>& storage_error, Instant now, Outbox& out) const;
  /// Judged each time before the data is opened for writes, not when that was asked for.
  std::optional<MirrorError> too_old(std::optional<Duration> age);

  /// How many were begun: an answer is that of the promotion it was read for.
  std::uint64_t begun() const { return begun_; }
  /// Why the one that was begun last did not come about. Absent: it is under way, or done.
  const std::optional<MirrorError>& given_up() const { return given_up_; }
  bool given_up_for_age() const { return given_up_for_age_; }
  const std::optional<Duration>& age_at_promotion() const { return age_at_promotion_; }

 private:
  PromotionRequest request_;
  bool active_ = false, given_up_for_age_ = false;
  Instant by_{0};
  std::optional<MirrorError> giving_up_, given_up_;
  std::uint64_t begun_ = 0;
  std::optional<Duration> age_at_promotion_;
};

}  // namespace mirror
}  // namespace crosslink::core
