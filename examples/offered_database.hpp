// What examples 04 to 08 share: a database in memory in cluster prod-us, offered to mirrors on loopback, and a mirror.
#pragma once

#include <stdlib.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/source.hpp"

namespace example {

using namespace crosslink;

inline quic::TlsFiles files(const std::string& folder, const std::string& name) {
  return {folder + "/ca.pem", folder + "/" + name + ".pem", folder + "/" + name + ".key"};
}

inline void put(MemoryDatabase& database, const std::string& key, const std::string& value) {
  const std::array operations{Operation::put(key, value)};
  if (auto lsn = database.commit(operations); !lsn) std::cerr << lsn.error().message() << "\n";
}

// The source's side: one database, one listener, one acceptor that runs a session for each mirror.
class OfferedDatabase {
 public:
  static Result<std::unique_ptr<OfferedDatabase>> start(boost::asio::io_context& context, quic::Endpoint endpoint,
                                                        const std::string& folder,
                                                        boost::asio::any_io_executor engine_executor) {
    quic::ServerConfig config;
    config.tls = files(folder, "prod-us");
    auto listener = endpoint.listen({boost::asio::ip::make_address("127.0.0.1"), 0}, config);
    if (!listener) return listener.error();
    return std::unique_ptr<OfferedDatabase>(
        new OfferedDatabase(context, *std::move(listener), std::move(engine_executor)));
  }
  MemoryDatabase& engine() { return *engine_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(acceptor_->local_address().port()); }
  void stop() { acceptor_->stop(); }

 private:
  OfferedDatabase(boost::asio::io_context& context, quic::Listener listener,
                  boost::asio::any_io_executor engine_executor) {
    DatabaseSourceOptions options;
    options.name = "prod-us/orders";
    source_ = std::make_unique<DatabaseSource>(*engine_, engine_.get(), std::move(engine_executor), options);
    SourcePolicy policy;
    policy.cluster_id = ClusterId("prod-us");
    policy.authorize = [](std::span<const std::string> names, const DatabaseId&) { return names.front() == "eu-1"; };
    policy.database_exists = [](const DatabaseId& database) { return database.str() == "orders"; };
    acceptor_ = std::make_unique<MirrorAcceptor>(
        std::move(listener), policy, AcceptorLimits{},
        [source = source_.get()](AcceptedMirror& mirror) { return source->serve(mirror); });
    auto serve = [](MirrorAcceptor& acceptor) -> awaitable<void> {
      auto end = co_await acceptor.run();
      if (!end) std::cerr << end.error().message() << "\n";
    };
    boost::asio::co_spawn(context, serve(*acceptor_), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
  std::unique_ptr<MemoryDatabase> engine_ = MemoryDatabase::create();
  std::unique_ptr<DatabaseSource> source_;
  std::unique_ptr<MirrorAcceptor> acceptor_;
};

template <class Engine>
std::unique_ptr<Mirror> make_mirror(quic::Endpoint endpoint, const std::string& address, const std::string& folder,
                                    Engine& engine, boost::asio::any_io_executor engine_executor) {
  quic::ClientConfig config;
  config.tls = files(folder, "eu-1");
  auto link = std::make_unique<CrossClusterLink>(ClusterId("prod-us"), DatabaseId("orders"), address,
                                                 std::move(endpoint), config);
  MirrorOptions options;
  options.name = "eu-1/orders";
  return std::make_unique<Mirror>(std::move(link), engine, &engine, std::move(engine_executor), options);
}

// Looks until it is so. A program of yours would rather show status() to people and go on.
template <class Condition>
awaitable<void> wait_until(Condition condition) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor);
  while (!condition()) {
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

// What is not known yet (no data, no answer) is absent, not zero.
inline bool has_applied(const Mirror& mirror, Lsn lsn) {
  const auto position = mirror.facts().position;
  return position && position->applied_lsn >= lsn;
}

inline bool lag_below(const Mirror& mirror, std::chrono::milliseconds limit) {
  const auto lag = mirror.lag();
  return lag && *lag < limit;
}

// A folder for the time of the program.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "crosslink-example-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void rethrow(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

inline awaitable<void> follow(Mirror& mirror) {
  auto end = co_await mirror.run();
  if (!end) std::cerr << end.error().message() << "\n";
}

template <class Engine, class Work>
awaitable<void> drive(OfferedDatabase& source, Mirror& mirror, Engine& engine, Work work, int& exit_code) {
  auto working = work(source, mirror, engine);
  auto end = co_await std::move(working);
  if (!end) {
    std::cerr << to_string(end.error().kind()) << ": " << end.error().message() << "\n";
    exit_code = 1;
  }
  mirror.stop();
  source.stop();
}

// Runs `work` (a function of OfferedDatabase&, Mirror&, Engine& that returns Task<void>) beside both sides.
template <class Engine, class Work>
int run(int argc, char** argv, Engine& engine, Work work) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " CERTS_FOLDER\n";
    return 2;
  }
  const std::string folder = argv[1];
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(1);  // engines may block; the network's thread may not
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) {
    std::cerr << endpoint.error().message() << "\n";
    return 1;
  }
  auto source = OfferedDatabase::start(context, *endpoint, folder, engine_threads.get_executor());
  if (!source) {
    std::cerr << source.error().message() << "\n";
    return 1;
  }
  auto mirror = make_mirror(*endpoint, (*source)->address(), folder, engine, engine_threads.get_executor());
  int exit_code = 0;
  boost::asio::co_spawn(context, follow(*mirror), rethrow);
  boost::asio::co_spawn(context, drive(**source, *mirror, engine, work, exit_code), rethrow);
  context.run();
  return exit_code;
}

// The same with a copy in memory.
template <class Work>
int run(int argc, char** argv, Work work) {
  auto copy = MemoryDatabase::empty();
  return run(argc, argv, *copy, work);
}

}  // namespace example
