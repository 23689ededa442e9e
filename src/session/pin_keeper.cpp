#include "session/pin_keeper.hpp"

#include <algorithm>
#include <utility>

namespace crosslink::core {

template <class Condition>
PinKeeper::Holders PinKeeper::take(Condition&& condition) {
  Holders taken;
  std::erase_if(pins_, [&](Pin& pin) {
    if (!condition(pin)) return false;
    taken.push_back(std::move(pin.holder));
    return true;
  });
  return taken;
}

PinKeeper::Holders PinKeeper::on_pin(const std::string& mirror, const std::string& holder, Lsn from) {
  const auto own = std::ranges::find(pins_, holder, &Pin::holder);
  if (own != pins_.end()) {
    own->from = from;
  } else {
    pins_.push_back({mirror, holder, from, {}});
  }
  return take([&](const Pin& pin) { return pin.away_since && pin.mirror == mirror && pin.from >= from; });
}

PinKeeper::Holders PinKeeper::on_unpin(const std::string& mirror, const std::string& holder) {
  return take([&](const Pin& pin) { return pin.holder == holder || (pin.away_since && pin.mirror == mirror); });
}

PinKeeper::Holders PinKeeper::on_session_end(const std::string& holder, Instant now) {
  const auto own = std::ranges::find(pins_, holder, &Pin::holder);
  if (own == pins_.end()) return {};
  auto left = std::move(*own);
  pins_.erase(own);
  const bool stood_in_for = std::ranges::any_of(
      pins_, [&](const Pin& pin) { return !pin.away_since && pin.mirror == left.mirror && pin.from <= left.from; });
  if (stood_in_for) return {std::move(left.holder)};
  left.away_since = now;
  const auto of_mirror = [&](const Pin& pin) { return pin.away_since && pin.mirror == left.mirror; };
  const bool too_many = static_cast<std::size_t>(std::ranges::count_if(pins_, of_mirror)) >= left_behind_max;
  Holders dropped;
  if (too_many) {
    const auto oldest = std::ranges::find_if(pins_, of_mirror);
    dropped.push_back(std::move(oldest->holder));
    pins_.erase(oldest);
  }
  pins_.push_back(std::move(left));
  return dropped;
}

PinKeeper::Holders PinKeeper::on_time(Instant now) {
  return take([&](const Pin& pin) { return pin.away_since && now - *pin.away_since >= away_max_; });
}

PinKeeper::Holders PinKeeper::on_stop() {
  return take([](const Pin&) { return true; });
}

std::optional<Instant> PinKeeper::next_deadline() const {
  const auto first = std::ranges::find_if(pins_, [](const Pin& pin) { return pin.away_since.has_value(); });
  return first == pins_.end() ? std::nullopt : std::optional(*first->away_since + away_max_);
}

}  // namespace crosslink::core
