#include "session/mirror/probe.hpp"

#include <algorithm>

namespace crosslink::core::mirror {
namespace {

/// A reconnect after this long begins with a short wait again.
constexpr Duration caught_up_hold{30'000'000};
constexpr Duration interval_min{5'000}, interval_max{200'000};

}  // namespace

void LagProbe::advance(StreamToken control, Duration threshold, std::optional<Duration> max_lag, Instant now) {
  const auto asked = max_lag ? std::min(threshold, *max_lag) : threshold;
  const auto interval = std::clamp<Duration>(asked / 4, interval_min, interval_max);
  if (!probed_at_ || now >= *probed_at_ + interval) {
    probed_at_ = now;
    if (!lag_.full()) out_->send(control, lag_.probe(now));
  }
  out_->wake(*probed_at_ + interval);
  const auto lag = lag_.lag(now);
  if (!lag || *lag > threshold) {
    caught_up_since_.reset();
  } else if (!caught_up_since_) {
    caught_up_since_ = now;
  } else if (now - *caught_up_since_ >= caught_up_hold) {
    caught_up_since_ = now;
    out_->push(mirror_action::Progress{});
  }
}

void LagProbe::on_session_end() {
  lag_.on_session_end();
  probed_at_.reset();
  caught_up_since_.reset();
}

}  // namespace crosslink::core::mirror
