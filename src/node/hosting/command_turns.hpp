// One command at a time for each database: who comes while another runs waits for its end, in order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "async/signal.hpp"
#include "crosslink/awaitable.hpp"

namespace crosslink::node {

/// Who gave a command.
struct CommandCaller {
  /// Has the caller left? Asked before the command is begun. Null: no.
  std::function<bool()> gone;
};

/// On one thread.
class CommandTurns {
 public:
  /// Held until it goes. It may outlive the turns.
  using Held = std::shared_ptr<void>;

  /// Null: the caller left before it is begun, and it is not to be. Waiting is not cancelled otherwise.
  awaitable<Held> take(std::string database, CommandCaller caller = {});
  /// Does a command run, or wait?
  bool taken(const std::string& database) const { return turns_->contains(database); }

 private:
  struct Turn {
    std::uint64_t last = 0, now = 1;
    async::Signal freed;
  };
  /// Those that a command has or waits for.
  std::shared_ptr<std::map<std::string, std::shared_ptr<Turn>>> turns_ =
      std::make_shared<std::map<std::string, std::shared_ptr<Turn>>>();
};

}  // namespace crosslink::node
