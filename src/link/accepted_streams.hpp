// The streams of an accepted mirror that have arrived but not been handed out.
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <optional>

#include "crosslink/source.hpp"
#include "link/frame_reader.hpp"

namespace crosslink {

struct AcceptedMirror::Streams {
  explicit Streams(const SourcePolicy& policy);

  /// Its request frame is on the way.
  struct Pending {
    Pending(quic::BidiStream arrived, std::chrono::steady_clock::time_point due);
    quic::BidiStream stream;
    link::FrameReader reader;
    std::chrono::steady_clock::time_point deadline;
  };
  /// Broke the rules: what it did, and where to say so.
  struct Broken {
    quic::BidiStream stream;
    MirrorError error;
  };

  const ClusterId cluster_id;
  const std::size_t pending_max;  ///< what the transport allows, so it is never reached by an honest count
  const std::chrono::milliseconds request_deadline;
  std::list<Pending> pending;
  std::deque<IncomingStream> ready;
  std::deque<Broken> broken;
  std::optional<Broken> violation;  ///< of the observer role: ends the connection
  std::optional<MirrorError> end;
  bool accepting = false;
};

}  // namespace crosslink
