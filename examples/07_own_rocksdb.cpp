// A program that owns a RocksDB offers it to mirrors: offer() is all it takes.
//
//   (certificates as for 01)
//   07_own_rocksdb certs
#include <rocksdb/db.h>

#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "offered_database.hpp"

using namespace crosslink;
using namespace example;

// What a program of yours keeps beside its database while it is offered. Members go in reverse order.
struct Offer {
  boost::asio::thread_pool engine_threads{1};
  std::unique_ptr<RocksdbSource> engine;
  std::unique_ptr<DatabaseSource> source;
  std::unique_ptr<MirrorAcceptor> acceptor;
};

Result<std::unique_ptr<Offer>> offer(rocksdb::DB& database, const std::string& beside, quic::Endpoint endpoint,
                                     const std::string& certificates) {
  auto offered = std::make_unique<Offer>();
  RocksdbSourceOptions options;
  options.folder = beside;
  auto engine = RocksdbSource::open(database, options);
  if (!engine) return engine.error();
  offered->engine = *std::move(engine);
  DatabaseSourceOptions named;
  named.name = "prod-us/orders";
  offered->source = std::make_unique<DatabaseSource>(*offered->engine, offered->engine.get(),
                                                     offered->engine_threads.get_executor(), named);
  quic::ServerConfig config;
  config.tls = files(certificates, "prod-us");
  auto listener = endpoint.listen({boost::asio::ip::make_address("127.0.0.1"), 0}, config);
  if (!listener) return listener.error();
  SourcePolicy policy;
  policy.cluster_id = ClusterId("prod-us");
  policy.authorize = [](std::span<const std::string> names, const DatabaseId&) { return names.front() == "eu-1"; };
  policy.database_exists = [](const DatabaseId& name) { return name.str() == "orders"; };
  offered->acceptor = std::make_unique<MirrorAcceptor>(
      *std::move(listener), policy, AcceptorLimits{},
      [source = offered->source.get()](AcceptedMirror& mirror) { return source->serve(mirror); });
  return offered;
}

awaitable<void> serve(MirrorAcceptor& acceptor) {
  auto end = co_await acceptor.run();
  if (!end) std::cerr << end.error().message() << "\n";
}

// The database as its owner opens it, with the one line that mirroring needs.
std::unique_ptr<rocksdb::DB> open_orders(const std::string& folder) {
  rocksdb::Options options;
  options.create_if_missing = true;
  RocksdbSource::prepare(options);
  rocksdb::DB* database = nullptr;
  auto status = rocksdb::DB::Open(options, folder, &database);
  if (!status.ok()) std::cerr << status.ToString() << "\n";
  return std::unique_ptr<rocksdb::DB>(database);
}

awaitable<void> show(rocksdb::DB& orders, Offer& offered, Mirror& mirror, RocksdbDatabase& copy) {
  co_await wait_until([&] { return mirror.status().kind == StatusKind::Following; });
  std::cout << "bootstrapped: order 1 is " << copy.get("order 1")->value_or("missing") << "\n";
  orders.Put({}, "order 2", "one pear");
  orders.Delete({}, "order 1");
  const Lsn lsn{orders.GetLatestSequenceNumber()};
  co_await wait_until([&] { return has_applied(mirror, lsn); });
  std::cout << "followed: order 1 is " << copy.get("order 1")->value_or("gone") << ", order 2 is "
            << copy.get("order 2")->value_or("missing") << "\n";
  auto verified = co_await mirror.verify();
  std::cout << "verify: " << (verified ? to_string(verified->outcome) : verified.error().message()) << "\n";
  mirror.stop();
  offered.acceptor->stop();
}

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: " << argv[0] << " CERTS_FOLDER\n", 2;
  TemporaryFolder folder;
  auto orders = open_orders(folder.path() + "/orders");
  if (!orders) return 1;
  orders->Put({}, "order 1", "two apples");

  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return std::cerr << endpoint.error().message() << "\n", 1;
  auto offered = offer(*orders, folder.path() + "/beside", *endpoint, argv[1]);
  if (!offered) return std::cerr << offered.error().message() << "\n", 1;

  // The mirror, in a program of its own elsewhere.
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(1);
  RocksdbOptions options;
  options.folder = folder.path() + "/copy";
  auto copy = RocksdbDatabase::open_mirror(options);
  if (!copy) return std::cerr << copy.error().message() << "\n", 1;
  auto address = "127.0.0.1:" + std::to_string((*offered)->acceptor->local_address().port());
  auto mirror = make_mirror(*endpoint, address, argv[1], **copy, engine_threads.get_executor());

  boost::asio::co_spawn(context, serve(*(*offered)->acceptor), rethrow);
  boost::asio::co_spawn(context, follow(*mirror), rethrow);
  boost::asio::co_spawn(context, show(*orders, **offered, *mirror, **copy), rethrow);
  context.run();
  return 0;
}
