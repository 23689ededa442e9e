#include "bench/mirror_side.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "async/with_timeout.hpp"
#include "bench/protocol.hpp"
#include "cli/report.hpp"

namespace crosslink::bench {
namespace {

using Clock = std::chrono::steady_clock;

bool has_applied(const Mirror& mirror, Lsn lsn) {
  const auto position = mirror.facts().position;
  return position && position->applied_lsn >= lsn;
}

}  // namespace

Result<void> TimedEngine::apply(const ApplyGroup& group) {
  auto applied = inner_->apply(group);
  if (!applied || !timing) return applied;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
  for (auto entries : group.entries) {
    while (!entries.empty()) {
      const auto entry = read_entry(entries);
      if (!entry) return entry.error();
      times_us_.push_back(static_cast<std::uint64_t>(now) - entry->commit_time_us());
    }
  }
  return applied;
}

MirrorSide::MirrorSide(const BenchOptions& options, std::string address, quic::Endpoint endpoint,
                       quic::ClientConfig config, boost::asio::any_io_executor executor)
    : options_(options),
      address_(std::move(address)),
      endpoint_(std::move(endpoint)),
      config_(std::move(config)),
      group_(executor),
      control_(ClusterId(options.cluster_id), DatabaseId(bench_control_database), address_, endpoint_, config_) {}

Task<void> MirrorSide::connect() {
  const auto connected = co_await control_.connect(Lsn{0});
  if (!connected) co_return connected.error();
  co_return Result<void>{};
}

std::unique_ptr<MirrorSide::One> MirrorSide::start(std::unique_ptr<MirrorEngine> engine, std::uint64_t number) {
  auto one = std::make_unique<One>();
  one->engine = std::make_unique<TimedEngine>(std::move(engine));
  MirrorOptions options;
  options.name = fmt::format("bench-mirror/{}", number);
  options.zstd = options_.zstd;
  auto link = std::make_unique<CrossClusterLink>(ClusterId(options_.cluster_id), DatabaseId(bench_database), address_,
                                                 endpoint_, config_);
  one->mirror = std::make_unique<Mirror>(std::move(link), *one->engine, nullptr, engine_threads_.get_executor(),
                                         std::move(options));
  auto running = [](Mirror& mirror) -> awaitable<void> { (void)co_await mirror.run(); };
  group_.spawn(running(*one->mirror));
  return one;
}

awaitable<void> MirrorSide::stop(Many& many) {
  for (const auto& one : many)
    one->mirror->stop();
  co_await group_.drain();
}

Task<void> MirrorSide::until(const Many& many, std::function<bool(Mirror&)> condition) const {
  constexpr auto deadline = std::chrono::seconds(600);
  const auto end = Clock::now() + deadline;
  for (const auto& one : many) {
    while (!condition(*one->mirror)) {
      const auto status = one->mirror->status();
      if (status.kind == StatusKind::Halted)
        co_return MirrorError(ErrorKind::ProtocolViolation, CausedBy::us, "a mirror halted: " + status.reason);
      if (Clock::now() > end)
        co_return MirrorError::timeout("the mirrors did not come as far within 600 s: " + status.reason);
      const bool slept = co_await async::sleep_for(std::chrono::milliseconds(1));
      if (!slept) co_return MirrorError::cancelled("the benchmark");
    }
  }
  co_return Result<void>{};
}

Task<void> MirrorSide::until_applied(const Many& many, Lsn lsn) const {
  auto waiting = until(many, [lsn](Mirror& mirror) { return has_applied(mirror, lsn); });
  auto reached = co_await std::move(waiting);
  co_return reached;
}

Task<BenchAnswer> MirrorSide::order(BenchOrder order) {
  auto stream = co_await control_.open_bidi_stream();
  if (!stream) co_return stream.error();
  std::vector<std::byte> payload;
  for (const auto number : order.numbers())
    put_number(payload, number);
  quic::SendBuffer frame(encode_frame(frame_kind::bench, payload));
  const auto written = co_await stream->send.write(std::move(frame));
  if (!written) co_return written.error();
  stream->send.finish();
  std::array<std::byte, frame_header_bytes + BenchAnswer::payload_bytes> bytes{};
  const auto read = co_await stream->recv.read_exactly(bytes);
  if (!read) co_return read.error();
  const auto numbers = std::span(bytes).subspan<frame_header_bytes>();
  co_return BenchAnswer{take_number(numbers.subspan<0, 8>()), take_number(numbers.subspan<8, 8>()),
                        take_number(numbers.subspan<16, 8>()), take_number(numbers.subspan<24, 8>())};
}

Task<LagFigures> MirrorSide::measure_lag(Many& many, BenchOrder entry) {
  many.front()->engine->timing = true;
  entry.entries = paced_entries;
  entry.per_second = paced_per_second;
  const auto answer = co_await order(entry);
  if (!answer) co_return answer.error();
  auto waiting = until_applied(many, Lsn{answer->last_lsn});
  const auto reached = co_await std::move(waiting);
  if (!reached) co_return reached.error();
  auto& times = many.front()->engine->times_us();
  many.front()->engine->timing = false;
  std::ranges::sort(times);
  if (times.empty()) co_return MirrorError::timeout("no entry came to the mirror while the times were taken");
  const LagFigures figures{times[times.size() / 2], times[times.size() * 99 / 100]};
  times.clear();
  co_return figures;
}

Task<RateFigures> MirrorSide::measure_rate(Many& many, BenchOrder entry, std::uint64_t entries) {
  // What is to be moved waits at the source first, so that what is measured is moving it.
  for (const auto& one : many)
    (void)one->mirror->pause();
  entry.entries = 1;
  const auto mark = co_await order(entry);
  entry.entries = entries;
  const auto written = mark ? co_await order(entry) : mark.error();
  if (!written) co_return written.error();
  const auto source_before = written->cpu_us;
  const auto mirror_before = own_cpu_us();
  const auto begin = Clock::now();
  for (const auto& one : many)
    (void)one->mirror->resume();
  auto waiting = until_applied(many, Lsn{written->last_lsn});
  const auto reached = co_await std::move(waiting);
  if (!reached) co_return reached.error();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto mirror_after = own_cpu_us();
  const auto after = co_await order({});
  if (!after) co_return after.error();
  const auto moved = static_cast<double>(entries * many.size());
  RateFigures figures;
  figures.entries_per_s = moved / seconds;
  figures.source_cpu_us = static_cast<double>(after->cpu_us - source_before) / moved;
  figures.mirror_cpu_us = static_cast<double>(mirror_after - mirror_before) / moved;
  co_return figures;
}

}  // namespace crosslink::bench
