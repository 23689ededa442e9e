// Operators of the simulated world. Their commands go through the node's own turns: one at a time for each database;
// who gave one may leave at any moment.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "node/hosting/command_turns.hpp"
#include "sim/world.hpp"

namespace crosslink::sim {

struct Command {
  std::string what;
  std::function<void()> begin;
  Time takes{0};                ///< its turn, at least
  std::function<bool()> ended;  ///< null: its turn ends when that has passed
};

class Operator {
 public:
  explicit Operator(World& world) : world_(&world) {}

  /// For the database `of`. Who gives it is gone after `patience`, whether it was begun or not.
  void command(const std::string& of, Command command, Time patience);
  /// No command waits or runs.
  bool idle() const { return running_ == 0; }

 private:
  struct Caller {
    bool left = false;
  };
  struct Pause {
    async::Signal over;
  };
  awaitable<void> carry_out(std::string of, Command command, std::shared_ptr<Caller> caller);
  std::shared_ptr<Pause> pause_for(Time time);
  void poll();

  World* world_;
  std::size_t running_ = 0;
  boost::asio::io_context context_;
  node::CommandTurns turns_;
};

}  // namespace crosslink::sim
