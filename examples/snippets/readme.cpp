// The library part of README.md, compiled. tests/unit/core_public_headers.cpp compares the texts.
#include <rocksdb/db.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <iostream>
#include <memory>
#include <utility>

#include "crosslink/database_source.hpp"
#include "crosslink/link.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "crosslink/source.hpp"

namespace snippets::readme {

// [snippet of README.md]
using namespace crosslink;

// A link alone: dial, open streams, come back after a cut.
Task<void> stay_connected(quic::Endpoint endpoint, quic::ClientConfig config, Lsn last_applied) {
  CrossClusterLink link(ClusterId("prod-us"), DatabaseId("orders"), "prod-us.example:7400", endpoint, config);
  auto ack = co_await link.connect(last_applied);  // a refusal returns at once, with its reason
  while (ack) {
    auto stream = co_await link.open_bidi_stream();  // and so on, until something fails
    ack = co_await link.schedule_reconnect(last_applied);
  }
  co_return ack.error();  // what no retry can mend
}
// [end of snippet]

// [snippet of README.md]
// A mirror of the database prod-us/orders, in RocksDB in the folder "copy".
int mirror_orders(boost::asio::io_context& context, boost::asio::any_io_executor engine_threads,
                  std::unique_ptr<CrossClusterLink> link) {
  auto copy = RocksdbDatabase::open_mirror({.folder = "copy"});
  if (!copy) return std::cerr << copy.error().message() << "\n", 1;
  Mirror mirror(std::move(link), **copy, copy->get(), engine_threads, {.name = "eu-1/orders"});
  boost::asio::co_spawn(context, mirror.run(), boost::asio::detached);  // bootstraps, follows, reconnects
  context.run();
  return 0;
}

// Beside it, at any time.
Task<void> move_over(Mirror& mirror) {
  std::cout << to_string(mirror.status().kind) << ": " << mirror.status().reason << "\n";
  auto verified = co_await mirror.verify();  // equal to its source, at one LSN
  if (!verified) co_return verified.error();
  auto promoted = co_await mirror.promote();  // takes writes now
  if (!promoted) co_return promoted.error();
  co_return Result<void>{};
}
// [end of snippet]

// [snippet of README.md]
// A RocksDB that your program owns and goes on writing to, offered to mirrors. It is opened after
// RocksdbSource::prepare(options), every time.
Task<void> offer_orders(rocksdb::DB& database, boost::asio::any_io_executor engine_threads, quic::Listener listener,
                        SourcePolicy who_may) {
  auto engine = RocksdbSource::open(database, {.folder = "orders-mirroring"});
  if (!engine) co_return engine.error();
  DatabaseSource orders(**engine, engine->get(), engine_threads, {.name = "prod-us/orders"});
  MirrorAcceptor acceptor(std::move(listener), who_may, AcceptorLimits{},
                          [&](AcceptedMirror& mirror) { return orders.serve(mirror); });
  auto ended = co_await acceptor.run();
  co_return ended;
}
// [end of snippet]

}  // namespace snippets::readme
