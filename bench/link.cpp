#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstdio>
#include <optional>

#include "async/task_group.hpp"
#include "bench/options.hpp"
#include "bench/protocol.hpp"
#include "cli/human.hpp"
#include "cli/report.hpp"
#include "crosslink/link.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// How far the run is, on a terminal.
class Progress {
 public:
  Progress(std::uint64_t total, bool wanted) : total_(total), line_(wanted) {}
  void add(std::uint64_t bytes) {
    done_ += bytes;
    const auto now = Clock::now();
    if (!line_.shown() || now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    const auto seconds = std::chrono::duration<double>(now - begin_).count();
    line_.show(fmt::format("{} {:3}%  {:.2f} Gbit/s", cli::bar(done_, total_, 40),
                           done_ * 100 / std::max<std::uint64_t>(total_, 1),
                           static_cast<double>(done_) * 8 / seconds / 1e9));
  }

 private:
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  cli::LiveLine line_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_{};
};

/// Takes data frames out of the transport's own buffers, without a copy.
class DataFrames {
 public:
  /// How many data bytes the piece held; nullopt for a frame that must not come here.
  std::optional<std::uint64_t> take(std::span<const std::byte> piece) {
    std::uint64_t data = 0;
    while (!piece.empty()) {
      if (payload_left_ > 0) {
        const auto taken = std::min<std::uint64_t>(payload_left_, piece.size());
        payload_left_ -= taken;
        data += taken;
        piece = piece.subspan(taken);
        continue;
      }
      header_[filled_++] = piece.front();
      piece = piece.subspan(1);
      if (filled_ < frame_header_bytes) continue;
      filled_ = 0;
      const auto header = decode_frame_header(header_);
      if (header.kind != frame_kind::bench || header.payload_bytes > bulk_data_bytes_max) return std::nullopt;
      payload_left_ = header.payload_bytes;
    }
    return data;
  }

 private:
  std::array<std::byte, frame_header_bytes> header_{};
  std::size_t filled_ = 0;
  std::uint64_t payload_left_ = 0;
};

struct StreamOutcome {
  std::uint64_t bytes = 0;
  BenchReport report;
  std::optional<MirrorError> error;
};

/// Frames on the wire for `total` bytes of data.
std::uint64_t wire_bytes(std::uint64_t total) {
  return total + (total + bulk_data_bytes_max - 1) / bulk_data_bytes_max * frame_header_bytes;
}

Task<void> receive(quic::BidiStream& stream, std::uint64_t total, SendThrottle throttle, Progress& progress,
                   StreamOutcome& outcome) {
  if (auto asked = co_await stream.send.write(quic::SendBuffer(number_frame(total))); !asked) co_return asked;
  DataFrames frames;
  std::uint64_t acknowledged = 0;
  for (std::uint64_t left = wire_bytes(total); left > 0;) {
    auto view = co_await stream.recv.read();
    if (!view) co_return view.error();
    if (view->total_bytes == 0)
      co_return MirrorError::protocol_violation("the source ended the stream before its last byte");
    const auto ticket = throttle.charge(view->total_bytes);
    std::uint64_t consumed = 0;
    for (std::size_t i = 0; i < view->piece_count && consumed < left; ++i) {
      const auto piece = view->pieces[i].first(std::min<std::uint64_t>(view->pieces[i].size(), left - consumed));
      const auto data = frames.take(piece);
      if (!data) co_return MirrorError::protocol_violation("the source sent something else than data");
      consumed += piece.size();
      outcome.bytes += *data;
    }
    stream.recv.consume(consumed);
    throttle.ack(ticket);
    left -= consumed;
    progress.add(consumed);
    if (outcome.bytes - acknowledged >= bench_ack_bytes || left == 0) {
      acknowledged = outcome.bytes;
      if (auto acked = co_await stream.send.write(quic::SendBuffer(number_frame(acknowledged))); !acked)
        co_return acked;
    }
  }
  std::array<std::byte, frame_header_bytes + BenchReport::payload_bytes> report{};
  if (auto read = co_await stream.recv.read_exactly(report); !read) co_return read;
  outcome.report = take_report(std::span(report).subspan<frame_header_bytes, BenchReport::payload_bytes>());
  stream.send.finish();
  co_return Result<void>{};
}

awaitable<void> one_stream(CrossClusterLink& link, std::uint64_t total, Progress& progress, StreamOutcome& outcome) {
  auto stream = co_await link.open_bidi_stream();
  if (!stream) {
    outcome.error = stream.error();
    co_return;
  }
  if (auto received = co_await receive(*stream, total, link.throttle, progress, outcome); !received)
    outcome.error = received.error();
}

struct Figures {
  std::uint64_t bytes = 0;
  double seconds = 0;
  BenchReport report;
  quic::ConnectionFacts facts;
};

Task<Figures> move_bytes(const cli::Globals& globals, const BenchOptions& options, CrossClusterLink& link) {
  if (auto ack = co_await link.connect(Lsn{0}); !ack) co_return ack.error();
  std::vector<StreamOutcome> outcomes(options.streams);
  Figures figures;
  {
    Progress progress(options.bytes, !globals.json());
    auto executor = co_await boost::asio::this_coro::executor;
    async::TaskGroup streams(executor);
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < options.streams; ++i) {
      const auto share = options.bytes / options.streams + (i < options.bytes % options.streams ? 1 : 0);
      streams.spawn(one_stream(link, share, progress, outcomes[i]));
    }
    co_await streams.drain();
    figures.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  for (const auto& outcome : outcomes) {
    if (outcome.error) co_return *outcome.error;
    figures.bytes += outcome.bytes;
    figures.report.packets_lost = std::max(figures.report.packets_lost, outcome.report.packets_lost);
    figures.report.packets_sent = std::max(figures.report.packets_sent, outcome.report.packets_sent);
    figures.report.congestion_window_bytes = outcome.report.congestion_window_bytes;
  }
  if (auto connection = link.connection()) figures.facts = connection->facts();
  link.close();
  co_return figures;
}

int print(const cli::Globals& globals, const BenchOptions& options, const Figures& figures,
          std::uint64_t source_peak_bytes) {
  const double rate = static_cast<double>(figures.bytes) * 8 / figures.seconds / 1e9;
  boost::json::object object{{"bytes", figures.bytes},
                             {"seconds", figures.seconds},
                             {"gbit_per_s", rate},
                             {"rtt_us", figures.facts.round_trip.count()},
                             {"packets_lost", figures.report.packets_lost},
                             {"packets_sent", figures.report.packets_sent},
                             {"streams", options.streams},
                             {"congestion", figures.facts.congestion},
                             {"mirror_peak_memory_bytes", own_peak_memory_bytes()},
                             {"source_peak_memory_bytes", nullptr}};
  if (source_peak_bytes > 0) object["source_peak_memory_bytes"] = source_peak_bytes;
  auto text =
      fmt::format("{} bytes in {:.2f} s over {} stream(s): {:.3f} Gbit/s, {}, round trip {} us, {} of {} packets lost",
                  figures.bytes, figures.seconds, options.streams, rate, figures.facts.congestion,
                  figures.facts.round_trip.count(), figures.report.packets_lost, figures.report.packets_sent);
  text += fmt::format("\npeak memory: mirror {:.0f} MB", static_cast<double>(own_peak_memory_bytes()) / 1e6);
  if (source_peak_bytes > 0) text += fmt::format(", source {:.0f} MB", static_cast<double>(source_peak_bytes) / 1e6);
  return cli::report_good(globals, std::move(object), text);
}

}  // namespace

int run_bench_link(const cli::Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto source = BenchSource::start(context, options, "link");
  if (!source) return cli::report_error(globals, source.error());
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return cli::report_error(globals, endpoint.error());
  quic::ClientConfig config;
  config.tls = source->tls().files();
  config.transport.congestion = options.congestion;
  CrossClusterLink link(ClusterId(options.cluster_id), DatabaseId("bench"), source->address(), *endpoint, config);
  std::optional<Result<Figures>> figures;
  const auto work = [](const cli::Globals& all, const BenchOptions& how, CrossClusterLink& over,
                       std::optional<Result<Figures>>& result) -> awaitable<int> {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    auto moved = co_await move_bytes(all, how, over);
    result.emplace(std::move(moved));
    co_return exit_good;
  };
  source->run(context, work(globals, options, link, figures));
  const auto source_peak_bytes = source->stop();
  if (!*figures) return cli::report_error(globals, figures->error());
  return print(globals, options, **figures, source_peak_bytes);
}

}  // namespace crosslink::bench
