// A node that is killed at a step: node_host CONFIG STEP. Else as `crosslink serve --config CONFIG`.
//   node_host CONFIG STEP SECONDS   says in its log that it is at that step, takes so long there, as with a disk that is
//                                   busy, and goes on
#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "node/config.hpp"
#include "node/node.hpp"

namespace crosslink {
namespace {

struct AtStep {
  std::string name;
  std::optional<std::chrono::seconds> slow;  ///< absent: it is killed
};

awaitable<void> serve(const node::NodeConfig& config, quic::Endpoint endpoint, AtStep at_step, int& code) {
  auto executor = co_await boost::asio::this_coro::executor;
  auto resolving = quic::resolve(config.mirrors);
  const auto mirrors = co_await std::move(resolving);
  if (!mirrors) co_return;
  node::StepListener on_step = [at_step = std::move(at_step)](std::string_view step) {
    if (step != at_step.name) return;
    if (!at_step.slow) static_cast<void>(std::raise(SIGKILL));
    fmt::print(stderr, "at the step {}\n", step);
    std::this_thread::sleep_for(*at_step.slow);
  };
  auto opened = node::Node::open(config, std::move(endpoint), *mirrors, executor, std::move(on_step));
  if (!opened) {
    fmt::print(stderr, "{}\n", opened.error().message());
    co_return;
  }
  boost::asio::signal_set signals(executor, SIGTERM);
  signals.async_wait([&served = **opened](boost::system::error_code error, int) {
    if (!error) served.stop();
  });
  const auto at = (*opened)->mirrors_address();
  const auto* const rest = (*opened)->opening() > 0 ? "; some still to open" : "";
  fmt::print("serving {}: mirrors at {}:{}, clients at {}, commands at {}{}\n", config.cluster_id,
             at.address().to_string(), at.port(), (*opened)->clients_address(), (*opened)->admin_address(), rest);
  std::fflush(stdout);
  auto running = (*opened)->run();
  const auto ended = co_await std::move(running);
  signals.cancel();
  code = ended ? 0 : 1;
}

int run(const char* file, AtStep at_step) {
  const auto config = node::load_config(file);
  if (!config) {
    fmt::print(stderr, "{}\n", config.error().message());
    return 1;
  }
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return 1;
  boost::asio::io_context context(1);
  int code = 1;
  co_spawn(context, serve(*config, *std::move(endpoint), std::move(at_step), code), boost::asio::detached);
  context.run();
  return code;
}

}  // namespace
}  // namespace crosslink

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) return 2;
  crosslink::AtStep at_step{argv[2], std::nullopt};
  if (argc == 4) at_step.slow = std::chrono::seconds(std::atoi(argv[3]));
  return crosslink::run(argv[1], std::move(at_step));
}
