// What the small machines of a source's session share: the way out to the driver.
#pragma once

#include "session/action_queue.hpp"
#include "session/source/actions.hpp"

namespace crosslink::core::source {

class Outbox : public ActionQueue<SourceAction, source_action::Wake> {
 public:
  void send(StreamToken stream, const SessionMessage& message) {
    push(source_action::Send{stream, encode_message(message), nullptr, 0, 0});
  }
  void end_stream(StreamToken stream) { push(source_action::EndStream{stream}); }
  /// Never used again.
  Question next_question() { return ++last_question_; }

 private:
  Question last_question_ = 0;
};

}  // namespace crosslink::core::source
