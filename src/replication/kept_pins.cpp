#include "replication/kept_pins.hpp"

#include <boost/asio/post.hpp>
#include <limits>
#include <utility>

#include "replication/session_clock.hpp"

namespace crosslink::replication {
namespace {
constexpr auto never = std::numeric_limits<core::Instant::rep>::max();
}

KeptPins::KeptPins(SourceEngine& engine, boost::asio::any_io_executor engine_executor,
                   std::chrono::microseconds away_max)
    : engine_(&engine), engine_executor_(std::move(engine_executor)), keeper_(away_max), deadline_(never) {}

void KeptPins::release(const core::PinKeeper::Holders& holders) {
  for (const auto& holder : holders)
    engine_->unpin(holder);
}

/// With the mutex held.
void KeptPins::note_deadline() {
  const auto next = keeper_.next_deadline();
  deadline_ = next ? next->count() : never;
}

void KeptPins::pin(const std::string& mirror, const std::string& holder, Lsn from) {
  engine_->pin(holder, from);
  core::PinKeeper::Holders holders;
  {
    const std::scoped_lock lock(mutex_);
    holders = keeper_.on_pin(mirror, holder, from);
    note_deadline();
  }
  release(holders);
}

void KeptPins::unpin(const std::string& mirror, const std::string& holder) {
  core::PinKeeper::Holders holders;
  {
    const std::scoped_lock lock(mutex_);
    holders = keeper_.on_unpin(mirror, holder);
    note_deadline();
  }
  release(holders);
}

void KeptPins::session_ended(const std::string& holder) {
  core::PinKeeper::Holders holders;
  {
    const std::scoped_lock lock(mutex_);
    holders = keeper_.on_session_end(holder, session_now());
    note_deadline();
  }
  release_later(std::move(holders));
}

void KeptPins::head_moved() {
  if (deadline_ == never || session_now().count() < deadline_) return;
  core::PinKeeper::Holders holders;
  {
    const std::scoped_lock lock(mutex_);
    holders = keeper_.on_time(session_now());
    note_deadline();
  }
  release_later(std::move(holders));
}

void KeptPins::release_later(core::PinKeeper::Holders holders) {
  if (holders.empty()) return;
  {
    const std::scoped_lock lock(mutex_);
    later_.insert(later_.end(), holders.begin(), holders.end());
  }
  boost::asio::post(engine_executor_, [self = shared_from_this()] {
    const std::scoped_lock lock(self->call_mutex_);
    if (!self->stopped_) self->release(self->take_later());
  });
}

core::PinKeeper::Holders KeptPins::take_later() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(later_, {});
}

void KeptPins::stop() {
  const std::scoped_lock lock(call_mutex_);
  release(take_later());
  const std::scoped_lock keeping(mutex_);
  release(keeper_.on_stop());
  note_deadline();
  stopped_ = true;
}

}  // namespace crosslink::replication
