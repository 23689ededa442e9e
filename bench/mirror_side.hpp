// What the mirror's process of `crosslink-bench mirror` does for any engine: orders to the source, mirrors, times.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/task_group.hpp"
#include "bench/mirror_protocol.hpp"
#include "bench/options.hpp"
#include "crosslink/mirror.hpp"

namespace crosslink::bench {

/// An engine that notes when each entry is applied.
class TimedEngine final : public MirrorEngine {
 public:
  explicit TimedEngine(std::unique_ptr<MirrorEngine> inner) : inner_(std::move(inner)) {}
  MirrorEngine& inner() { return *inner_; }
  EngineTraits traits() const override { return inner_->traits(); }
  MirrorState mirror_state() const override { return inner_->mirror_state(); }
  Result<void> apply(const ApplyGroup& group) override;
  Result<void> step_back(Lsn from) override { return inner_->step_back(from); }
  Result<Lsn> sync() override { return inner_->sync(); }
  Result<void> begin_snapshot(const SnapshotFacts& facts) override { return inner_->begin_snapshot(facts); }
  Result<void> store_chunk(const StoredChunk& chunk, std::span<const std::byte> bytes) override {
    return inner_->store_chunk(chunk, bytes);
  }
  Result<SnapshotCheck> check_snapshot() override { return inner_->check_snapshot(); }
  Result<void> switch_snapshot() override { return inner_->switch_snapshot(); }
  Result<void> drop_snapshot() override { return inner_->drop_snapshot(); }
  Result<PromotedFrom> promote(const std::string& cluster, const std::string& database) override {
    return inner_->promote(cluster, database);
  }

  std::atomic<bool> timing = false;
  /// Only while no entry is being applied.
  std::vector<std::uint64_t>& times_us() { return times_us_; }

 private:
  std::unique_ptr<MirrorEngine> inner_;
  std::vector<std::uint64_t> times_us_;
};

/// Of entries committed at `paced_per_second`.
struct LagFigures {
  std::uint64_t p50_us = 0, p99_us = 0;
};
inline constexpr std::uint64_t paced_entries = 5'000, paced_per_second = 1'000;

struct RateFigures {
  double entries_per_s = 0, source_cpu_us = 0, mirror_cpu_us = 0;  ///< CPU for one entry at one mirror
};

class MirrorSide {
 public:
  struct One {
    std::unique_ptr<TimedEngine> engine;
    std::unique_ptr<Mirror> mirror;
  };
  using Many = std::vector<std::unique_ptr<One>>;

  MirrorSide(const BenchOptions& options, std::string address, quic::Endpoint endpoint, quic::ClientConfig config,
             boost::asio::any_io_executor executor);

  Task<void> connect();
  void close() { control_.close(); }
  Task<BenchAnswer> order(BenchOrder order);
  std::unique_ptr<One> start(std::unique_ptr<MirrorEngine> engine, std::uint64_t number);
  /// All that were started.
  awaitable<void> stop(Many& many);
  /// Errors: Timeout after 10 minutes, a mirror that halted.
  Task<void> until(const Many& many, std::function<bool(Mirror&)> condition) const;
  /// Every mirror has applied this.
  Task<void> until_applied(const Many& many, Lsn lsn) const;

  Task<LagFigures> measure_lag(Many& many, BenchOrder entry);
  /// Pauses the mirrors, lets the source commit `entries`, and measures how fast they come.
  Task<RateFigures> measure_rate(Many& many, BenchOrder entry, std::uint64_t entries);

 private:
  const BenchOptions& options_;
  const std::string address_;
  const quic::Endpoint endpoint_;
  const quic::ClientConfig config_;
  boost::asio::thread_pool engine_threads_{1};
  async::TaskGroup group_;
  CrossClusterLink control_;
};

inline bool is_following(Mirror& mirror) { return mirror.status().kind == StatusKind::Following; }

/// The figures of `--engine rocksdb`.
int run_bench_rocksdb(const cli::Globals& globals, const BenchOptions& options);

}  // namespace crosslink::bench
