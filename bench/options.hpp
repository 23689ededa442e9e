// Options and shared pieces of `crosslink-bench`.
#pragma once

#include <boost/asio/signal_set.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bench/child_process.hpp"
#include "cli/connection_options.hpp"
#include "cli/globals.hpp"
#include "crosslink/awaitable.hpp"

namespace crosslink::bench {

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
  std::uint64_t keys = 200'000;        ///< of etcd
  std::uint64_t requests = 2'000'000;  ///< of redis-benchmark, each time
  std::uint64_t databases = 100;       ///< of scale
  std::uint64_t idle_seconds = 20;
  quic::CongestionControl congestion = quic::CongestionControl::bbr;
  std::string listen, connect;
  std::string cluster_id = "bench-source";
  cli::TlsOptions tls;
};

/// The source of link and handshakes: serves until SIGTERM or SIGINT. Prints `listening HOST:PORT` first.
int run_bench_source(const cli::Globals& globals, const BenchOptions& options);
int run_bench_mirror_source(const cli::Globals& globals, const BenchOptions& options);
int run_bench_mirror(const cli::Globals& globals, const BenchOptions& options);
int run_bench_link(const cli::Globals& globals, const BenchOptions& options);
int run_bench_handshakes(const cli::Globals& globals, const BenchOptions& options);
int run_bench_node(const cli::Globals& globals, const BenchOptions& options);
int run_bench_scale(const cli::Globals& globals, const BenchOptions& options);
int run_bench_etcd(const cli::Globals& globals, const BenchOptions& options);

/// A folder of this run alone, removed with this.
class BenchFolder {
 public:
  /// In `above`, or where temporary files are. Errors: Configuration.
  static Result<BenchFolder> make(const std::string& above);
  BenchFolder(BenchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  BenchFolder& operator=(BenchFolder&&) = delete;
  ~BenchFolder() { remove(); }
  const std::filesystem::path& path() const { return path_; }
  /// An authority, and a certificate for each name. Errors: as of tls::issue.
  Result<void> make_certificates(std::initializer_list<std::string> names) const;
  void remove();

 private:
  explicit BenchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// From its constructor on SIGINT and SIGTERM wait for run().
class BenchSignals {
 public:
  explicit BenchSignals(boost::asio::io_context& context);
  /// Runs `work` to its end. SIGINT and SIGTERM end this process as they would, but after `clean_up`.
  int run(boost::asio::io_context& context, boost::asio::awaitable<int> work, std::function<void()> clean_up);

 private:
  std::unique_ptr<boost::asio::signal_set> signals_;
};

/// A benchmark that blocks: `work` is run beside the thread that hears signals, with a folder that has a certificate for
/// each of `ids` and is removed at the end. SIGINT and SIGTERM end this process as they would, its processes with it.
int run_beside_signals(const cli::Globals& globals, const BenchOptions& options, std::initializer_list<std::string> ids,
                       std::function<int(const std::filesystem::path& folder)> work);

/// This program, for ChildProcess.
inline constexpr const char* own_program = "/proc/self/exe";

/// The mirror's side of a benchmark needs a source: the one it was told to connect to, or one of its own, a second
/// process on loopback with certificates of its own. Ends that process and removes the files when it goes.
class BenchSource {
 public:
  /// `verb` is "link", "handshakes" or "mirror". From here on SIGINT and SIGTERM wait for run(). Errors: Configuration.
  static Result<BenchSource> start(boost::asio::io_context& context, const BenchOptions& options,
                                   const std::string& verb);

  const std::string& address() const { return address_; }
  const cli::TlsOptions& tls() const { return tls_; }
  /// Of this run alone, removed with it: what is in `source` below it is the own source's. Precondition: it has a
  /// source of its own, or one on disk.
  const std::filesystem::path& folder() const { return folder_->path(); }
  /// Stops the own source and returns its peak memory; 0 when there is none of our own.
  std::uint64_t stop();
  /// Runs `work` to its end. SIGINT and SIGTERM end this process as they would, but after its source and its files.
  int run(boost::asio::io_context& context, boost::asio::awaitable<int> work);

 private:
  explicit BenchSource(boost::asio::io_context& context) : signals_(context) {}
  Result<void> launch(const BenchOptions& options, const std::string& verb);
  BenchSignals signals_;
  std::string address_;
  cli::TlsOptions tls_;
  std::optional<BenchFolder> folder_;
  std::optional<ChildProcess> process_;  ///< after the folder: it ends first
};

/// Peak resident memory of this process.
std::uint64_t own_peak_memory_bytes();

}  // namespace crosslink::bench
