// A host of RocksDB databases for tests that kill processes. One database a process; orders come on standard input, one
// line each, each answered by one line.
//
//   rocksdb_host source FOLDER CERTS PORT      "write" begins and "rest" ends a load of commits; "facts"; "end"
//   rocksdb_host mirror FOLDER CERTS PORT      "facts"; "promote"; "end"
//   rocksdb_host dump FOLDER                   every key and value, by RocksDB alone
//
// "facts" are: status, applied (a source: head), bootstraps, commits, one after another.
#include <rocksdb/db.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fstream>
#include <future>
#include <iostream>
#include <random>
#include <thread>

#include "crosslink/database_source.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/source.hpp"

namespace {

using namespace crosslink;

constexpr int keys = 20'000;

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::cerr << to_string(result.error().kind()) << ": " << result.error().message() << std::endl;
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

RocksdbOptions options_of(const std::string& folder) {
  RocksdbOptions options;
  options.folder = folder;
  options.write_buffer_bytes = 2 * 1024 * 1024;  // WAL files and tables change often
  return options;
}

quic::TlsFiles files(const std::string& folder, const std::string& name) {
  return {folder + "/ca.pem", folder + "/" + name + ".pem", folder + "/" + name + ".key"};
}

void rethrow(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

/// Commits of one to twenty operations, every value written once only.
class Load {
 public:
  explicit Load(RocksdbDatabase& database) : database_(&database) {}
  void begin() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested())
        commit();
    });
  }
  void rest() { thread_ = {}; }
  std::uint64_t commits() const { return commits_; }

 private:
  void commit() {
    std::vector<std::string> texts;
    const auto count = 1 + random_() % 20;
    for (std::uint64_t i = 0; i < 2 * count; ++i)
      texts.push_back(key());
    std::vector<Operation> operations;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto what = random_() % 100;
      auto& one = texts[2 * i];
      auto& other = texts[2 * i + 1];
      if (what == 0 && one < other) {
        other = one + "5";  // few keys lie between
        operations.push_back(Operation::erase_range(one, other));
      } else if (what < 20) {
        operations.push_back(Operation::erase(one));
      } else {
        other = std::to_string(start_) + "-" + std::to_string(++written_) + std::string(random_() % 200, 'x');
        operations.push_back(Operation::put(one, other));
      }
    }
    must(database_->commit(operations));
    ++commits_;
  }
  std::string key() { return "key" + std::to_string(random_() % keys); }
  RocksdbDatabase* database_;
  std::mt19937_64 random_{std::random_device{}()};
  std::uint64_t start_ = random_() % 1'000'000'000, written_ = 0;
  std::atomic<std::uint64_t> commits_ = 0;
  std::jthread thread_;
};

int serve(const std::string& folder, const std::string& certificates, std::uint16_t port) {
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(2);
  const auto database = must(RocksdbDatabase::open_root(options_of(folder)));
  auto endpoint = must(quic::Endpoint::open());
  quic::ServerConfig config;
  config.tls = files(certificates, "prod-us");
  config.transport.idle_timeout = std::chrono::seconds(2);
  DatabaseSourceOptions options;
  options.name = "prod-us/orders";
  options.snapshots_per_minute_max = 1000;
  DatabaseSource source(*database, database.get(), engine_threads.get_executor(), options);
  SourcePolicy policy;
  policy.cluster_id = ClusterId("prod-us");
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [](const DatabaseId& name) { return name.str() == "orders"; };
  MirrorAcceptor acceptor(must(endpoint.listen({boost::asio::ip::make_address("127.0.0.1"), port}, config)), policy,
                          AcceptorLimits{}, [&](AcceptedMirror& mirror) { return source.serve(mirror); });
  boost::asio::co_spawn(context, [&]() -> awaitable<void> { static_cast<void>(co_await acceptor.run()); }, rethrow);
  std::jthread network([&] { context.run(); });
  Load load(*database);
  std::cout << "ready" << std::endl;
  for (std::string order; std::getline(std::cin, order) && order != "end";) {
    if (order == "write") load.begin();
    if (order == "rest") load.rest();
    std::cout << "Serving " << database->source_state().head.value << " 0 " << load.commits() << std::endl;
  }
  load.rest();
  acceptor.stop();
  return 0;
}

int follow(const std::string& folder, const std::string& certificates, const std::string& port) {
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(1);
  const auto database = must(RocksdbDatabase::open_mirror(options_of(folder)));
  quic::ClientConfig config;
  config.tls = files(certificates, "eu-1");
  config.transport.idle_timeout = std::chrono::seconds(2);
  auto link = std::make_unique<CrossClusterLink>(ClusterId("prod-us"), DatabaseId("orders"), "127.0.0.1:" + port,
                                                 must(quic::Endpoint::open()), config);
  MirrorOptions options;
  options.name = "eu-1/orders";
  Mirror mirror(std::move(link), *database, database.get(), engine_threads.get_executor(), options);
  boost::asio::co_spawn(context, [&]() -> awaitable<void> { must(co_await mirror.run()); }, rethrow);
  std::jthread network([&] { context.run(); });
  std::cout << "ready" << std::endl;
  for (std::string order; std::getline(std::cin, order) && order != "end";) {
    if (order == "promote") {
      std::promise<void> done;
      boost::asio::co_spawn(
          context,
          [&]() -> awaitable<void> {
            static_cast<void>(must(co_await mirror.promote()));
            done.set_value();
          },
          rethrow);
      done.get_future().wait();
    }
    const auto facts = mirror.facts();
    std::cout << to_string(mirror.status().kind) << " " << (facts.position ? facts.position->applied_lsn.value : 0)
              << " " << facts.bootstraps << " 0 " << mirror.status().reason << std::endl;
  }
  mirror.stop();
  return 0;
}

int dump(const std::string& folder) {
  std::string name;
  std::getline(std::ifstream(folder + "/live"), name);
  std::vector<std::string> families;
  const auto path = folder + "/" + name;
  if (!rocksdb::DB::ListColumnFamilies({}, path, &families).ok()) return 1;
  std::vector<rocksdb::ColumnFamilyDescriptor> described;
  for (const auto& family : families)
    described.emplace_back(family, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  if (!rocksdb::DB::OpenForReadOnly({}, path, described, &handles, &opened).ok()) return 1;
  const std::unique_ptr<rocksdb::DB> database(opened);
  {
    const std::unique_ptr<rocksdb::Iterator> pairs(database->NewIterator({}));
    for (pairs->SeekToFirst(); pairs->Valid(); pairs->Next())
      std::cout << pairs->key().ToString() << " " << pairs->value().ToString() << "\n";
    if (!pairs->status().ok()) return 1;
  }
  for (auto* handle : handles)
    static_cast<void>(database->DestroyColumnFamilyHandle(handle));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "dump") return dump(words[1]);
  if (words.size() == 4 && words[0] == "source")
    return serve(words[1], words[2], static_cast<std::uint16_t>(std::stoi(words[3])));
  if (words.size() == 4 && words[0] == "mirror") return follow(words[1], words[2], words[3]);
  std::cerr << "usage: see the head of this program's source\n";
  return 2;
}
