// `crosslink serve`: a node.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <sys/resource.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/connection_options.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "node/config.hpp"
#include "node/config_check.hpp"
#include "node/engine_threads.hpp"
#include "node/log.hpp"
#include "node/node.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::cli {
namespace {

/// As many descriptors as the system lets us have: each client takes one.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    node::log(node::Severity::warning, "the limit of open files could not be raised", {});
}

node::Severity severity_of(LogLevel level) {
  switch (level) {
    case LogLevel::error: return node::Severity::error;
    case LogLevel::warning: return node::Severity::warning;
    case LogLevel::info: return node::Severity::info;
    case LogLevel::debug: return node::Severity::debug;
  }
  return node::Severity::info;
}

void reload(node::Node& served, const std::string& file) {
  const auto config = node::load_config(file);
  const auto reloaded = config ? served.reload(*config) : Result<std::vector<std::string>>(config.error());
  served.note_reload(reloaded);
  if (reloaded && reloaded->empty()) return node::log(node::Severity::info, "reloaded", {{"config", file}});
  if (reloaded) {
    return node::log(node::Severity::warning, "reloaded, but for what takes a restart",
                     {{"config", file}, {"restart", fmt::format("{}", fmt::join(*reloaded, ", "))}});
  }
  node::log(node::Severity::error,
            config ? "the lists hold, and the certificates were not reloaded" : "nothing was reloaded",
            {{"config", file}, {"message", reloaded.error().message()}});
}

/// Until `signals` is cancelled.
awaitable<void> reload_on_hangup(boost::asio::signal_set& hangups, node::Node& served, const std::string& file) {
  constexpr auto tuple_of = boost::asio::as_tuple(boost::asio::use_awaitable);
  for (;;) {
    const auto [error, signal] = co_await hangups.async_wait(tuple_of);
    if (error) co_return;
    reload(served, file);
  }
}

awaitable<int> serve(const Globals& globals, const std::string& file, const node::NodeConfig& config,
                     quic::Endpoint endpoint) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::signal_set signals(executor, SIGINT, SIGTERM);
  auto resolving = quic::resolve(config.mirrors);
  const auto mirrors = co_await std::move(resolving);
  if (!mirrors) co_return report_error(globals, mirrors.error());
  if (const auto good = node::check_config(config, *mirrors); !good) co_return report_error(globals, good.error());
  auto opened = node::Node::open(config, std::move(endpoint), *mirrors, executor);
  if (!opened) co_return report_error(globals, opened.error());
  auto& served = **opened;
  signals.async_wait([&served](boost::system::error_code error, int signal) {
    if (error) return;
    node::log(node::Severity::info, "stopping", {{"signal", fmt::format("{}", signal)}});
    served.stop();
  });
  boost::asio::signal_set hangups(executor, SIGHUP);
  co_spawn(executor, reload_on_hangup(hangups, served, file), boost::asio::detached);
  const auto mirrors_at = to_text(served.mirrors_address());
  const auto clients_at = served.clients_address();
  const auto admin_at = served.admin_address();
  if (globals.json()) {
    print_json({{"cluster_id", config.cluster_id},
                {"mirrors", mirrors_at},
                {"clients", clients_at},
                {"admin", admin_at},
                {"opening", served.opening()}});
  } else {
    const auto opening = served.opening();
    const auto rest =
        opening > 0 ? fmt::format("; {} database{} still to open", opening, opening == 1 ? "" : "s") : std::string();
    print_line(fmt::format("serving {}: mirrors at {}, clients at {}, commands at {}{}", config.cluster_id, mirrors_at,
                           clients_at, admin_at, rest));
  }
  const auto ended = co_await served.run();
  hangups.cancel();
  if (!ended) co_return report_error(globals, ended.error());
  node::log(node::Severity::info, "stopped");
  co_return exit_good;
}

/// Values, answers and entries are of megabytes and go soon. glibc would keep as many in each of its arenas as were ever
/// there at once, one of them for a few threads: from here on such memory goes back to the system at once.
void return_large_memory() {
  constexpr int large_bytes = 4 * 1024 * 1024, kept_bytes = 8 * 1024 * 1024;
  ::mallopt(M_MMAP_THRESHOLD, large_bytes);
  ::mallopt(M_TRIM_THRESHOLD, kept_bytes);  // which glibc else sets by the first
}

int run(const Globals& globals, const std::string& file) {
  return_large_memory();
  node::set_log_severity(severity_of(globals.log_level));
  const auto config = node::load_config(file);
  if (!config) return report_error(globals, config.error());
  raise_descriptor_limit();
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return report_error(globals, endpoint.error());
  node::answer_promptly();
  return run_to_end(context, serve(globals, file, *config, *std::move(endpoint)));
}

}  // namespace

void add_serve_verb(const Command& program) {
  auto file = std::make_shared<std::string>();
  const auto verb = program.add("serve", "Be a node: databases for clients of Redis, offered to other clusters");
  verb.option("--config", *file, "The node's config; `crosslink config generate` prints one").required();
  verb.footer("Example:\n  crosslink serve --config node.toml");
  verb.run([file](const Globals& globals) { return run(globals, *file); });
}

}  // namespace crosslink::cli
