// The source of `crosslink-bench mirror`: one database that commits what it is told to.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>
#include <type_traits>

#include "async/engine_call.hpp"
#include "bench/mirror_protocol.hpp"
#include "bench/options.hpp"
#include "bench/protocol.hpp"
#include "cli/report.hpp"
#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "crosslink/rocksdb_engine.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::bench {

std::uint64_t own_cpu_us() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto in_us = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
  };
  return in_us(usage.ru_utime) + in_us(usage.ru_stime);
}

std::uint64_t own_resident_bytes() {
  std::ifstream sizes("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  sizes >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

namespace {

/// The engine that is measured.
class BenchDatabase {
 public:
  virtual ~BenchDatabase() = default;
  virtual SourceEngine& source() = 0;
  virtual VerifiableEngine& verifiable() = 0;
  virtual Result<Lsn> commit(std::span<const Operation> operations, std::uint64_t time_us) = 0;
  virtual Result<void> purge() = 0;
};

template <class Engine>
class BenchDatabaseOf final : public BenchDatabase {
 public:
  explicit BenchDatabaseOf(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
  SourceEngine& source() override { return *engine_; }
  VerifiableEngine& verifiable() override { return *engine_; }
  Result<Lsn> commit(std::span<const Operation> operations, std::uint64_t time_us) override {
    return engine_->commit(operations, time_us);
  }
  Result<void> purge() override {
    if constexpr (std::is_void_v<decltype(engine_->purge_log())>) {
      engine_->purge_log();
      return {};
    } else {
      return engine_->purge_log();
    }
  }

 private:
  std::unique_ptr<Engine> engine_;
};

Result<std::unique_ptr<BenchDatabase>> open_database(const BenchOptions& options) {
  constexpr std::uint64_t log_kept = 4ull * 1024 * 1024 * 1024;
  if (options.engine == "memory") {
    MemoryOptions chosen;
    chosen.log_window_bytes = chosen.log_budget_bytes = log_kept;
    return std::unique_ptr<BenchDatabase>(new BenchDatabaseOf(MemoryDatabase::create(chosen)));
  }
  if (options.dir.empty()) return MirrorError::configuration("a source with --engine rocksdb needs --dir");
  RocksdbOptions chosen;
  chosen.folder = std::filesystem::path(options.dir) / "source";
  chosen.compression = RocksdbCompression::none;
  chosen.log_window.bytes = chosen.log_window.budget_bytes = log_kept;
  auto opened = RocksdbDatabase::open_root(chosen);
  if (!opened) return opened.error();
  return std::unique_ptr<BenchDatabase>(new BenchDatabaseOf(*std::move(opened)));
}

/// Commits what it is told to, values that do not compress, at a given rate.
class Writer {
 public:
  explicit Writer(BenchDatabase& database) : database_(&database) {}
  /// Blocks until all are committed. Errors: the engine's.
  Result<BenchAnswer> write(const BenchOrder& order) {
    const std::array<Operation, 1> empty{Operation::put(key_of(0), "")};
    const auto overhead = encoded_entry_bytes(Lsn{1}, empty);
    const auto value_bytes = static_cast<std::size_t>(order.operation_bytes) - overhead;
    keys_.resize(static_cast<std::size_t>(order.operations));
    values_.assign(static_cast<std::size_t>(order.operations), std::string(value_bytes, '\0'));
    const auto begin = std::chrono::steady_clock::now();
    BenchAnswer answer;
    answer.last_lsn = database_->source().head().value;
    for (std::uint64_t i = 0; i < order.entries; ++i) {
      if (order.per_second > 0)
        std::this_thread::sleep_until(begin + std::chrono::nanoseconds(1'000'000'000 / order.per_second) * i);
      const auto committed = commit(order, i);
      if (!committed) return committed.error();
      answer.last_lsn = committed->value;
    }
    const auto took = std::chrono::steady_clock::now() - begin;
    answer.took_us = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    if (order.purge != 0) {
      if (auto purged = database_->purge(); !purged) return purged.error();
      answer.last_lsn = database_->source().head().value;
    }
    answer.cpu_us = own_cpu_us();
    answer.resident_bytes = own_resident_bytes();
    return answer;
  }

 private:
  static std::string key_of(std::uint64_t number) { return fmt::format("{:012}", number); }
  Result<Lsn> commit(const BenchOrder& order, std::uint64_t number) {
    operations_.clear();
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      auto& value = values_[i];
      for (std::size_t at = 0; at < value.size(); at += 8) {
        const auto word = random_();
        std::memcpy(value.data() + at, &word, std::min<std::size_t>(8, value.size() - at));
      }
      keys_[i] = key_of(order.in_order != 0 ? number * keys_.size() + i : random_() % order.keys);
      operations_.push_back(Operation::put(keys_[i], value));
    }
    // The steady clock: a mirror on the same machine reads from it how long the entry took.
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
    return database_->commit(operations_, static_cast<std::uint64_t>(now_us));
  }
  BenchDatabase* database_;
  // NOLINTNEXTLINE(bugprone-random-generator-seed): each run writes the same
  std::mt19937_64 random_{1};
  std::vector<std::string> keys_, values_;
  std::vector<Operation> operations_;
};

awaitable<void> answer_order(IncomingStream incoming, Writer& writer, boost::asio::any_io_executor writing) {
  const auto& payload = incoming.request.payload;
  if (incoming.request.kind != frame_kind::bench || payload.size() != BenchOrder::payload_bytes) {
    (void)co_await AcceptedMirror::refuse_kind(std::move(incoming));
    co_return;
  }
  std::array<std::uint64_t, BenchOrder::count> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = take_number(std::span(payload).subspan(i * bench_number_bytes).first<bench_number_bytes>());
  const auto order = BenchOrder::of(numbers);
  if (!order.is_sane()) {
    (void)co_await AcceptedMirror::refuse_kind(std::move(incoming));
    co_return;
  }
  auto work = [&writer, order] { return writer.write(order); };
  auto calling = async::call_engine(std::move(writing), std::move(work));
  const auto answer = co_await std::move(calling);
  if (!answer) co_return;  // the mirror sees its stream reset
  std::vector<std::byte> bytes;
  for (const auto number : {answer->last_lsn, answer->cpu_us, answer->resident_bytes, answer->took_us})
    put_number(bytes, number);
  quic::SendBuffer frame(encode_frame(frame_kind::bench, bytes));
  const auto written = co_await incoming.stream.send.write(std::move(frame));
  if (!written) co_return;
  incoming.stream.send.finish();
  (void)co_await incoming.stream.send.wait_acknowledged();
}

Task<void> take_orders(AcceptedMirror& mirror, Writer& writer, boost::asio::any_io_executor writing) {
  for (;;) {
    auto incoming = co_await mirror.accept_stream();
    if (!incoming) co_return incoming.error();
    auto answering = answer_order(*std::move(incoming), writer, writing);
    co_await std::move(answering);
  }
}

/// Everything the source's process has.
struct Source {
  static DatabaseSourceOptions offer() {
    DatabaseSourceOptions chosen;
    chosen.name = "bench-source/bench";
    chosen.snapshots_per_minute_max = chosen.snapshots_per_minute_in_all_max = 1'000'000;
    return chosen;
  }
  explicit Source(std::unique_ptr<BenchDatabase> opened) : engine(std::move(opened)) {}
  boost::asio::thread_pool engine_threads{1}, writing{1};
  std::unique_ptr<BenchDatabase> engine;
  Writer writer{*engine};
  DatabaseSource database{engine->source(), &engine->verifiable(), engine_threads.get_executor(), offer()};

  Task<void> serve(AcceptedMirror& mirror) {
    if (mirror.hello.source_database_id.str() == bench_control_database)
      return take_orders(mirror, writer, writing.get_executor());
    return database.serve(mirror);
  }
};

awaitable<int> serve(const cli::Globals& globals, const BenchOptions& options, quic::Endpoint endpoint,
                     Source& source) {
  auto host_port = quic::parse_host_port(options.listen);
  if (!host_port) co_return cli::report_error(globals, host_port.error());
  auto resolving = quic::resolve(*host_port);
  const auto address = co_await std::move(resolving);
  if (!address) co_return cli::report_error(globals, address.error());
  quic::ServerConfig config;
  config.tls = options.tls.files();
  config.transport.congestion = options.congestion;
  auto listener = endpoint.listen(*address, config);
  if (!listener) co_return cli::report_error(globals, listener.error());
  const auto bound = cli::to_text(listener->local_address());
  SourcePolicy policy;
  policy.cluster_id = ClusterId(options.cluster_id);
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [](const DatabaseId& database) {
    return database.str() == bench_database || database.str() == bench_control_database;
  };
  AcceptorLimits limits;
  limits.handshakes_per_name_max = limits.handshakes_max;
  limits.mirrors_per_name_max = limits.mirrors_max;
  auto session = [&source](AcceptedMirror& mirror) { return source.serve(mirror); };
  MirrorAcceptor acceptor(std::move(*listener), std::move(policy), limits, std::move(session));
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::signal_set signals(executor, SIGINT, SIGTERM);
  signals.async_wait([&acceptor](boost::system::error_code error, int) {
    if (!error) acceptor.stop();
  });
  cli::print_line(fmt::format("listening {}", bound));
  const auto ended = co_await acceptor.run();
  if (!ended) co_return cli::report_error(globals, ended.error());
  co_return exit_good;
}

}  // namespace

int run_bench_mirror_source(const cli::Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return cli::report_error(globals, endpoint.error());
  auto opened = open_database(options);
  if (!opened) return cli::report_error(globals, opened.error());
  Source source(*std::move(opened));
  return cli::run_to_end(context, serve(globals, options, *endpoint, source));
}

}  // namespace crosslink::bench
