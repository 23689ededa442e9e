// A verify at a mirror: both sides come to one LSN, then compare what they have there. docs/protocol.md, "Verify".
//
//   drain -> ask -> reach -> compare -> over
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "session/mirror/outbox.hpp"
#include "session/verify_compare.hpp"

namespace crosslink::core::mirror {

class VerifyRun {
 public:
  /// `deadline`: for coming to one LSN, and for the other side's frames; an answer may take 20 times as long, as either
  /// side may have to read all of a large database for it.
  VerifyRun(Outbox& out, Duration deadline) : out_(&out), deadline_(deadline) {}

  void start(StreamToken token, Instant now);
  bool running() const { return run_.has_value(); }
  bool is(StreamToken token) const { return run_ && run_->token == token; }
  /// The mirror's log is applied no further until both sides are at one LSN. Absent: no limit.
  std::optional<Lsn> apply_limit(Lsn applied) const;
  /// `engine_busy`: a call is under way; where the mirror is may change.
  void advance(Lsn applied, bool engine_busy, bool link_up, Instant now);

  /// A frame of its stream. Errors (peer): ProtocolViolation.
  Result<void> on_frame(const SessionMessage& message, Lsn applied, bool link_up, Instant now);
  /// Answers of the engine.
  void on_digest(Question question, Result<RangeDigest::Answer> answer, bool link_up);
  void on_keys(Question question, Result<Keys::Answer> answer, bool link_up);

  /// The engine is to open a view now; view_asked() when it was asked.
  bool wants_view() const { return run_ && run_->view == View::wanted; }
  void view_asked() { run_->view = View::asked; }
  /// It did, or could not. What nothing waits for any more is closed.
  void on_view();
  void on_view_failed(const MirrorError& error, bool link_up);

  /// `tell_source`: it does not know yet. What differs already differs, whatever was not compared.
  void break_off(std::string reason, bool tell_source, bool link_up);
  /// Of the last one; absent: none has ended since the last call, or start().
  std::optional<VerifyResult> take_result() { return std::exchange(result_, std::nullopt); }
  /// The last one said that both sides are equal; once.
  bool take_equal() { return std::exchange(equal_, false); }

 private:
  enum class Phase : std::uint8_t { drain, ask, reach, compare };
  enum class View : std::uint8_t { none, wanted, asked, open };
  struct Run {
    StreamToken token = 0;
    Phase phase = Phase::drain;
    Instant by;
    std::optional<Lsn> at;
    View view = View::none;
    VerifyCompare compare;
    Question question = 0;
    std::optional<RangeDigest::Answer> source_digest, mirror_digest;
    std::optional<Keys::Answer> source_keys, mirror_keys;
  };
  void wait_for_answers(Instant now);
  void compare_next(bool link_up);
  void compare_answers(bool link_up);
  void end(VerifyResult result, bool tell_source, bool link_up);

  Outbox* out_;
  Duration deadline_;
  Question last_question_ = 0;  ///< never used again: a late answer to an earlier verify is none to this one
  std::optional<Run> run_;
  std::optional<VerifyResult> result_;
  bool equal_ = false;
};

}  // namespace crosslink::core::mirror
