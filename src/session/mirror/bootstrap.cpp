#include "session/mirror/bootstrap.hpp"

#include <fmt/format.h>

#include <utility>

namespace crosslink::core::mirror {

std::string_view to_string(BootstrapPhase phase) {
  switch (phase) {
    case BootstrapPhase::none: return "none";
    case BootstrapPhase::switched: return "switched";
    case BootstrapPhase::receiving: return "receiving";
    case BootstrapPhase::beginning: return "beginning";
    case BootstrapPhase::dropping: return "dropping";
    case BootstrapPhase::checking: return "checking";
    case BootstrapPhase::switching: return "switching";
  }
  return "";
}

std::string_view to_string(BootstrapEvent event) {
  switch (event) {
    case BootstrapEvent::wanted: return "wanted";
    case BootstrapEvent::resync: return "resync";
    case BootstrapEvent::new_snapshot: return "new_snapshot";
    case BootstrapEvent::begun: return "begun";
    case BootstrapEvent::unusable: return "unusable";
    case BootstrapEvent::dropped: return "dropped";
    case BootstrapEvent::all_stored: return "all_stored";
    case BootstrapEvent::found_whole: return "found_whole";
    case BootstrapEvent::found_damaged: return "found_damaged";
    case BootstrapEvent::found_wrong: return "found_wrong";
    case BootstrapEvent::switched_in: return "switched_in";
    case BootstrapEvent::switch_failed: return "switch_failed";
    case BootstrapEvent::session_over: return "session_over";
    case BootstrapEvent::log_began: return "log_began";
    case BootstrapEvent::promoted: return "promoted";
  }
  return "";
}

void Bootstrap::want(std::string reason) {
  on(BootstrapEvent::wanted);
  reason_ = std::move(reason);
}

void Bootstrap::want_for_lost_log(bool after_switch, const MirrorError& why, Instant now) {
  if (!after_switch || phase_ != BootstrapPhase::switched || ++windows_lost_ < 2) return want(why.message());
  // Another snapshot would be too late as well.
  retry_.back_off(now, *out_);
  want(fmt::format("the source drops its log faster than a snapshot comes; its window must be larger: {}",
                   why.message()));
}

void Bootstrap::resync(bool link_up) {
  retry_.clear();
  drop_stream(link_up);
  forget_chunks();
  assembler_.on_stream_end();
  on(BootstrapEvent::resync);
  reason_ = "an operator asked for it";
}

void Bootstrap::ask_anew(bool link_up) {
  if (phase_ != BootstrapPhase::beginning) return;
  drop_stream(link_up);
  forget_chunks();
  assembler_.on_stream_end();
  on(BootstrapEvent::unusable);
}

void Bootstrap::on_log_begun() {
  on(BootstrapEvent::log_began);
  windows_lost_ = 0;
}

void Bootstrap::on_promoted() {
  on(BootstrapEvent::promoted);
  assembler_.on_dropped();
  forget_chunks();
}

// --- the stream ----------------------------------------------------------------------------------------------------

void Bootstrap::ask(StreamToken token, const std::vector<std::string>& formats) {
  stream_ = Stream{};
  stream_->token = token;
  stream_->acked_offset = assembler_.stored_bytes();
  out_->send(token, assembler_.request(formats));
}

void Bootstrap::drop_stream(bool link_up) {
  if (!stream_) return;
  if (link_up) out_->push(mirror_action::DropStream{stream_->token});
  stream_.reset();
  leases_.forget();
}

void Bootstrap::on_stream_end(Instant now) {
  stream_.reset();
  // After the last chunk its end is what comes next; before it, what is stored stays.
  if (assembler_.complete()) return;
  const bool judged = phase_ == BootstrapPhase::checking || phase_ == BootstrapPhase::switching;
  if (!judged && chunks_.empty() && !storing_) assembler_.on_stream_end();
  retry_.back_off(now, *out_);
}

void Bootstrap::on_session_end() {
  stream_.reset();
  leases_.forget();
  forget_chunks();
  on(BootstrapEvent::session_over);
  assembler_.on_stream_end();
}

void Bootstrap::on_failure(const MirrorError& error, bool link_up, Instant now) {
  drop_stream(link_up);
  reason_ = error.message();
  // Asked for again and again a source says that it was: what it is for is to be known as well.
  if (error.kind() != ErrorKind::Busy) {
    failed_with_ = reason_;
  } else if (!failed_with_.empty()) {
    reason_ += "; before that: " + failed_with_;
  }
  if (error.kind() == ErrorKind::SnapshotOffsetRegression) {
    forget_chunks();
    on(BootstrapEvent::unusable);
  }
  retry_.back_off(now, *out_);
}

void Bootstrap::forget_chunks() {
  chunks_.clear();
  waiting_bytes_ = 0;
}

// --- frames --------------------------------------------------------------------------------------------------------

Result<void> Bootstrap::on_begin(const SnapshotBegin& begin, const std::vector<std::string>& formats) {
  const auto how = assembler_.on_begin(begin, formats);
  if (!how) return how.error();
  stream_->begun = true;
  failed_with_.clear();
  stream_->acked_offset = begin.offset;
  resumed_at_ = begin.offset;
  if (*how == SnapshotAssembler::Begin::begin_anew) on(BootstrapEvent::new_snapshot);
  return {};
}

Result<void> Bootstrap::on_chunk(const SnapshotChunk& chunk, std::shared_ptr<const void> keep,
                                 std::span<const std::byte> data, FlowControl& flow) {
  const auto stored = assembler_.on_chunk(chunk, data);
  if (!stored) return stored.error();
  if (auto taken = flow.take_in(data.size()); !taken) return taken;
  waiting_bytes_ += data.size();
  chunks_.push_back({*stored, std::move(keep), data, leases_.take()});
  return {};
}

void Bootstrap::acknowledge(Duration every, std::uint64_t bytes_max, Instant now) {
  if (!begun() || phase_ == BootstrapPhase::beginning) return;
  const auto stored = assembler_.stored_bytes();
  if (stored <= stream_->acked_offset) return;
  const bool much = stored - stream_->acked_offset >= bytes_max;
  if (!chunks_.empty() && !much && now - stream_->acked_at < every) return out_->wake(stream_->acked_at + every);
  stream_->acked_offset = stored;
  stream_->acked_at = now;
  out_->send(stream_->token, SnapshotAck{stored});
}

// --- the engine ----------------------------------------------------------------------------------------------------

std::optional<NextCall> Bootstrap::next_call(bool halted) {
  if (phase_ == BootstrapPhase::dropping) return NextCall{call::DropSnapshot{}, mirror_action::DropSnapshot{}};
  if (phase_ == BootstrapPhase::beginning)
    return NextCall{call::BeginSnapshot{}, mirror_action::BeginSnapshot{assembler_.partial()->facts}};
  while (!chunks_.empty() && chunks_.front().bytes.empty()) {
    assembler_.on_stored(chunks_.front().chunk);
    chunks_.pop_front();
  }
  if (!chunks_.empty()) {
    auto next = std::move(chunks_.front());
    chunks_.pop_front();
    waiting_bytes_ -= next.bytes.size();
    storing_ = next.chunk;
    return NextCall{call::StoreChunk{},
                    mirror_action::StoreChunk{next.chunk, std::move(next.keep), next.bytes, std::move(next.leases)}};
  }
  if (halted) return std::nullopt;  // by the source, while it came: nothing would come of it but work
  if (phase_ == BootstrapPhase::switching)
    return NextCall{call::SwitchSnapshot{}, mirror_action::SwitchSnapshot{assembler_.consistent_lsn()}};
  if (assembler_.complete()) on(BootstrapEvent::all_stored);
  if (phase_ == BootstrapPhase::checking) return NextCall{call::CheckSnapshot{}, mirror_action::CheckSnapshot{}};
  return std::nullopt;
}

void Bootstrap::on_stored() {
  assembler_.on_stored(*storing_);
  storing_.reset();
  out_->push(mirror_action::Progress{});
}

/// Its bytes are no longer here: they are asked for again.
void Bootstrap::on_store_failed(bool link_up, Instant now) {
  drop_stream(link_up);
  assembler_.on_stream_end();
  storing_.reset();
  forget_chunks();
  retry_.back_off(now, *out_);
}

std::optional<MirrorError> Bootstrap::on_checked(const SnapshotCheck& check, bool link_up, Instant now) {
  if (phase_ == BootstrapPhase::dropping) return std::nullopt;  // asked for while it was being checked
  switch (assembler_.on_check(check)) {
    case SnapshotAssembler::Verdict::whole: on(BootstrapEvent::found_whole); return std::nullopt;
    case SnapshotAssembler::Verdict::cut_back:
      on(BootstrapEvent::found_damaged);
      reason_ = fmt::format("a stored part of the snapshot was damaged; it goes on at byte {}", *check.cut_back_to);
      drop_stream(link_up);
      return std::nullopt;
    case SnapshotAssembler::Verdict::drop:
      on(BootstrapEvent::found_wrong);
      reason_ = "the snapshot as a whole did not have its CRC and was dropped";
      drop_stream(link_up);
      retry_.back_off(now, *out_);
      return std::nullopt;
    case SnapshotAssembler::Verdict::give_up: break;
  }
  on(BootstrapEvent::found_wrong);
  drop_stream(link_up);
  const auto [said, given] = *assembler_.wrong_total();
  return MirrorError(
      ErrorKind::SnapshotCrcMismatch, CausedBy::peer,
      fmt::format("twice in a row a snapshot whose parts were good had CRC {:#010x} as a whole, not {:#010x}", given,
                  said),
      SnapshotCrcs{{}, said, given});
}

void Bootstrap::on_switched(bool link_up) {
  on(BootstrapEvent::switched_in);
  consistent_lsn_ = assembler_.consistent_lsn();
  ++switched_in_;
  retry_.clear();
  last_bytes_ = assembler_.stored_bytes();
  drop_stream(link_up);
  assembler_.on_dropped();
  forget_chunks();
}

void Bootstrap::on_dropped() {
  on(BootstrapEvent::dropped);
  assembler_.on_dropped();
}

Held Bootstrap::held() const { return {waiting_bytes_ + (storing_ ? storing_->bytes : 0), 0, chunks_.size()}; }

}  // namespace crosslink::core::mirror
