#include "sim/operator.hpp"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <utility>

#include "sim/events.hpp"

namespace crosslink::sim {

void Operator::command(const std::string& of, Command command, Time patience) {
  const auto caller = std::make_shared<Caller>();
  world_->after(patience, [caller] { caller->left = true; });
  ++running_;
  boost::asio::co_spawn(context_, carry_out(of, std::move(command), caller), [this](std::exception_ptr failed) {
    --running_;
    if (failed) std::rethrow_exception(failed);
  });
  poll();
}

awaitable<void> Operator::carry_out(std::string of, Command command, std::shared_ptr<Caller> caller) {
  constexpr Time look_every{50'000}, end_max{120'000'000};
  const auto waits_since = world_->now();
  auto taking = turns_.take(of, {[caller] { return caller->left; }});
  const auto turn = co_await std::move(taking);
  if (!turn) {
    world_->tell(fmt::format("{}: operator: {}, dropped: he has left", of, command.what));
    world_->happened(event::dropped_command);
    co_return;
  }
  if (caller->left) throw Violation(fmt::format("{}: {} takes effect after its caller has left", of, command.what));
  if (world_->now() > waits_since) world_->happened(event::command_waited);
  command.begin();
  const auto begun = world_->now();
  auto pause = pause_for(command.takes);
  for (;;) {
    async::Signal::Heard heard = 0;
    auto waiting = pause->over.wait(heard);
    co_await std::move(waiting);
    if (!command.ended || command.ended()) break;
    if (world_->now() - begun > end_max) throw Violation(fmt::format("{}: {} does not end", of, command.what));
    pause = pause_for(look_every);
  }
}

std::shared_ptr<Operator::Pause> Operator::pause_for(Time time) {
  auto pause = std::make_shared<Pause>();
  world_->after(time, [this, pause] {
    pause->over.notify();
    poll();
  });
  return pause;
}

void Operator::poll() {
  context_.restart();
  context_.poll();
}

}  // namespace crosslink::sim
