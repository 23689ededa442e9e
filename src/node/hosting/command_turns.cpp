#include "node/hosting/command_turns.hpp"

#include <boost/asio/this_coro.hpp>
#include <utility>

#include "session/mistakes.hpp"

namespace crosslink::node {

awaitable<CommandTurns::Held> CommandTurns::take(std::string database, CommandCaller caller) {
  auto& place = (*turns_)[database];
  if (!place) place = std::make_shared<Turn>();
  const auto turn = place;
  const auto mine = ++turn->last;
  async::Signal::Heard heard = 0;
  while (mine != turn->now) {
    // Cancelled: the command is begun all the same once it is its turn.
    const bool woken = co_await turn->freed.wait(heard);
    if (woken) continue;
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
  }
  auto held = Held(turn.get(), [turns = turns_, turn, database](void*) {
    ++turn->now;
    turn->freed.notify();
    if (turn->now > turn->last) turns->erase(database);
  });
  const bool abandoned = caller.gone && caller.gone();
  if (abandoned && !makes(core::Mistake::abandoned_command_begun)) held.reset();
  co_return held;
}

}  // namespace crosslink::node
