// A node that is killed at a step: node_host CONFIG STEP. Else as `crosslink serve --config CONFIG`.
#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "node/config.hpp"
#include "node/node.hpp"

namespace crosslink {
namespace {

awaitable<void> serve(const node::NodeConfig& config, quic::Endpoint endpoint, std::string killed_at, int& code) {
  auto executor = co_await boost::asio::this_coro::executor;
  auto resolving = quic::resolve(config.mirrors);
  const auto mirrors = co_await std::move(resolving);
  if (!mirrors) co_return;
  node::StepListener on_step = [killed_at = std::move(killed_at)](std::string_view step) {
    if (step == killed_at) static_cast<void>(std::raise(SIGKILL));
  };
  auto opened = node::Node::open(config, std::move(endpoint), *mirrors, executor, std::move(on_step));
  if (!opened) {
    fmt::print(stderr, "{}\n", opened.error().message());
    co_return;
  }
  const auto at = (*opened)->mirrors_address();
  fmt::print("serving {}: mirrors at {}:{}, clients at {}, commands at {}\n", config.cluster_id,
             at.address().to_string(), at.port(), (*opened)->clients_address(), (*opened)->admin_address());
  std::fflush(stdout);
  auto running = (*opened)->run();
  const auto ended = co_await std::move(running);
  code = ended ? 0 : 1;
}

int run(const char* file, const char* killed_at) {
  const auto config = node::load_config(file);
  if (!config) {
    fmt::print(stderr, "{}\n", config.error().message());
    return 1;
  }
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return 1;
  boost::asio::io_context context(1);
  int code = 1;
  co_spawn(context, serve(*config, *std::move(endpoint), killed_at, code), boost::asio::detached);
  context.run();
  return code;
}

}  // namespace
}  // namespace crosslink

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return crosslink::run(argv[1], argv[2]);
}
