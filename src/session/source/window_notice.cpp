#include "session/source/window_notice.hpp"

#include <algorithm>

namespace crosslink::core::source {

void WindowNotice::advance(bool feeding, const std::function<std::optional<Lsn>()>& needed, StreamToken control,
                           Instant now) {
  if (!window_left_) return;
  if (!feeding) {
    due_at_.reset();
    last_.reset();
    return;
  }
  if (due_at_ && now < *due_at_) return;
  const bool due = due_at_.has_value();
  due_at_ = now + every_;
  out_->wake(*due_at_);
  if (!due) return;  // a mirror that is behind for a moment only needs no notice
  const auto next = needed();
  const auto left = next ? window_left_(*next) : std::nullopt;
  if (!left) return last_.reset();
  std::optional<std::uint64_t> left_ms;
  if (left->time) left_ms = static_cast<std::uint64_t>(left->time->count());
  if (last_ && left->bytes < last_->bytes) {
    const auto per_us =
        static_cast<double>(last_->bytes - left->bytes) / static_cast<double>((now - last_->at).count());
    const auto by_rate = static_cast<std::uint64_t>(static_cast<double>(left->bytes) / per_us / 1000);
    left_ms = std::min(left_ms.value_or(by_rate), by_rate);
  }
  last_ = {now, left->bytes};
  out_->send(control, Notice{{}, left_ms, left->bytes});
}

}  // namespace crosslink::core::source
