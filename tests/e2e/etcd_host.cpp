// A host of databases in etcd (or beside one, in RocksDB) for tests of whole processes. One database a process; orders
// come on standard input, one line each, each answered by one line of NAME=VALUE words, the last of which may hold
// spaces.
//
//   etcd_host source|mirror etcd|rocksdb CERTS PORT FOLDER [NAME=VALUE ...]
//
// A source is cluster prod-us, a mirror of it is eu-1; both name the database registry. Names: endpoints (with commas),
// prefix, exclude, node, user, password_file, ca, cert, key, owner_s, kept (revisions at the target), deadline_ms,
// idle_s (of the link).
// It says "ready", or "error=KIND message=..." and ends when the database cannot be opened.
// Orders: facts; end; put KEY BYTES (rocksdb source); get KEY (rocksdb); and of a mirror: own, promote, pause, resume,
// resync, bandwidth BYTES_PER_S, verify.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "crosslink/database_source.hpp"
#include "crosslink/etcd_engine.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/source.hpp"

namespace {

using namespace crosslink;
using Names = std::map<std::string, std::string>;

template <class T>
std::string told(const Result<T>& result) {
  if (!result) return fmt::format("error={} message={}", to_string(result.error().kind()), result.error().message());
  return "error=";
}

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::cout << told(result) << std::endl;
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

quic::TlsFiles files(const std::string& folder, const std::string& name) {
  return {folder + "/ca.pem", folder + "/" + name + ".pem", folder + "/" + name + ".key"};
}

void rethrow(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

EtcdOptions etcd_options(const std::string& folder, Names names) {
  EtcdOptions options;
  std::istringstream endpoints(names["endpoints"]);
  for (std::string one; std::getline(endpoints, one, ',');)
    options.cluster.endpoints.push_back(one);
  options.cluster.ca_file = names["ca"];
  options.cluster.cert_file = names["cert"];
  options.cluster.key_file = names["key"];
  options.cluster.user = names["user"];
  options.cluster.password_file = names["password_file"];
  options.cluster.call_deadline =
      std::chrono::milliseconds(names.contains("deadline_ms") ? std::stoi(names["deadline_ms"]) : 30'000);
  if (names.contains("prefix")) options.prefix = names["prefix"];
  if (names.contains("exclude")) options.excludes = {names["exclude"]};
  if (names.contains("owner_s")) options.owner_lease = std::chrono::seconds(std::stoi(names["owner_s"]));
  if (names.contains("kept")) options.target_revisions_kept = std::stoull(names["kept"]);
  options.crosslink_cluster = "prod-us";
  options.folder = folder;
  options.name = "registry";
  options.node = names.contains("node") ? names["node"] : "eu-1-a";
  return options;
}

class Host {
 public:
  Host(bool source, const std::string& engine, const std::string& folder, const Names& names) {
    if (names.contains("idle_s")) idle_timeout_ = std::chrono::seconds(std::stoi(names.at("idle_s")));
    if (engine == "etcd") {
      const auto options = etcd_options(folder, names);
      etcd_ = must(source ? EtcdDatabase::open_root(options) : EtcdDatabase::open_mirror(options));
      source_engine_ = etcd_.get();
      mirror_engine_ = etcd_.get();
      verifiable_ = etcd_.get();
      return;
    }
    RocksdbOptions options;
    options.folder = folder;
    rocksdb_ = must(source ? RocksdbDatabase::open_root(options) : RocksdbDatabase::open_mirror(options));
    source_engine_ = rocksdb_.get();
    mirror_engine_ = rocksdb_.get();
    verifiable_ = rocksdb_.get();
  }

  void offer(const std::string& certificates, std::uint16_t port) {
    DatabaseSourceOptions options;
    options.name = "prod-us/registry";
    options.snapshots_per_minute_max = 1000;
    options.verifies_per_minute_max = 1000;
    source_ = std::make_unique<DatabaseSource>(*source_engine_, verifiable_, engine_threads_.get_executor(), options);
    quic::ServerConfig config;
    config.tls = files(certificates, "prod-us");
    config.transport.idle_timeout = idle_timeout_;
    SourcePolicy policy;
    policy.cluster_id = ClusterId("prod-us");
    policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
    policy.database_exists = [](const DatabaseId& name) { return name.str() == "registry"; };
    auto listener = must(endpoint_.listen({boost::asio::ip::make_address("127.0.0.1"), port}, config));
    acceptor_ = std::make_unique<MirrorAcceptor>(std::move(listener), policy, AcceptorLimits{},
                                                 [this](AcceptedMirror& mirror) { return source_->serve(mirror); });
    auto running = [](MirrorAcceptor& accepting) -> awaitable<void> { static_cast<void>(co_await accepting.run()); };
    boost::asio::co_spawn(context_, running(*acceptor_), rethrow);
  }

  void follow(const std::string& certificates, const std::string& port) {
    quic::ClientConfig config;
    config.tls = files(certificates, "eu-1");
    config.transport.idle_timeout = idle_timeout_;
    auto link = std::make_unique<CrossClusterLink>(ClusterId("prod-us"), DatabaseId("registry"), "127.0.0.1:" + port,
                                                   endpoint_, config);
    MirrorOptions options;
    options.name = "eu-1/registry";
    mirror_ = std::make_unique<Mirror>(std::move(link), *mirror_engine_, verifiable_, engine_threads_.get_executor(),
                                       options);
    boost::asio::co_spawn(context_, [this]() -> awaitable<void> { must(co_await mirror_->run()); }, rethrow);
  }

  int run() {
    std::jthread network([this] { context_.run(); });
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line) && line != "end";) {
      std::istringstream words(line);
      std::cout << answer(words) << std::endl;
    }
    if (mirror_) mirror_->stop();
    if (acceptor_) acceptor_->stop();
    return 0;
  }

 private:
  std::string facts();
  std::string put(const std::string& key, std::size_t bytes);
  std::string answer(std::istringstream& words);
  template <class Work>
  std::string wait_for(Work work);

  boost::asio::io_context context_{1};
  boost::asio::thread_pool engine_threads_{2};
  quic::Endpoint endpoint_ = must(quic::Endpoint::open());
  std::unique_ptr<EtcdDatabase> etcd_;
  std::unique_ptr<RocksdbDatabase> rocksdb_;
  SourceEngine* source_engine_ = nullptr;
  MirrorEngine* mirror_engine_ = nullptr;
  VerifiableEngine* verifiable_ = nullptr;
  std::unique_ptr<DatabaseSource> source_;
  std::unique_ptr<MirrorAcceptor> acceptor_;
  std::unique_ptr<Mirror> mirror_;
  std::chrono::seconds idle_timeout_{2};
};

std::string Host::facts() {
  const auto state = source_engine_->source_state();
  auto text = fmt::format("head={} oldest={} behind_ms={} ", state.head.value, state.oldest.value,
                          state.behind ? std::to_string(state.behind->count() / 1000) : "unknown");
  if (etcd_) {
    const auto counted = etcd_->counters();
    text += fmt::format("split={} external={} transactions={} version={} ", counted.split_revisions,
                        counted.external_writes, counted.transactions, counted.server_version);
  }
  if (!mirror_) return text + "status=Serving applied=0 bootstraps=0 reason=" + source_engine_->detail();
  const auto status = mirror_->status();
  const auto facts = mirror_->facts();
  const auto engine = mirror_engine_->mirror_state();
  const auto lag = mirror_->lag();
  if (engine.partial) text += fmt::format("snapshot={} ", engine.partial->facts.snapshot_lsn.value);
  return text + fmt::format("status={} applied={} bootstraps={} stored={} consistent={} lag_ms={} error={} reason={}",
                            to_string(status.kind), facts.position ? facts.position->applied_lsn.value : 0,
                            facts.bootstraps, engine.partial ? engine.partial->bytes() : 0, engine.consistent_lsn.value,
                            lag ? std::to_string(lag->count() / 1000) : "unknown",
                            facts.last_error ? to_string(facts.last_error->kind()) : "", status.reason);
}

std::string Host::put(const std::string& key, std::size_t bytes) {
  std::mt19937_64 random(std::hash<std::string>{}(key) + bytes);
  std::string value(bytes, '\0');
  std::ranges::generate(value, [&] { return static_cast<char>('a' + random() % 26); });
  const std::array operations{Operation::put(key, value)};
  const auto committed = rocksdb_->commit(operations);
  return fmt::format("lsn={} {}", committed ? committed->value : 0, told(committed));
}

template <class Work>
std::string Host::wait_for(Work work) {
  std::promise<std::string> done;
  auto working = [](Work doing, std::promise<std::string>& promise) -> awaitable<void> {
    auto text = co_await doing();
    promise.set_value(std::move(text));
  };
  boost::asio::co_spawn(context_, working(std::move(work), done), rethrow);
  return done.get_future().get();
}

std::string Host::answer(std::istringstream& words) {
  std::string order, name;
  std::size_t number = 0;
  words >> order;
  if (order == "facts") return facts();
  if (order == "put") return words >> name >> number, put(name, number);
  if (order == "get") {
    words >> name;
    const auto value = rocksdb_->get(name);
    return fmt::format("value={} {}", value && *value ? **value : "", told(value));
  }
  if (order == "own") return told(etcd_->own());
  if (order == "promote") {
    return wait_for([this]() -> awaitable<std::string> {
      auto promoted = co_await mirror_->promote();
      co_return fmt::format("lsn={} {}", promoted ? promoted->from.position.applied_lsn.value : 0, told(promoted));
    });
  }
  if (order == "verify") {
    return wait_for([this]() -> awaitable<std::string> {
      auto verified = co_await mirror_->verify();
      co_return fmt::format("outcome={} keys={} differences={} {} reason={}",
                            verified ? to_string(verified->outcome) : "", verified ? verified->keys_compared : 0,
                            verified ? verified->difference_count : 0, told(verified),
                            verified ? verified->reason : "");
    });
  }
  if (order == "pause") return told(mirror_->pause());
  if (order == "resume") return told(mirror_->resume());
  if (order == "resync") return told(mirror_->resync());
  if (order == "bandwidth") return words >> number, told(mirror_->set_bandwidth(number));
  return "error=unknown order";
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) {
    std::cerr << "usage: see the head of this program's source\n";
    return 2;
  }
  Names names;
  for (std::size_t i = 5; i < words.size(); ++i)
    names[words[i].substr(0, words[i].find('='))] = words[i].substr(words[i].find('=') + 1);
  const bool source = words[0] == "source";
  Host host(source, words[1], words[4], names);
  if (source) {
    host.offer(words[2], static_cast<std::uint16_t>(std::stoi(words[3])));
  } else {
    host.follow(words[2], words[3]);
  }
  return host.run();
}
