#include "session/mirror/log_follow.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "session/mistakes.hpp"
#include "wire/compression.hpp"

namespace crosslink::core::mirror {

// --- the stream ----------------------------------------------------------------------------------------------------

void LogFollow::ask(StreamToken token, const Position& position, bool after_switch) {
  stream_ = Stream{};
  stream_->token = token;
  stream_->after_switch = after_switch;
  LogRequest request{position, {}};
  if (options_.zstd) request.codecs.emplace_back(codec_zstd);
  out_->send(token, request);
}

bool LogFollow::drop(bool link_up) {
  forget_pending();
  fragments_->drop();
  if (!stream_) return false;
  if (link_up) out_->push(mirror_action::DropStream{stream_->token});
  stream_.reset();
  return true;
}

void LogFollow::on_session_end(bool keep) {
  stream_.reset();
  fragments_->drop();
  leases_.forget();
  if (!keep) pending_.clear();
  recount();
}

void LogFollow::on_stepped_back() {
  if (stream_) stream_->step_back_to.reset();
}

void LogFollow::acknowledge(const Position& position, Lsn durable, bool engine_busy, Instant now) {
  if (!begun() || stream_->step_back_to) return;
  auto& stream = *stream_;
  const bool ahead = makes(Mistake::received_said_applied);
  const auto applied = ahead ? stream.order->last_lsn() : position.applied_lsn;
  durable = ahead || makes(Mistake::applied_said_durable) ? applied : std::min(durable, applied);
  const bool news = !stream.acked_at || applied != stream.acked_applied || durable != stream.acked_durable ||
                    stream.released_bytes != stream.acked_released_bytes;
  if (!news) return;
  const bool nothing_left = pending_.empty() && !engine_busy;
  const bool much = stream.released_bytes - stream.acked_released_bytes >= options_.ack_bytes_max;
  if (stream.acked_at && !nothing_left && !much && now - *stream.acked_at < options_.ack_every) {
    return out_->wake(*stream.acked_at + options_.ack_every);
  }
  stream.acked_applied = applied;
  stream.acked_durable = durable;
  stream.acked_released_bytes = stream.released_bytes;
  stream.acked_at = now;
  out_->send(stream.token, LogAck{applied, durable, stream.released_bytes});
}

std::optional<Lsn> LogFollow::last_lsn() const {
  if (!begun()) return std::nullopt;
  return stream_->order->last_lsn();
}

// --- frames --------------------------------------------------------------------------------------------------------

Result<void> LogFollow::on_begin(const LogBegin& begin, const Position& position) {
  if (begin.from > position.applied_lsn) return MirrorError::protocol_violation("the log begins after a gap");
  if (begin.from < position.last_entry.lsn)
    return MirrorError::protocol_violation("the log begins before the last entry applied");
  stream_->order.emplace(begin.from, options_.entry_bytes_max, *fragments_);
  if (begin.from < position.applied_lsn) stream_->step_back_to = begin.from;
  retry_.clear();
  return {};
}

void LogFollow::accept(AcceptedBatch batch, std::uint64_t units) {
  batch.units = units;
  held_.units += units;
  if (batch.count > 0) {
    batch.leases = leases_.take();
  } else {
    // However many come, what only moves the LSN is one.
    batch.keep.reset();
    if (!pending_.empty() && pending_.back().count == 0) {
      pending_.back().last_lsn = batch.last_lsn;
      pending_.back().origin_lsn = batch.origin_lsn;
      pending_.back().units += units;
      return;
    }
  }
  held_.fragment_bytes += batch.fragment_bytes;
  ++held_.items;
  pending_.push_back(std::move(batch));
}

Result<void> LogFollow::on_batch(const LogBatch& batch, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> data, FlowControl& flow) {
  if (crosslink::crc32c(data) != batch.crc32c) return MirrorError::protocol_violation("a batch does not have its CRC");
  auto raw = data;
  if (batch.codec == codec_zstd && options_.zstd) {
    auto unpacked = zstd_decompress(data, static_cast<std::size_t>(batch.raw_bytes));
    if (!unpacked) return unpacked.error();
    auto owned = std::make_shared<const std::vector<std::byte>>(*std::move(unpacked));
    raw = *owned;
    keep = std::move(owned);
  } else if (batch.codec != codec_none || batch.raw_bytes != data.size()) {
    return MirrorError::protocol_violation("a batch has a codec that was not agreed, or another size");
  }
  auto accepted = stream_->order->on_batch(batch, std::move(keep), raw);
  if (!accepted) return accepted.error();
  const auto units = std::max<std::uint64_t>(batch.raw_bytes, data.size());
  if (auto taken = flow.take_in(units); !taken) return taken;
  accept(*std::move(accepted), units);
  return {};
}

Result<void> LogFollow::on_fragment(const EntryFragment& fragment, std::span<const std::byte> data, FlowControl& flow) {
  if (crosslink::crc32c(data) != fragment.crc32c)
    return MirrorError::protocol_violation("a fragment does not have its CRC");
  const bool holds_cap = makes(Mistake::oversize_entry_holds_cap);
  if (holds_cap) {
    if (auto taken = flow.take_in(data.size()); !taken) return taken;
    held_.units += data.size();
  }
  auto taken = stream_->order->on_fragment(fragment, data);
  if (!taken) return taken.error();
  // Stored: it counts no more, so that an entry larger than the cap passes.
  if (!holds_cap) {
    stream_->released_bytes += data.size();
    flow.pass(data.size());
  }
  if (!taken->whole) return {};
  if (holds_cap) held_.units -= std::min(held_.units, fragment.total_bytes);
  accept(*std::move(taken->whole), holds_cap ? fragment.total_bytes : 0);
  return {};
}

void LogFollow::skip_to(Lsn head) {
  pending_.push_back({stream_->order->last_lsn(), head, 0, nullptr, {}, {}, {}, 0});
  stream_->order.emplace(head, options_.entry_bytes_max, *fragments_);
}

// --- the engine ----------------------------------------------------------------------------------------------------

void LogFollow::take(AcceptedBatch batch, const Position& position, const History& incarnations) {
  if (applying_.empty()) applying_to_ = position;
  applying_to_.applied_lsn = batch.last_lsn;
  if (batch.last_entry) applying_to_.last_entry = *batch.last_entry;
  applying_to_.origin_lsn = batch.origin_lsn.value_or(batch.last_lsn);
  applying_to_.incarnation = incarnations.incarnation_at(batch.last_lsn);
  applying_.push_back(std::move(batch));
}

std::optional<mirror_action::Apply> LogFollow::next_group(const Position& position, std::optional<Lsn> limit,
                                                          const History& incarnations) {
  applying_.clear();
  std::uint64_t bytes = 0;
  while (!pending_.empty() && bytes < options_.group_bytes_max) {
    auto& next = pending_.front();
    if (limit && next.prev_lsn >= *limit) break;
    if (limit && next.last_lsn > *limit) {
      auto [before, after] = cut_batch(std::move(next), *limit);
      if (before.origin_lsn) before.origin_lsn = (applying_.empty() ? position : applying_to_).origin_lsn;
      next = std::move(after);
      ++held_.items;
      take(std::move(before), position, incarnations);
      break;
    }
    bytes += next.entries.size();
    auto whole = std::move(next);
    pending_.pop_front();
    take(std::move(whole), position, incarnations);
  }
  if (applying_.empty()) return std::nullopt;
  mirror_action::Apply apply;
  for (auto& batch : applying_) {
    if (!batch.entries.empty()) apply.group.entries.push_back(batch.entries);
    apply.leases.insert(apply.leases.end(), batch.leases.begin(), batch.leases.end());
  }
  apply.batches = applying_;
  apply.group.position = makes(Mistake::position_outside_group) ? position : applying_to_;
  return apply;
}

void LogFollow::on_applied() {
  for (const auto& batch : applying_) {
    if (stream_) stream_->released_bytes += batch.units;
    held_.units -= batch.units;
    held_.fragment_bytes -= batch.fragment_bytes;
    --held_.items;
  }
  applying_.clear();
}

void LogFollow::on_apply_failed(bool again) {
  if (again) {
    pending_.insert(pending_.begin(), applying_.begin(), applying_.end());
  } else {
    pending_.clear();  // it stands on what failed
  }
  applying_.clear();
  recount();
}

void LogFollow::forget_pending() {
  pending_.clear();
  leases_.forget();
  recount();
}

void LogFollow::recount() {
  held_ = {};
  const auto count = [this](const AcceptedBatch& batch) {
    held_.units += batch.units;
    held_.fragment_bytes += batch.fragment_bytes;
    ++held_.items;
  };
  std::ranges::for_each(pending_, count);
  std::ranges::for_each(applying_, count);
}

}  // namespace crosslink::core::mirror
