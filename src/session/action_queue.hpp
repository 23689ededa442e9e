// The way out of a machine to its driver: actions in the order in which the driver is to carry them out.
#pragma once

#include <utility>
#include <vector>

#include "session/lag_tracker.hpp"

namespace crosslink::core {

/// For std::visit of actions: an action without a case does not compile.
template <class... Cases>
struct Visitor : Cases... {
  using Cases::operator()...;
};

/// `Wake`: the action that asks for a call of on_time().
template <class Action, class Wake>
class ActionQueue {
 public:
  void push(Action action) { actions_.push_back(std::move(action)); }
  void wake(Instant at) { push(Wake{at}); }
  std::vector<Action> take() { return std::exchange(actions_, {}); }

 private:
  std::vector<Action> actions_;
};

}  // namespace crosslink::core
