// The examples in the comments of public headers, compiled. tests/unit/core_public_headers.cpp compares the texts.
#include <rocksdb/db.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "crosslink/database_source.hpp"
#include "crosslink/etcd_engine.hpp"
#include "crosslink/link.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "crosslink/source.hpp"
#include "crosslink/throttle.hpp"

using namespace crosslink;

namespace snippets::headers {

template <class Engine>
void mirror(boost::asio::io_context& context, boost::asio::thread_pool& engine_threads, quic::Endpoint endpoint,
            quic::ClientConfig config, Engine& engine) {
  // [snippet of include/crosslink/mirror.hpp]
  auto link = std::make_unique<CrossClusterLink>(ClusterId("prod-us"), DatabaseId("orders"), "prod-us.example:7400",
                                                 endpoint, config);
  Mirror mirror(std::move(link), engine, &engine, engine_threads.get_executor(), {.name = "eu-1/orders"});
  boost::asio::co_spawn(context, mirror.run(), boost::asio::detached);
  context.run();  // until mirror.stop()
  // [end of snippet]
}
template void mirror(boost::asio::io_context&, boost::asio::thread_pool&, quic::Endpoint, quic::ClientConfig,
                     RocksdbDatabase&);
template void mirror(boost::asio::io_context&, boost::asio::thread_pool&, quic::Endpoint, quic::ClientConfig,
                     MemoryDatabase&);

Task<void> database_source(boost::asio::thread_pool& engine_threads, RocksdbDatabase& engine, quic::Listener listener,
                           SourcePolicy policy) {
  // [snippet of include/crosslink/database_source.hpp]
  DatabaseSource orders(engine, &engine, engine_threads.get_executor(), {.name = "prod-us/orders"});
  MirrorAcceptor acceptor(std::move(listener), policy, AcceptorLimits{},
                          [&](AcceptedMirror& mirror) { return orders.serve(mirror); });
  auto ended = co_await acceptor.run();
  // [end of snippet]
  co_return ended;
}

bool rocksdb_engine() {
  // [snippet of include/crosslink/rocksdb_engine.hpp]
  auto orders = RocksdbDatabase::open_root({.folder = "data/orders"});  // a root: takes writes
  auto copy = RocksdbDatabase::open_mirror({.folder = "data/copy"});    // to become, or go on as, a mirror
  // [end of snippet]
  return orders && copy;
}

bool rocksdb_source(boost::asio::thread_pool& engine_threads) {
  rocksdb::DB* database = nullptr;
  // [snippet of include/crosslink/rocksdb_source.hpp]
  rocksdb::Options options;
  RocksdbSource::prepare(options);  // before it is opened, every time
  auto opened = rocksdb::DB::Open(options, "orders", &database);
  auto source = RocksdbSource::open(*database, {.folder = "orders-mirroring"});
  DatabaseSource offered(**source, source->get(), engine_threads.get_executor(), {.name = "prod-us/orders"});
  // [end of snippet]
  return opened.ok() && source;
}

bool etcd_engine() {
  // [snippet of include/crosslink/etcd_engine.hpp]
  auto registry = EtcdDatabase::open_root({.cluster = {.endpoints = {"http://10.0.0.1:2379"}},
                                           .prefix = "/registry/",
                                           .crosslink_cluster = "prod-us",
                                           .folder = "data/registry"});
  auto copy = EtcdDatabase::open_mirror({.cluster = {.endpoints = {"http://10.1.0.1:2379"}},
                                         .folder = "data/copy",
                                         .name = "registry",
                                         .node = "eu-1-a"});
  // [end of snippet]
  return registry && copy;
}

Task<void> throttle(SendThrottle throttle, quic::SendStream stream, std::vector<std::byte> frame) {
  // [snippet of include/crosslink/throttle.hpp]
  auto may_send = co_await throttle.wait_for_resume();  // between frames only
  if (!may_send) co_return may_send;
  auto ticket = throttle.charge(frame.size());  // before the write
  auto written = co_await stream.write(quic::SendBuffer(std::move(frame)));
  // when the receiver says that it no longer holds it:
  throttle.ack(ticket);
  // [end of snippet]
  co_return written;
}

}  // namespace snippets::headers
