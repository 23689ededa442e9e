// A host of RocksDB databases for tests of whole processes. One database a process; orders come on standard input, one
// line each, each answered by one line of NAME=VALUE words, the last of which may hold spaces.
//
//   rocksdb_host source FOLDER CERTS PORT              a root in cluster prod-us
//   rocksdb_host mirror FOLDER CERTS PORT [faulty|bandwidth=BYTES_PER_S]
//                                                      a mirror of prod-us, at eu-1; faulty: full and space work;
//                                                      bandwidth: as the order, before the first byte comes
//   rocksdb_host middle FOLDER CERTS PORT OWN_PORT     the same, offered to others as eu-1
//   rocksdb_host last FOLDER CERTS PORT                a mirror of eu-1, at asia-1
//   rocksdb_host own FOLDER CERTS PORT                 a RocksDB that this program owns, as prod-us; order: write COUNT
//   rocksdb_host hostile FOLDER CERTS PORT NAME        as prod-us; its snapshots are one file of that name
//   rocksdb_host restamp FOLDER                        as after a restore, and ends
//   rocksdb_host dump FOLDER                           every key and value, by RocksDB alone
//   rocksdb_host alter FOLDER KEY [VALUE]              puts or deletes a key, behind crosslink's back
//
// Orders: facts; end; get KEY; put KEY BYTES; fill COUNT BYTES; operations COUNT; erase KEY; write [LEDGER]; rest;
// purge; full; space; and of a mirror: promote; pause; resume; resync; bandwidth BYTES_PER_S; verify.
#include <fcntl.h>
#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "crosslink/database_source.hpp"
#include "crosslink/mirror.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/rocksdb_source.hpp"
#include "crosslink/source.hpp"
#include "support/faulty_disk.hpp"

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

template <class T>
std::string told(const Result<T>& result) {
  if (!result) return fmt::format("error={} message={}", to_string(result.error().kind()), result.error().message());
  return "error=";
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

std::unique_ptr<MirrorAcceptor> accept(boost::asio::io_context& context, quic::Endpoint& endpoint,
                                       DatabaseSource& source, const std::string& cluster,
                                       const std::string& certificates, std::uint16_t port) {
  quic::ServerConfig config;
  config.tls = files(certificates, cluster);
  config.transport.idle_timeout = std::chrono::seconds(2);
  SourcePolicy policy;
  policy.cluster_id = ClusterId(cluster);
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [](const DatabaseId& name) { return name.str() == "orders"; };
  auto listener = must(endpoint.listen({boost::asio::ip::make_address("127.0.0.1"), port}, config));
  auto acceptor = std::make_unique<MirrorAcceptor>(std::move(listener), policy, AcceptorLimits{},
                                                   [&source](AcceptedMirror& mirror) { return source.serve(mirror); });
  auto running = [](MirrorAcceptor& accepting) -> awaitable<void> { static_cast<void>(co_await accepting.run()); };
  boost::asio::co_spawn(context, running(*acceptor), rethrow);
  return acceptor;
}

/// Commits of one to twenty operations, every value written once only. A ledger says what each commit was.
class Load {
 public:
  explicit Load(RocksdbDatabase& database) : database_(&database) {}
  void begin(const std::string& ledger) {
    ledger_ = ledger.empty() ? std::ofstream() : std::ofstream(ledger);
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested())
        commit();
    });
  }
  void rest() {
    thread_ = {};
    ledger_.flush();
  }
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
    const auto lsn = must(database_->commit(operations));
    ++commits_;
    if (!ledger_.is_open()) return;
    ledger_ << lsn.value;
    for (const auto& operation : operations) {
      const auto kind = operation.kind == OperationKind::put ? "put" : operation.end ? "range" : "erase";
      ledger_ << "\t" << kind << "\t" << operation.key << "\t" << (operation.end ? *operation.end : operation.value);
    }
    ledger_ << "\n";
  }
  std::string key() { return "key" + std::to_string(random_() % keys); }
  RocksdbDatabase* database_;
  std::mt19937_64 random_{std::random_device{}()};
  std::uint64_t start_ = random_() % 1'000'000'000, written_ = 0;
  std::atomic<std::uint64_t> commits_ = 0;
  std::ofstream ledger_;
  std::jthread thread_;
};

/// The process's database, offered to mirrors, following a source, or both.
class Host {
 public:
  Host(const std::string& folder, bool root, bool faulty = false) {
    auto options = options_of(folder);
    if (faulty) {
      disk_ = test::FaultyDisk::below(std::filesystem::path(folder).parent_path());
      options.env = disk_->env();
    }
    database_ = must(root ? RocksdbDatabase::open_root(options) : RocksdbDatabase::open_mirror(options));
    load_ = std::make_unique<Load>(*database_);
  }

  void offer(const std::string& cluster, const std::string& certificates, std::uint16_t port) {
    DatabaseSourceOptions options;
    options.name = cluster + "/orders";
    options.snapshots_per_minute_max = options.snapshots_per_minute_in_all_max = 1000;
    if (cluster != "prod-us") {
      options.upstream_chain = [this] { return mirror_ ? mirror_->facts().chain : std::vector<std::string>(); };
      options.upstream_lag = [this] { return mirror_ ? mirror_->lag() : std::nullopt; };
    }
    source_ = std::make_unique<DatabaseSource>(*database_, database_.get(), engine_threads_.get_executor(), options);
    acceptor_ = accept(context_, endpoint_, *source_, cluster, certificates, port);
  }

  void follow(const std::string& source, const std::string& own, const std::string& certificates,
              const std::string& port, std::uint64_t bytes_per_s = 0) {
    quic::ClientConfig config;
    config.tls = files(certificates, own);
    config.transport.idle_timeout = std::chrono::seconds(2);
    auto link = std::make_unique<CrossClusterLink>(ClusterId(source), DatabaseId("orders"), "127.0.0.1:" + port,
                                                   endpoint_, config);
    MirrorOptions options;
    options.name = own + "/orders";
    options.before_history_change = [this] {
      if (source_) source_->end_sessions();
    };
    mirror_ =
        std::make_unique<Mirror>(std::move(link), *database_, database_.get(), engine_threads_.get_executor(), options);
    if (bytes_per_s > 0) must(mirror_->set_bandwidth(bytes_per_s));
    boost::asio::co_spawn(context_, [this]() -> awaitable<void> { must(co_await mirror_->run()); }, rethrow);
  }

  int run();

 private:
  std::string answer(std::istringstream& words);
  std::string facts();
  std::string get(const std::string& key);
  std::string put(const std::string& key, std::size_t bytes);
  std::string fill(int count, std::size_t bytes);
  std::string operations(int count);
  std::string promote();
  std::string verify();
  template <class Work>
  auto wait_for(Work work);

  std::shared_ptr<test::FaultyDisk> disk_;
  boost::asio::io_context context_{1};
  boost::asio::thread_pool engine_threads_{2};
  quic::Endpoint endpoint_ = must(quic::Endpoint::open());
  std::unique_ptr<RocksdbDatabase> database_;
  std::unique_ptr<Load> load_;
  std::unique_ptr<DatabaseSource> source_;
  std::unique_ptr<MirrorAcceptor> acceptor_;
  std::unique_ptr<Mirror> mirror_;
};

std::string Host::facts() {
  const auto state = database_->source_state();
  auto text = fmt::format("head={} oldest={} incarnations={} commits={} ", state.head.value, state.oldest.value,
                          state.history.records().size(), load_->commits());
  if (!mirror_) return text + "status=Serving applied=0 bootstraps=0";
  const auto status = mirror_->status();
  const auto facts = mirror_->facts();
  const auto engine = database_->mirror_state();
  return text + fmt::format("status={} applied={} bootstraps={} stored={} held={} error={} reason={}",
                            to_string(status.kind), facts.position ? facts.position->applied_lsn.value : 0,
                            facts.bootstraps, engine.partial ? engine.partial->bytes() : 0, facts.held_bytes,
                            facts.last_error ? to_string(facts.last_error->kind()) : "", status.reason);
}

std::string Host::get(const std::string& key) {
  const auto value = must(database_->get(key));
  return fmt::format("found={} bytes={} crc32c={}", value.has_value() ? 1 : 0, value ? value->size() : 0,
                     value ? crc32c(std::as_bytes(std::span(*value))) : 0);
}

std::string Host::put(const std::string& key, std::size_t bytes) {
  std::mt19937_64 random(std::hash<std::string>{}(key) + bytes);
  std::string value(bytes, '\0');
  std::ranges::generate(value, [&] { return static_cast<char>('a' + random() % 26); });
  const std::array operations{Operation::put(key, value)};
  const auto committed = database_->commit(operations);
  return fmt::format("lsn={} {}", committed ? committed->value : 0, told(committed));
}

std::string Host::fill(int count, std::size_t bytes) {
  std::mt19937_64 random(std::random_device{}());
  std::string value(bytes, '\0');
  Lsn last;
  for (int i = 0; i < count; ++i) {
    std::ranges::generate(value, [&] { return static_cast<char>('a' + random() % 26); });
    const auto key = fmt::format("fill{:07}", i);
    const std::array operations{Operation::put(key, value)};
    last = must(database_->commit(operations));
  }
  return fmt::format("lsn={}", last.value);
}

std::string Host::operations(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i)
    names.push_back(fmt::format("many{:07}", i));
  std::vector<Operation> all;
  for (const auto& name : names)
    all.push_back(Operation::put(name, name));
  return fmt::format("lsn={}", must(database_->commit(all)).value);
}

template <class Work>
auto Host::wait_for(Work work) {
  using Answer = decltype(std::declval<awaitable<std::string>>(), std::string());
  std::promise<Answer> done;
  auto working = [](Work doing, std::promise<Answer>& promise) -> awaitable<void> {
    auto text = co_await doing();
    promise.set_value(std::move(text));
  };
  boost::asio::co_spawn(context_, working(std::move(work), done), rethrow);
  return done.get_future().get();
}

std::string Host::promote() {
  return wait_for([this]() -> awaitable<std::string> {
    auto promoted = co_await mirror_->promote();
    co_return fmt::format("lsn={} {}", promoted ? promoted->from.position.applied_lsn.value : 0, told(promoted));
  });
}

std::string Host::verify() {
  return wait_for([this]() -> awaitable<std::string> {
    auto verified = co_await mirror_->verify();
    co_return fmt::format("outcome={} {}", verified ? to_string(verified->outcome) : "", told(verified));
  });
}

std::string Host::answer(std::istringstream& words) {
  std::string order, name;
  std::size_t first = 0, second = 0;
  words >> order;
  if (order == "facts") return facts();
  if (order == "get") return words >> name, get(name);
  if (order == "put") return words >> name >> first, put(name, first);
  if (order == "fill") return words >> first >> second, fill(static_cast<int>(first), second);
  if (order == "operations") return words >> first, operations(static_cast<int>(first));
  if (order == "write") return words >> name, load_->begin(name), facts();
  if (order == "rest") return load_->rest(), facts();
  if (order == "purge") return told(database_->purge_log());
  if (order == "full") return disk_->set_full(true), "error=";
  if (order == "space") return disk_->set_full(false), fmt::format("refused={}", disk_->refused_for_space());
  if (order == "erase") {
    words >> name;
    const std::array operations{Operation::erase(name)};
    return told(database_->commit(operations));
  }
  if (order == "promote") return promote();
  if (order == "verify") return verify();
  if (order == "pause") return told(mirror_->pause());
  if (order == "resume") return told(mirror_->resume());
  if (order == "resync") return told(mirror_->resync());
  if (order == "bandwidth") return words >> first, told(mirror_->set_bandwidth(first));
  return "error=unknown order";
}

int Host::run() {
  std::jthread network([this] { context_.run(); });
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    std::istringstream words(line);
    std::cout << answer(words) << std::endl;
  }
  load_->rest();
  if (mirror_) mirror_->stop();
  if (acceptor_) acceptor_->stop();
  return 0;
}

/// Eight threads write to one RocksDB at once, as its owner's would.
void write_by_eight(rocksdb::DB& database, int count) {
  std::vector<std::jthread> writers;
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&database, writer, count] {
      std::mt19937_64 random(std::random_device{}());
      for (int i = 0; i < count; ++i) {
        rocksdb::WriteBatch batch;
        bool good = true;
        for (int k = 0; k < 3; ++k) {
          const auto value = fmt::format("{}-{}-{}", writer, i, random());
          good = good && batch.Put(fmt::format("key{}", random() % keys), value).ok();
        }
        good = good && batch.Delete(fmt::format("key{}", random() % keys)).ok() && database.Write({}, &batch).ok();
        if (!good) std::exit(1);
      }
    });
  }
}

int serve_own(const std::string& folder, const std::string& certificates, std::uint16_t port) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 2 * 1024 * 1024;
  RocksdbSource::prepare(options);
  rocksdb::DB* opened = nullptr;
  if (!rocksdb::DB::Open(options, folder, &opened).ok()) return 1;
  const std::unique_ptr<rocksdb::DB> database(opened);
  RocksdbSourceOptions chosen;
  chosen.folder = folder + ".beside";
  const auto engine = must(RocksdbSource::open(*database, chosen));
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(2);
  auto endpoint = must(quic::Endpoint::open());
  DatabaseSourceOptions named;
  named.name = "prod-us/orders";
  DatabaseSource source(*engine, engine.get(), engine_threads.get_executor(), named);
  const auto acceptor = accept(context, endpoint, source, "prod-us", certificates, port);
  std::jthread network([&] { context.run(); });
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "end";) {
    std::istringstream words(line);
    std::string order;
    int count = 0;
    words >> order >> count;
    if (order == "write") write_by_eight(*database, count);
    std::cout << fmt::format("head={}", database->GetLatestSequenceNumber()) << std::endl;
  }
  acceptor->stop();
  network.join();
  return 0;
}

/// A source whose checkpoints list a file that none has.
class HostileSource final : public SourceEngine {
 public:
  HostileSource(RocksdbDatabase& database, const std::string& name) : database_(&database) {
    const auto list = name + " 5\n", all = list + "hello";
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes_.push_back(static_cast<std::byte>(list.size() >> shift & 0xff));
    const auto text = std::as_bytes(std::span(all));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  SourceState source_state() const override { return database_->source_state(); }
  Result<LogSlice> read_log(Lsn after, std::size_t bytes_max) override { return database_->read_log(after, bytes_max); }
  Result<PositionProof> prove(const EntryId& last_entry, Lsn at) override { return database_->prove(last_entry, at); }
  Result<std::shared_ptr<SnapshotReader>> open_snapshot(std::span<const std::string> formats,
                                                        const std::optional<SnapshotId>& /*wanted*/) override {
    const auto real = database_->open_snapshot(formats, std::nullopt);
    if (!real) return real.error();
    auto facts = (*real)->facts();
    facts.total_bytes = bytes_.size();
    return std::shared_ptr<SnapshotReader>(std::make_shared<Reader>(facts, bytes_));
  }
  void pin(const std::string& holder, Lsn from) override { database_->pin(holder, from); }
  void unpin(const std::string& holder) override { database_->unpin(holder); }
  std::optional<WindowLeft> window_left(Lsn after) const override { return database_->window_left(after); }
  void watch_log(std::function<void(const CommittedLog&)> on_log) override { database_->watch_log(std::move(on_log)); }

 private:
  class Reader final : public SnapshotReader {
   public:
    Reader(SnapshotFacts facts, std::vector<std::byte> bytes) : facts_(std::move(facts)), bytes_(std::move(bytes)) {}
    const SnapshotFacts& facts() const override { return facts_; }
    Result<Piece> read(std::uint64_t offset, std::size_t bytes_max) override {
      const auto rest = std::span(bytes_).subspan(static_cast<std::size_t>(offset));
      const auto part = rest.first(std::min(rest.size(), bytes_max));
      return Piece{std::make_shared<const std::vector<std::byte>>(part.begin(), part.end()),
                   part.size() == rest.size()};
    }

   private:
    SnapshotFacts facts_;
    std::vector<std::byte> bytes_;
  };
  RocksdbDatabase* database_;
  std::vector<std::byte> bytes_;
};

int serve_hostile(const std::string& folder, const std::string& certificates, std::uint16_t port,
                  const std::string& name) {
  const auto database = must(RocksdbDatabase::open_root(options_of(folder)));
  const std::array operations{Operation::put("a", "1")};
  must(database->commit(operations));
  HostileSource engine(*database, name);
  boost::asio::io_context context(1);
  boost::asio::thread_pool engine_threads(2);
  auto endpoint = must(quic::Endpoint::open());
  DatabaseSourceOptions named;
  named.name = "prod-us/orders";
  DatabaseSource source(engine, database.get(), engine_threads.get_executor(), named);
  const auto acceptor = accept(context, endpoint, source, "prod-us", certificates, port);
  std::jthread network([&] { context.run(); });
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "end";)
    std::cout << "error=" << std::endl;
  acceptor->stop();
  network.join();
  return 0;
}

/// What stands in a folder, opened by RocksDB alone.
class Stored {
 public:
  Stored(const std::string& folder, bool writable) {
    std::string name;  // none in a folder that is RocksDB's own
    std::getline(std::ifstream(folder + "/live"), name);
    std::vector<std::string> families;
    const auto path = folder + "/" + name;
    if (!rocksdb::DB::ListColumnFamilies({}, path, &families).ok()) return;
    std::vector<rocksdb::ColumnFamilyDescriptor> described;
    for (const auto& family : families)
      described.emplace_back(family, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* opened = nullptr;
    const auto status = writable ? rocksdb::DB::Open({}, path, described, &families_, &opened)
                                 : rocksdb::DB::OpenForReadOnly({}, path, described, &families_, &opened);
    if (status.ok()) database_.reset(opened);
  }
  ~Stored() {
    for (auto* family : families_)
      static_cast<void>(database_->DestroyColumnFamilyHandle(family));
  }
  Stored(const Stored&) = delete;
  Stored& operator=(const Stored&) = delete;

  rocksdb::DB* get() const { return database_.get(); }

 private:
  std::unique_ptr<rocksdb::DB> database_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
};

int dump(const std::string& folder) {
  const Stored stored(folder, false);
  if (stored.get() == nullptr) return 1;
  const std::unique_ptr<rocksdb::Iterator> pairs(stored.get()->NewIterator({}));
  for (pairs->SeekToFirst(); pairs->Valid(); pairs->Next())
    std::cout << pairs->key().ToString() << " " << pairs->value().ToString() << "\n";
  return pairs->status().ok() ? 0 : 1;
}

int alter(const std::string& folder, const std::string& key, const std::optional<std::string>& value) {
  const Stored stored(folder, true);
  if (stored.get() == nullptr) return 1;
  const auto done = value ? stored.get()->Put({}, key, *value) : stored.get()->Delete({}, key);
  return done.ok() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto is = [&](const char* word, std::size_t count) { return words.size() == count && words[0] == word; };
  if (is("dump", 2)) return dump(words[1]);
  if (is("alter", 3)) return alter(words[1], words[2], std::nullopt);
  if (is("alter", 4)) return alter(words[1], words[2], words[3]);
  if (is("restamp", 2)) {
    must(must(RocksdbDatabase::open_root(options_of(words[1])))->restamp());
    return 0;
  }
  if (is("source", 4)) {
    Host host(words[1], true);
    host.offer("prod-us", words[2], static_cast<std::uint16_t>(std::stoi(words[3])));
    return host.run();
  }
  if (is("own", 4)) return serve_own(words[1], words[2], static_cast<std::uint16_t>(std::stoi(words[3])));
  if (is("hostile", 5))
    return serve_hostile(words[1], words[2], static_cast<std::uint16_t>(std::stoi(words[3])), words[4]);
  if (is("mirror", 4) || is("mirror", 5) || is("middle", 5)) {
    Host host(words[1], false, words.back() == "faulty");
    if (is("middle", 5)) host.offer("eu-1", words[2], static_cast<std::uint16_t>(std::stoi(words[4])));
    const std::string bandwidth = "bandwidth=";
    const bool limited = words.back().starts_with(bandwidth);
    host.follow("prod-us", "eu-1", words[2], words[3],
                limited ? std::stoull(words.back().substr(bandwidth.size())) : 0);
    return host.run();
  }
  if (is("last", 4)) {
    Host host(words[1], false);
    host.follow("eu-1", "asia-1", words[2], words[3]);
    return host.run();
  }
  std::cerr << "usage: see the head of this program's source\n";
  return 2;
}
