#include "session/mirror/source_facts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace crosslink::core::mirror {
namespace {

/// Shown to people as a time: what a hostile source says must fit one.
constexpr std::uint64_t window_ms_max = 1000ull * 3600 * 24 * 365;

}  // namespace

Result<void> SourceFacts::on_begin(const SessionBegin& begin, const std::string& self,
                                   std::uint64_t in_flight_bytes_max) {
  if (!begin.source || begin.source->history.empty() || begin.in_flight_bytes_max < in_flight_bytes_min) {
    return MirrorError::protocol_violation("the source's SessionBegin lacks what it must say");
  }
  const auto& chain = begin.source->chain;
  if (chain.size() >= chain_max) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "the chain of mirrors is too long");
  }
  if (std::ranges::find(chain, self) != chain.end()) {
    return MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer,
                       fmt::format("the source follows this very database, {}: a loop", self));
  }
  features_ = begin.features & (feature_verify | feature_limit);
  cap_bytes_ = std::min(in_flight_bytes_max, begin.in_flight_bytes_max);
  source_ = begin.source;
  sync_named_ = begin.sync;
  sync_promise_.reset();
  if (begin.sync && begin.source->on_sync_loss) {
    sync_promise_ = {*begin.source->on_sync_loss, std::chrono::milliseconds(begin.source->sync_timeout_ms), {}};
  }
  return {};
}

void SourceFacts::on_reply(const ProbeReply& reply) {
  head_ = reply.head;
  upstream_ = UpstreamAge{upstream_lag_of(reply)};
  if (sync_promise_ && reply.sync_standing) sync_promise_->standing = reply.sync_standing;
}

void SourceFacts::on_notice(const Notice& notice) {
  if (notice.snapshot_queue) notice_.snapshot_queue = notice.snapshot_queue;
  if (!notice.window_left_bytes && !notice.window_left_ms) return;
  notice_.window_left_bytes = notice.window_left_bytes;
  notice_.window_left_ms.reset();
  if (notice.window_left_ms) notice_.window_left_ms = std::min(*notice.window_left_ms, window_ms_max);
}

}  // namespace crosslink::core::mirror
