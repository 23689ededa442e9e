// SendThrottle: a sender that never has more than a cap in flight, and a receiver that lets go.
//
//   02_throttle
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <iostream>

#include "crosslink/throttle.hpp"

using namespace crosslink;

constexpr std::uint64_t frame_bytes = 100;
constexpr int frames = 50;

struct Wire {
  std::deque<SendThrottle::Ticket> frames;
  std::uint64_t most_in_flight = 0;
  bool ended = false;
};

// The sender charges before each frame. The cap is tested between frames only, so a frame always goes whole.
awaitable<void> send(SendThrottle throttle, Wire& wire) {
  for (int i = 0; i < frames; ++i) {
    auto room = co_await throttle.wait_for_resume();
    if (!room) break;
    wire.frames.push_back(throttle.charge(frame_bytes));
    wire.most_in_flight = std::max(wire.most_in_flight, throttle.in_flight());
  }
  wire.ended = true;
}

// The receiver lets go of what it has applied. Copies of a throttle share one counter.
awaitable<void> receive(SendThrottle throttle, Wire& wire, int& received) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer applying(executor);
  while (!wire.ended || !wire.frames.empty()) {
    applying.expires_after(std::chrono::milliseconds(1));
    co_await applying.async_wait(boost::asio::use_awaitable);
    while (!wire.frames.empty()) {
      throttle.ack(wire.frames.front());
      wire.frames.pop_front();
      ++received;
    }
  }
}

int main() {
  boost::asio::io_context context(1);
  SendThrottle throttle(1000);  // 1000 bytes in flight; the default is 64 MiB
  Wire wire;
  int received = 0;
  int failed = 0;
  const auto ended = [&failed](std::exception_ptr error) { failed += error ? 1 : 0; };
  boost::asio::co_spawn(context, send(throttle, wire), ended);
  boost::asio::co_spawn(context, receive(throttle, wire, received), ended);
  context.run();
  std::cout << "received " << received << " frames, at most " << wire.most_in_flight << " of " << throttle.cap()
            << " bytes in flight, " << throttle.in_flight() << " at the end\n";

  // A reset starts a new stretch: what was charged before it no longer counts.
  const auto old = throttle.charge(500);
  throttle.reset();
  const auto fresh = throttle.charge(70);
  throttle.ack(old);
  std::cout << "after a reset: " << throttle.in_flight() << " bytes in flight\n";
  throttle.ack(fresh);
  return failed == 0 && throttle.in_flight() == 0 ? 0 : 1;
}
