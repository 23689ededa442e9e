#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <vector>

#include "async/engine_call.hpp"
#include "bench/options.hpp"
#include "cli/report.hpp"
#include "tls/certificate_authority.hpp"

namespace crosslink::bench {
namespace {

constexpr std::string_view listening_prefix = "listening ";

/// What the standard library looks at, for the sentence that says it will not do.
const char* secure_tmpdir() {
  const char* named = ::secure_getenv("TMPDIR");
  return named == nullptr ? "/tmp" : named;
}

}  // namespace

std::uint64_t own_peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

Result<BenchFolder> BenchFolder::make(const std::string& above_it) {
  std::error_code none;
  const auto above = above_it.empty() ? std::filesystem::temp_directory_path(none) : std::filesystem::path(above_it);
  std::string name = (above / "crosslink-bench-XXXXXX").string();
  if (none || ::mkdtemp(name.data()) == nullptr) {
    return MirrorError::configuration(
        fmt::format("cannot make a folder of its own in '{}': set TMPDIR to a folder that can be written to",
                    escape(none ? std::string(secure_tmpdir()) : above.string())));
  }
  return BenchFolder(name);
}

Result<void> BenchFolder::make_certificates(std::initializer_list<std::string> names) const {
  if (auto made = tls::make_authority(path_, false); !made) return made;
  for (const auto& name : names) {
    if (auto made = tls::issue(path_, name, {}, false); !made) return made;
  }
  return {};
}

void BenchFolder::remove() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(std::exchange(path_, {}), ignored);
}

BenchSignals::BenchSignals(boost::asio::io_context& context)
    : signals_(std::make_unique<boost::asio::signal_set>(context, SIGINT, SIGTERM)) {}

int BenchSignals::run(boost::asio::io_context& context, boost::asio::awaitable<int> work,
                      std::function<void()> clean_up) {
  signals_->async_wait([this, clean_up = std::move(clean_up)](boost::system::error_code error, int signal) {
    if (error) return;
    clean_up();
    signals_->clear();
    ::raise(signal);
  });
  auto until_done = [](boost::asio::awaitable<int> inner, boost::asio::signal_set& waiting) -> awaitable<int> {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    const int code = co_await std::move(inner);
    waiting.cancel();
    co_return code;
  };
  return cli::run_to_end(context, until_done(std::move(work), *signals_));
}

int run_beside_signals(const cli::Globals& globals, const BenchOptions& options, std::initializer_list<std::string> ids,
                       std::function<int(const std::filesystem::path& folder)> work) {
  boost::asio::io_context context(1);
  BenchSignals signals(context);
  auto folder = BenchFolder::make(options.dir);
  if (!folder) return cli::report_error(globals, folder.error());
  if (auto made = folder->make_certificates(ids); !made) return cli::report_error(globals, made.error());
  auto beside = [&work, &folder]() -> awaitable<int> {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    boost::asio::thread_pool worker(1);
    auto call = [&work, &folder]() -> Result<int> { return work(folder->path()); };
    auto calling = async::call_engine(worker.get_executor(), std::move(call));
    const auto code = co_await std::move(calling);
    co_return *code;
  };
  return signals.run(context, beside(), [&] { folder->remove(); });
}

Result<BenchSource> BenchSource::start(boost::asio::io_context& context, const BenchOptions& options,
                                       const std::string& verb) {
  BenchSource source(context);
  const bool own = options.connect.empty();
  if (own || options.engine != "memory") {
    auto made = BenchFolder::make(options.dir);
    if (!made) return made.error();
    source.folder_.emplace(std::move(*made));
  }
  if (!own) {
    source.address_ = options.connect;
    source.tls_ = options.tls;
    return source;
  }
  if (auto made = source.folder_->make_certificates({options.cluster_id, "bench-mirror"}); !made) return made.error();
  const auto file = [&](const std::string& name) { return (source.folder() / name).string(); };
  source.tls_ = {file("ca.pem"), file("bench-mirror.pem"), file("bench-mirror.key")};
  if (auto launched = source.launch(options, verb); !launched) return launched.error();
  return source;
}

Result<void> BenchSource::launch(const BenchOptions& options, const std::string& verb) {
  const auto file = [this](const std::string& name) { return (folder() / name).string(); };
  std::vector<std::string> arguments{verb,
                                     "--listen",
                                     "127.0.0.1:0",
                                     "--cluster-id",
                                     options.cluster_id,
                                     "--ca",
                                     file("ca.pem"),
                                     "--cert",
                                     file(options.cluster_id + ".pem"),
                                     "--key",
                                     file(options.cluster_id + ".key"),
                                     "--congestion",
                                     options.congestion == quic::CongestionControl::bbr ? "bbr" : "cubic",
                                     "--rate",
                                     std::to_string(options.rate_mbit_per_s)};
  if (verb == "mirror") arguments.insert(arguments.end(), {"--engine", options.engine, "--dir", folder().string()});
  auto process = ChildProcess::start(own_program, std::move(arguments));
  if (!process) return process.error();
  process_.emplace(std::move(*process));
  const auto line = process_->read_line();
  if (!line.starts_with(listening_prefix))
    return MirrorError::configuration("the source's process did not start; its reason is above");
  address_ = line.substr(listening_prefix.size());
  return {};
}

int BenchSource::run(boost::asio::io_context& context, boost::asio::awaitable<int> work) {
  return signals_.run(context, std::move(work), [this] {
    stop();
    if (folder_) folder_->remove();
  });
}

std::uint64_t BenchSource::stop() { return process_ ? process_->stop().peak_memory_bytes : 0; }

}  // namespace crosslink::bench
