// The source of `crosslink bench mirror`: one database in memory that commits what it is told to.
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
#include <fstream>
#include <random>
#include <thread>

#include "cli/bench_mirror_protocol.hpp"
#include "cli/bench_options.hpp"
#include "cli/bench_protocol.hpp"
#include "cli/report.hpp"
#include "crosslink/database_source.hpp"
#include "crosslink/memory_engine.hpp"
#include "link/engine_call.hpp"

namespace crosslink::cli {

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

constexpr std::size_t keys = 10'000;
constexpr std::size_t entry_bytes = 128;

/// Writes entries of exactly `entry_bytes`, values that do not compress, at a given rate.
class Writer {
 public:
  explicit Writer(MemoryDatabase& database) : database_(&database) {
    const std::array<Operation, 1> empty{Operation::put(key_of(0), "")};
    value_.resize(entry_bytes - encoded_entry_bytes(Lsn{1}, empty));
  }
  /// Blocks until all are committed. Errors: the engine's.
  Result<BenchAnswer> write(const BenchOrder& order) {
    const auto begin = std::chrono::steady_clock::now();
    BenchAnswer answer;
    answer.last_lsn = database_->source_state().head.value;
    for (std::uint64_t i = 0; i < order.entries; ++i) {
      if (order.per_second > 0)
        std::this_thread::sleep_until(begin + std::chrono::nanoseconds(1'000'000'000 / order.per_second) * i);
      const auto now = std::chrono::steady_clock::now().time_since_epoch();
      const auto committed = commit(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
      if (!committed) return committed.error();
      answer.last_lsn = committed->value;
    }
    answer.cpu_us = own_cpu_us();
    answer.resident_bytes = own_resident_bytes();
    return answer;
  }

 private:
  static std::string key_of(std::uint64_t number) { return fmt::format("{:012}", number); }
  Result<Lsn> commit(std::int64_t now_us) {
    for (std::size_t at = 0; at < value_.size(); at += 8) {
      const auto word = random_();
      std::memcpy(value_.data() + at, &word, std::min<std::size_t>(8, value_.size() - at));
    }
    const auto key = key_of(random_() % keys);
    const std::array<Operation, 1> operations{Operation::put(key, value_)};
    // The steady clock: a mirror on the same machine reads from it how long the entry took.
    return database_->commit(operations, static_cast<std::uint64_t>(now_us));
  }
  MemoryDatabase* database_;
  std::mt19937_64 random_{1};
  std::string value_;
};

awaitable<void> answer_order(IncomingStream incoming, Writer& writer, boost::asio::any_io_executor writing) {
  const auto& payload = incoming.request.payload;
  if (incoming.request.kind != frame_kind::bench || payload.size() != BenchOrder::payload_bytes) {
    (void)co_await AcceptedMirror::refuse_kind(std::move(incoming));
    co_return;
  }
  const BenchOrder order{take_number(std::span(payload).subspan<0, 8>()),
                         take_number(std::span(payload).subspan<8, 8>())};
  auto work = [&writer, order] { return writer.write(order); };
  auto calling = link::call_engine(std::move(writing), std::move(work));
  const auto answer = co_await std::move(calling);
  if (!answer) co_return;  // the mirror sees its stream reset
  std::vector<std::byte> bytes;
  for (const auto number : {answer->last_lsn, answer->cpu_us, answer->resident_bytes})
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
    chosen.snapshots_per_minute_max = 1'000'000;
    return chosen;
  }
  static MemoryOptions options() {
    MemoryOptions chosen;
    chosen.log_window_bytes = chosen.log_budget_bytes = 4ull * 1024 * 1024 * 1024;
    return chosen;
  }
  boost::asio::thread_pool engine_threads{1}, writing{1};
  std::unique_ptr<MemoryDatabase> engine = MemoryDatabase::create(options());
  Writer writer{*engine};
  DatabaseSource database{*engine, engine.get(), engine_threads.get_executor(), offer()};

  Task<void> serve(AcceptedMirror& mirror) {
    if (mirror.hello.source_database_id.str() == bench_control_database)
      return take_orders(mirror, writer, writing.get_executor());
    return database.serve(mirror);
  }
};

awaitable<int> serve(const Globals& globals, const BenchOptions& options, quic::Endpoint endpoint, Source& source) {
  auto host_port = quic::parse_host_port(options.listen);
  if (!host_port) co_return report_error(globals, host_port.error());
  auto resolving = quic::resolve(*host_port);
  const auto address = co_await std::move(resolving);
  if (!address) co_return report_error(globals, address.error());
  quic::ServerConfig config;
  config.tls = options.tls.files();
  config.transport.congestion = options.congestion;
  auto listener = endpoint.listen(*address, config);
  if (!listener) co_return report_error(globals, listener.error());
  const auto bound = to_text(listener->local_address());
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
  print_line(fmt::format("listening {}", bound));
  const auto ended = co_await acceptor.run();
  if (!ended) co_return report_error(globals, ended.error());
  co_return exit_good;
}

}  // namespace

int run_bench_mirror_source(const Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return report_error(globals, endpoint.error());
  Source source;
  return run_to_end(context, serve(globals, options, *endpoint, source));
}

}  // namespace crosslink::cli
