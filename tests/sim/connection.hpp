// A simulated QUIC connection: streams keep their order, not that between them; bytes arrive in pieces and late; a cut
// may fall at any byte. Both ends are told through callbacks, at times of their own.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "crosslink/frame.hpp"
#include "sim/world.hpp"

namespace crosslink::sim {

using Token = std::uint64_t;

/// What one end is told. A whole frame's payload is kept by `keep`.
struct EndCallbacks {
  std::function<void(Token, std::uint8_t kind, std::shared_ptr<const std::vector<std::byte>> payload)> on_frame;
  std::function<void(Token)> on_stream_end;
  std::function<void()> on_lost;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  enum End : std::size_t { mirror = 0, source = 1 };
  struct Weather {
    Time delay_min{500}, delay_max{3'000};  ///< one way, per piece
    double slow_piece = 0.0;                ///< chance that a piece takes 50 times as long
  };
  Connection(World& world, Weather weather, EndCallbacks of_mirror, EndCallbacks of_source);

  void send(End from, Token stream, std::vector<std::byte> bytes);
  /// The end of what `from` sends on the stream, after what was sent.
  void finish(End from, Token stream);
  /// `end` gives the stream up: hears nothing more of it; the other side is told after what was sent.
  void drop(End end, Token stream);
  /// `end` hears nothing more of the stream.
  void ignore(End end, Token stream);
  /// May frames of bulk streams (all but `control`) be taken? What comes meanwhile waits.
  void hold_bulk(End end, bool hold, Token control);
  /// Both ends lose it, each at its own time; of what is under way a part still arrives.
  void cut(Time notice_max);
  /// One end closes: the other learns of it after what was sent; this one hears nothing more.
  void close(End by);
  /// One end is gone without a word: the other notices after its idle timeout.
  void vanish(End end, Time idle_timeout);
  void set_weather(const Weather& weather) { weather_ = weather; }
  /// From now on both ends speak as if they were of a later version.
  void speak_of_the_future() { future_ = true; }
  bool standing() const { return standing_; }

 private:
  struct Pipe {
    Time last_arrival{0};
    FrameAssembler assembler{2 * 1024 * 1024};
    std::vector<std::vector<std::byte>> held;
    bool held_end = false;
  };
  void arrive(End to, Token stream, std::vector<std::byte> bytes);
  void let_go(End end);
  void take(End to, Token stream, std::span<const std::byte> bytes);
  Time arrival(Pipe& pipe);
  bool hears(End end, Token stream) const;

  World* world_;
  Weather weather_;
  std::array<EndCallbacks, 2> ends_;
  std::array<std::map<Token, Pipe>, 2> pipes_;  ///< by the receiving end
  std::array<std::map<Token, bool>, 2> dropped_;
  std::array<bool, 2> deaf_{false, false};
  std::array<bool, 2> holding_{false, false};
  Token control_ = 0;
  bool standing_ = true, cutting_ = false, future_ = false;
};

}  // namespace crosslink::sim
