#include "session/source/send_window.hpp"

#include <algorithm>
#include <utility>

#include "crosslink/engine.hpp"

namespace crosslink::core::source {

void SendWindow::on_limit(const Limit& limit, Instant now) {
  limit_ = limit;
  next_send_ = now;
}

bool SendWindow::may_send(const BulkStream& stream, Instant now) {
  if (stream.writing || limit_.paused || !account_.may_go_on()) return false;
  if (limit_.bytes_per_s == 0 || !next_send_ || now >= *next_send_) return true;
  out_->wake(*next_send_);
  return false;
}

void SendWindow::send(BulkStream& stream, const SessionMessage& message, SharedBytes data, std::size_t at,
                      std::size_t bytes, std::uint64_t units, Instant now) {
  auto head = encode_bulk_head(message, bytes);
  const auto frame_bytes = head.size() + bytes;
  static_cast<void>(account_.charge(units));
  stream.charged_bytes += units;
  stream.writing = true;
  if (limit_.bytes_per_s > 0) {
    const auto takes = static_cast<Duration::rep>(frame_bytes * 1'000'000 / limit_.bytes_per_s);
    next_send_ = std::max(now, next_send_.value_or(now)) + Duration(takes);
  }
  out_->push(source_action::Send{stream.token, std::move(head), std::move(data), at, bytes});
}

void SendWindow::tell_leases(BulkStream& stream, const std::vector<LeaseGrant>& leases) {
  for (const auto& grant : leases) {
    // What was told is forgotten now and then: told again, nothing comes of it.
    if (stream.leases_told.size() >= leases_waiting_max) stream.leases_told.clear();
    if (stream.leases_told.insert(grant.lease).second) out_->send(stream.token, LeaseInfo{grant.lease, grant.ttl_s});
  }
}

bool SendWindow::release(BulkStream& stream, std::uint64_t cumulative) {
  if (cumulative < stream.released_bytes || cumulative > stream.charged_bytes) return false;
  account_.ack(cumulative - stream.released_bytes);
  stream.released_bytes = cumulative;
  return true;
}

}  // namespace crosslink::core::source
