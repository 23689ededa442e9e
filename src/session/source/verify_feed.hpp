// A mirror's verify at the source: the view that both compare, and its questions.
#pragma once

#include <optional>

#include "session/source/outbox.hpp"

namespace crosslink::core::source {

class VerifyFeed {
 public:
  /// `out` must outlive this.
  explicit VerifyFeed(Outbox& out) : out_(&out) {}

  void open(StreamToken stream);
  void close();
  bool is_open() const { return verify_.has_value(); }
  bool is(StreamToken stream) const { return verify_ && verify_->token == stream; }
  StreamToken token() const { return verify_->token; }
  bool waits_for(Question question) const { return verify_ && verify_->asked == question; }

  /// A frame of its stream. False: it is not allowed here.
  bool on_frame(const SessionMessage& message, Instant now);
  // Answers of the engine. Preconditions: waits_for(). The error ends the stream: the mirror is told.
  Result<void> on_view(const Result<Lsn>& at, Instant now);
  Result<void> on_digest(Result<RangeDigest::Answer> answer, Instant now);
  Result<void> on_keys(Result<Keys::Answer> answer, Instant now);
  /// When the mirror or the engine last said something; absent: the engine is at it.
  std::optional<Instant> progress_at() const;

 private:
  struct Verify {
    StreamToken token = 0;
    std::optional<Question> asked;
    bool said_at = false, confirmed = false;  ///< our VerifyAt, the mirror's
    KeyRange range;                           ///< of the question
    Instant progress_at{};
  };
  void answered(Instant now);

  Outbox* out_;
  std::optional<Verify> verify_;
};

}  // namespace crosslink::core::source
