#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <vector>

#include "cli/bench_options.hpp"
#include "tls/certificate_authority.hpp"

namespace crosslink::cli {
namespace {

constexpr std::string_view listening_prefix = "listening ";

/// What the standard library looks at, for the sentence that says it will not do.
const char* secure_tmpdir() {
  const char* named = ::secure_getenv("TMPDIR");
  return named == nullptr ? "/tmp" : named;
}

std::uint64_t peak_bytes(const rusage& usage) { return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024; }

/// One line of a pipe, without its end; empty when the writer went first.
std::string read_line(int descriptor) {
  std::string line;
  char one = 0;
  while (line.size() < 4096) {
    const auto read = ::read(descriptor, &one, 1);
    if (read < 0 && errno == EINTR) continue;
    if (read != 1 || one == '\n') break;
    line.push_back(one);
  }
  return line;
}

pid_t spawn(const std::vector<std::string>& arguments, int output) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (const auto& argument : arguments)
    raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) {
    // A parent that is killed outright takes its source with it.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(output, STDOUT_FILENO);
    ::execv("/proc/self/exe", raw.data());
    ::_exit(127);
  }
  return process;
}

}  // namespace

std::uint64_t own_peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return peak_bytes(usage);
}

BenchSource::BenchSource(boost::asio::io_context& context)
    : signals_(std::make_unique<boost::asio::signal_set>(context, SIGINT, SIGTERM)) {}

Result<BenchSource> BenchSource::start(boost::asio::io_context& context, const BenchOptions& options,
                                       const std::string& verb) {
  BenchSource source(context);
  if (!options.connect.empty()) {
    source.address_ = options.connect;
    source.tls_ = options.tls;
    if (options.engine == "memory") return source;
    if (auto made = source.make_folder(options); !made) return made.error();
    return source;
  }
  if (auto made = source.make_folder(options); !made) return made.error();
  if (auto made = source.make_certificates(options.cluster_id); !made) return made.error();
  const auto file = [&](const std::string& name) { return (source.folder_ / name).string(); };
  source.tls_ = {file("ca.pem"), file("bench-mirror.pem"), file("bench-mirror.key")};
  if (auto launched = source.launch(options, verb); !launched) return launched.error();
  return source;
}

Result<void> BenchSource::make_folder(const BenchOptions& options) {
  std::error_code none;
  const auto above =
      options.dir.empty() ? std::filesystem::temp_directory_path(none) : std::filesystem::path(options.dir);
  std::string name = (above / "crosslink-bench-XXXXXX").string();
  if (none || ::mkdtemp(name.data()) == nullptr) {
    return MirrorError::configuration(
        fmt::format("cannot make a folder of its own in '{}': set TMPDIR to a folder that can be written to",
                    escape(none ? std::string(secure_tmpdir()) : above.string())));
  }
  folder_ = name;
  return {};
}

Result<void> BenchSource::make_certificates(const std::string& cluster_id) {
  if (auto made = tls::make_authority(folder_, false); !made) return made;
  if (auto made = tls::issue(folder_, cluster_id, {}, false); !made) return made;
  return tls::issue(folder_, "bench-mirror", {}, false);
}

Result<void> BenchSource::launch(const BenchOptions& options, const std::string& verb) {
  const auto file = [this](const std::string& name) { return (folder_ / name).string(); };
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
    return MirrorError::configuration("cannot make a pipe to the source's process");
  std::vector<std::string> arguments{"crosslink",
                                     "bench",
                                     verb,
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
  if (verb == "mirror") arguments.insert(arguments.end(), {"--engine", options.engine, "--dir", folder_.string()});
  process_ = spawn(arguments, pipe[1]);
  ::close(pipe[1]);
  const auto line = process_ > 0 ? read_line(pipe[0]) : std::string();
  ::close(pipe[0]);
  if (!line.starts_with(listening_prefix))
    return MirrorError::configuration("the source's process did not start; its reason is above");
  address_ = line.substr(listening_prefix.size());
  return {};
}

BenchSource::BenchSource(BenchSource&& other) noexcept
    : signals_(std::move(other.signals_)),
      address_(std::move(other.address_)),
      tls_(std::move(other.tls_)),
      folder_(std::exchange(other.folder_, {})),
      process_(std::exchange(other.process_, 0)) {}

BenchSource::~BenchSource() {
  stop();
  remove_files();
}

void BenchSource::remove_files() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

int BenchSource::run(boost::asio::io_context& context, boost::asio::awaitable<int> work) {
  signals_->async_wait([this](boost::system::error_code error, int signal) {
    if (error) return;
    stop();
    remove_files();
    signals_->clear();
    ::raise(signal);
  });
  auto until_done = [](boost::asio::awaitable<int> inner, boost::asio::signal_set& waiting) -> awaitable<int> {
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    const int code = co_await std::move(inner);
    waiting.cancel();
    co_return code;
  };
  return run_to_end(context, until_done(std::move(work), *signals_));
}

std::uint64_t BenchSource::stop() {
  if (process_ <= 0) return 0;
  ::kill(process_, SIGTERM);
  rusage usage{};
  int status = 0;
  ::wait4(std::exchange(process_, 0), &status, 0, &usage);
  return peak_bytes(usage);
}

}  // namespace crosslink::cli
