// What the small machines of a source's session share: the way out to the driver.
#pragma once

#include <utility>
#include <vector>

#include "core/source/actions.hpp"

namespace crosslink::core::source {

/// Actions in the order in which the driver is to carry them out.
class Outbox {
 public:
  void push(SourceAction action) { actions_.push_back(std::move(action)); }
  void send(StreamToken stream, const SessionMessage& message) {
    push(source_action::Send{stream, encode_message(message), nullptr, 0, 0});
  }
  void end_stream(StreamToken stream) { push(source_action::EndStream{stream}); }
  void wake(Instant at) { push(source_action::Wake{at}); }
  /// Never used again.
  Question next_question() { return ++last_question_; }
  std::vector<SourceAction> take() { return std::exchange(actions_, {}); }

 private:
  std::vector<SourceAction> actions_;
  Question last_question_ = 0;
};

}  // namespace crosslink::core::source
