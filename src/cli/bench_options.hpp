// Options and shared pieces of `crosslink bench`.
#pragma once

#include <sys/types.h>

#include <boost/asio/signal_set.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "cli/connection_options.hpp"
#include "cli/globals.hpp"
#include "crosslink/awaitable.hpp"

namespace crosslink::cli {

struct BenchOptions {
  std::uint64_t bytes = 1'000'000'000;
  std::uint64_t streams = 1;
  std::uint64_t count = 1000;   ///< handshakes
  std::uint64_t parallel = 32;  ///< handshakes at once in the parallel part
  std::uint64_t rate_mbit_per_s = 0;
  std::string engine = "memory";
  std::uint64_t entries = 2'000'000;
  std::uint64_t mirrors = 1;
  bool zstd = false;
  std::string dir;  ///< where databases on disk are made
  std::uint64_t bootstrap_bytes = 2'000'000'000;
  std::uint64_t runs = 3;
  quic::CongestionControl congestion = quic::CongestionControl::bbr;
  std::string listen, connect;
  std::string cluster_id = "bench-source";
  TlsOptions tls;
};

/// The source of link and handshakes: serves until SIGTERM or SIGINT. Prints `listening HOST:PORT` first.
int run_bench_source(const Globals& globals, const BenchOptions& options);
int run_bench_mirror_source(const Globals& globals, const BenchOptions& options);
int run_bench_mirror(const Globals& globals, const BenchOptions& options);
int run_bench_link(const Globals& globals, const BenchOptions& options);
int run_bench_handshakes(const Globals& globals, const BenchOptions& options);

/// The mirror's side of a benchmark needs a source: the one it was told to connect to, or one of its own, a second
/// process on loopback with certificates of its own. Ends that process and removes the files when it goes.
class BenchSource {
 public:
  /// `verb` is "link", "handshakes" or "mirror". From here on SIGINT and SIGTERM wait for run(). Errors: Configuration.
  static Result<BenchSource> start(boost::asio::io_context& context, const BenchOptions& options,
                                   const std::string& verb);
  BenchSource(BenchSource&& other) noexcept;
  BenchSource& operator=(BenchSource&&) = delete;
  ~BenchSource();

  const std::string& address() const { return address_; }
  const TlsOptions& tls() const { return tls_; }
  /// Of this run alone, removed with it: what is in `source` below it is the own source's.
  const std::filesystem::path& folder() const { return folder_; }
  /// Stops the own source and returns its peak memory; 0 when there is none of our own.
  std::uint64_t stop();
  /// Runs `work` to its end. SIGINT and SIGTERM end this process as they would, but after its source and its files.
  int run(boost::asio::io_context& context, boost::asio::awaitable<int> work);

 private:
  explicit BenchSource(boost::asio::io_context& context);
  Result<void> make_folder(const BenchOptions& options);
  Result<void> make_certificates(const std::string& cluster_id);
  void remove_files();
  Result<void> launch(const BenchOptions& options, const std::string& verb);
  std::unique_ptr<boost::asio::signal_set> signals_;
  std::string address_;
  TlsOptions tls_;
  std::filesystem::path folder_;
  pid_t process_ = 0;
};

/// Peak resident memory of this process.
std::uint64_t own_peak_memory_bytes();

}  // namespace crosslink::cli
