#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <csignal>

#include "async/task_group.hpp"
#include "bench/options.hpp"
#include "bench/protocol.hpp"
#include "cli/report.hpp"
#include "crosslink/source.hpp"
#include "crosslink/throttle.hpp"
#include "wire/exit_codes.hpp"

namespace crosslink::bench {
namespace {

/// One block, shared by every frame of every stream: what is measured is the link, not a memory copy.
const std::shared_ptr<const std::vector<std::byte>>& data_block() {
  static const auto block = [] {
    auto bytes = std::make_shared<std::vector<std::byte>>(bulk_data_bytes_max);
    for (std::size_t i = 0; i < bytes->size(); ++i)
      (*bytes)[i] = static_cast<std::byte>((i * 2654435761U) >> 13 & 0xff);
    return std::shared_ptr<const std::vector<std::byte>>(std::move(bytes));
  }();
  return block;
}

/// Lets the throttle go by the mirror's cumulative acks, until the mirror ends the stream or the stream breaks.
awaitable<void> follow_acks(quic::RecvStream& stream, SendThrottle throttle, std::uint64_t total) {
  std::uint64_t released = 0;
  std::array<std::byte, frame_header_bytes + bench_number_bytes> frame{};
  while (released < total) {
    if (auto read = co_await stream.read_exactly(frame); !read) co_return;
    const auto cumulative = take_number(std::span(frame).subspan<frame_header_bytes, bench_number_bytes>());
    if (cumulative < released || cumulative > total) co_return;  // a mirror that lies stalls only itself
    throttle.ack(cumulative - released);
    released = cumulative;
  }
}

Task<void> send_data(quic::SendStream& stream, SendThrottle throttle, std::uint64_t total,
                     quic::Connection connection) {
  const auto& block = data_block();
  for (std::uint64_t left = total; left > 0;) {
    if (auto room = co_await throttle.wait_for_resume(); !room) co_return room;
    const auto now = std::min<std::uint64_t>(left, bulk_data_bytes_max);
    (void)throttle.charge(now);
    const auto header = encode_frame_header({frame_kind::bench, static_cast<std::uint32_t>(now)});
    std::vector<quic::SendBuffer> frame;
    frame.emplace_back(std::vector<std::byte>(header.begin(), header.end()));
    frame.emplace_back(block, std::span(*block).first(now));
    if (auto written = co_await stream.write(std::move(frame)); !written) co_return written;
    left -= now;
  }
  const auto facts = connection.facts();
  const BenchReport report{facts.packets_lost, facts.packets_sent, static_cast<std::uint64_t>(facts.round_trip.count()),
                           facts.congestion_window_bytes};
  if (auto written = co_await stream.write(quic::SendBuffer(report_frame(report))); !written) co_return written;
  stream.finish();
  co_return co_await stream.wait_acknowledged();
}

awaitable<void> serve_stream(IncomingStream incoming, quic::Connection connection) {
  if (incoming.request.kind != frame_kind::bench || incoming.request.payload.size() != bench_number_bytes) {
    (void)co_await AcceptedMirror::refuse_kind(std::move(incoming));
    co_return;
  }
  const auto total = take_number(std::span(incoming.request.payload).first<bench_number_bytes>());
  SendThrottle throttle;
  auto executor = co_await boost::asio::this_coro::executor;
  async::TaskGroup acks(executor);
  acks.spawn(follow_acks(incoming.stream.recv, throttle, total));
  // A mirror that leaves in the middle ends this with an error that its session reports.
  (void)co_await send_data(incoming.stream.send, throttle, total, std::move(connection));
  acks.cancel();
  co_await acks.drain();
}

Task<void> serve_mirror(AcceptedMirror& mirror) {
  auto executor = co_await boost::asio::this_coro::executor;
  async::TaskGroup streams(executor);
  Result<void> end;
  for (;;) {
    auto incoming = co_await mirror.accept_stream();
    if (!incoming) {
      end = incoming.error();
      break;
    }
    streams.spawn(serve_stream(std::move(*incoming), mirror.connection));
  }
  streams.cancel();
  co_await streams.drain();
  co_return end;
}

Result<quic::Listener> open_listener(quic::Endpoint& endpoint, const BenchOptions& options,
                                     const quic::Address& address) {
  quic::ServerConfig config;
  config.tls = options.tls.files();
  config.transport.congestion = options.congestion;
  config.transport.rate_cap_bits_per_s = options.rate_mbit_per_s * 1'000'000;
  return endpoint.listen(address, config);
}

awaitable<int> serve(const cli::Globals& globals, const BenchOptions& options, quic::Endpoint endpoint) {
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  auto host_port = quic::parse_host_port(options.listen);
  if (!host_port) co_return cli::report_error(globals, host_port.error());
  auto address = co_await quic::resolve(*host_port);
  if (!address) co_return cli::report_error(globals, address.error());
  auto listener = open_listener(endpoint, options, *address);
  if (!listener) co_return cli::report_error(globals, listener.error());
  const auto bound = cli::to_text(listener->local_address());
  SourcePolicy policy;
  policy.cluster_id = ClusterId(options.cluster_id);
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [](const DatabaseId&) { return true; };
  policy.streams_after_acceptance = static_cast<std::uint16_t>(std::max<std::uint64_t>(options.streams + 1, 64));
  AcceptorLimits limits;
  limits.handshakes_per_name_max = limits.handshakes_max;
  limits.mirrors_per_name_max = limits.mirrors_max;
  MirrorAcceptor acceptor(std::move(*listener), std::move(policy), limits, serve_mirror);
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::signal_set signals(executor, SIGINT, SIGTERM);
  signals.async_wait([&acceptor](boost::system::error_code error, int) {
    if (!error) acceptor.stop();
  });
  cli::print_line(fmt::format("listening {}", bound));
  auto ended = co_await acceptor.run();
  if (!ended) co_return cli::report_error(globals, ended.error());
  co_return exit_good;
}

}  // namespace

int run_bench_source(const cli::Globals& globals, const BenchOptions& options) {
  boost::asio::io_context context(1);
  auto endpoint = quic::Endpoint::open();
  if (!endpoint) return cli::report_error(globals, endpoint.error());
  return cli::run_to_end(context, serve(globals, options, *endpoint));
}

}  // namespace crosslink::bench
