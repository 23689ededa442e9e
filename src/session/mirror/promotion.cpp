#include "session/mirror/promotion.hpp"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>

#include "session/mistakes.hpp"

namespace crosslink::core::mirror {

void Promotion::begin(const PromotionRequest& request, Instant now) {
  request_ = request;
  active_ = true;
  ++begun_;
  if (request.within) by_ = now + *request.within;
}

void Promotion::forget_outcome() {
  given_up_.reset();
  given_up_for_age_ = false;
}

bool Promotion::give_up(MirrorError why, bool calling) {
  if (!active_) return false;
  if (calling) {
    giving_up_ = std::move(why);
    return false;
  }
  given_up_ = std::move(why);
  if (makes(Mistake::promotion_outlives_giving_up)) {
    request_ = {};
    return false;
  }
  end();
  return true;
}

void Promotion::end() {
  active_ = false;
  giving_up_.reset();
}

void Promotion::on_promoted(std::optional<Duration> age) {
  end();
  given_up_.reset();
  age_at_promotion_ = age;
}

std::optional<MirrorError> Promotion::overdue(const std::optional<MirrorError>& storage_error, Instant now,
                                              Outbox& out) const {
  if (!request_.within) return std::nullopt;
  if (now < by_) {
    out.wake(by_);
    return std::nullopt;
  }
  const auto waited = std::chrono::ceil<std::chrono::seconds>(*request_.within).count();
  const auto why = storage_error ? storage_error->message() : std::string("what came before is not done yet");
  return MirrorError::timeout(fmt::format("not promoted within {} s: {}", waited, why));
}

std::optional<MirrorError> Promotion::too_old(std::optional<Duration> age) {
  if (!request_.age_max || (age && *age <= *request_.age_max)) return std::nullopt;
  given_up_for_age_ = true;
  const auto is = age ? fmt::format("the lag is {} ms", std::chrono::ceil<std::chrono::milliseconds>(*age).count())
                      : std::string("the lag is not known");
  const auto most = std::chrono::floor<std::chrono::milliseconds>(*request_.age_max).count();
  return MirrorError::configuration(fmt::format("{}, over the {} ms asked for", is, most));
}

}  // namespace crosslink::core::mirror
