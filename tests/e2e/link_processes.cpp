// Links between processes: this program starts itself as a source.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "crosslink/source.hpp"
#include "link/link_options.hpp"
#include "support/certificates.hpp"
#include "support/coroutines.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t links_at_once = 1000;
constexpr auto patience =
    120s;  // idle timeout of links that are not meant to end by themselves; the shorter one counts

template <class T>
T need(Result<T> result) {
  if (!result)
    throw std::runtime_error(std::string(to_string(result.error().kind())) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

// --- the source's process
// ----------------------------------------------------------------------------------------------

/// Answers every request with bytes until the mirror has enough.
Task<void> send_without_end(AcceptedMirror& mirror) {
  const std::vector<std::byte> block(64 * 1024, std::byte{0x5a});
  for (;;) {
    auto incoming = co_await mirror.accept_stream();
    if (!incoming) co_return incoming.error();
    bool open = true;
    while (open) {
      quic::SendBuffer buffer(block);
      const auto written = co_await incoming->stream.send.write(std::move(buffer));
      open = written.ok();
    }
  }
}

int run_source(const std::filesystem::path& folder, std::uint16_t port) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  boost::asio::io_context context;
  auto endpoint = need(quic::Endpoint::open());
  quic::ServerConfig config;
  config.tls = {folder / "ca.pem", folder / "prod-us.pem", folder / "prod-us.key"};
  config.transport.idle_timeout = patience;
  auto listener = need(endpoint.listen({boost::asio::ip::make_address_v4("127.0.0.1"), port}, config));
  SourcePolicy policy;
  policy.cluster_id = ClusterId("prod-us");
  policy.authorize = [](std::span<const std::string>, const DatabaseId&) { return true; };
  policy.database_exists = [](const DatabaseId&) { return true; };
  AcceptorLimits limits;
  limits.mirrors_per_name_max = links_at_once;
  limits.handshakes_per_name_max = limits.handshakes_max;
  MirrorAcceptor acceptor(std::move(listener), policy, limits, send_without_end);
  std::printf("listening %u\n", static_cast<unsigned>(acceptor.local_address().port()));
  std::fflush(stdout);
  boost::asio::co_spawn(context, acceptor.run(), [](std::exception_ptr error, const Result<void>& ended) {
    if (error) std::rethrow_exception(error);
    if (!ended) std::fprintf(stderr, "the source ended: %s\n", ended.error().message().c_str());
  });
  context.run();
  return 0;
}

class SourceProcess {
 public:
  explicit SourceProcess(const std::filesystem::path& folder, std::uint16_t port = 0) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string program = "/proc/self/exe";
    std::string verb = "--source";
    std::string place = folder.string();
    std::string number = std::to_string(port);
    std::array<char*, 5> arguments{program.data(), verb.data(), place.data(), number.data(), nullptr};
    const int failed = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed != 0) throw std::runtime_error("cannot start a source");
    FILE* output = ::fdopen(ends[0], "r");
    unsigned bound = 0;
    if (std::fscanf(output, "listening %u", &bound) != 1) throw std::runtime_error("the source did not listen");
    std::fclose(output);
    port_ = static_cast<std::uint16_t>(bound);
  }
  ~SourceProcess() { kill(); }
  SourceProcess(const SourceProcess&) = delete;
  SourceProcess& operator=(const SourceProcess&) = delete;

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }
  std::uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  pid_t pid_ = -1;
  std::uint16_t port_ = 0;
};

/// A line of /proc/PID/status in KiB.
std::uint64_t memory_kib(pid_t pid, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(field + ":")) continue;
    std::istringstream words(line.substr(field.size() + 1));
    std::uint64_t value = 0;
    words >> value;
    return value;
  }
  throw std::runtime_error("no " + field);
}

// --- the mirror's process
// ----------------------------------------------------------------------------------------------

class LinkProcesses : public ::testing::Test {
 public:
  boost::asio::io_context context;
  Certificates certificates{{"prod-us", "eu-1"}};
  quic::Endpoint endpoint = need(quic::Endpoint::open());

  std::unique_ptr<CrossClusterLink> make_link(const std::string& address, quic::ClientConfig config) {
    config.tls = certificates.files("eu-1");
    link::LinkOptions options;
    options.backoff_base = 50ms;
    options.backoff_cap = 500ms;
    return link::make_link({ClusterId("prod-us"), DatabaseId("orders"), address}, endpoint, std::move(config),
                           SendThrottle(), options);
  }

  /// A stream on which the source sends without end.
  static awaitable<quic::BidiStream> open_flow(CrossClusterLink& link) {
    auto stream = need(co_await link.open_bidi_stream());
    quic::SendBuffer request(encode_frame(std::uint8_t{0x20}, {}));
    need(co_await stream.send.write(std::move(request)));
    co_return stream;
  }
  static awaitable<Result<void>> read_bytes(quic::BidiStream& stream, std::size_t bytes) {
    while (bytes > 0) {
      const auto view = co_await stream.recv.read();
      if (!view) co_return view.error();
      bytes -= std::min(bytes, view->total_bytes);
      stream.recv.consume(view->total_bytes);
    }
    co_return Result<void>{};
  }
};

// Goal: a source that dies without a word is noticed within the idle timeout, and the link comes back to its successor.
// Method: SIGKILL while bytes flow; the mirror reads on until it gets an error; then a new source starts at the same
// port.
TEST_F(LinkProcesses, a_source_killed_mid_stream_is_noticed_within_the_idle_timeout_and_reconnected_to) {
  run(
      context,
      [](LinkProcesses& test) -> awaitable<void> {
        constexpr auto idle_timeout = 2s;
        quic::ClientConfig config;
        config.transport.idle_timeout = idle_timeout;
        config.transport.keep_alive = 500ms;
        auto source = std::make_unique<SourceProcess>(test.certificates.folder());
        auto link = test.make_link(source->address(), config);
        need(co_await link->connect(Lsn{0}));
        auto flow = co_await open_flow(*link);
        need(co_await read_bytes(flow, 8 * 1024 * 1024));
        const auto port = source->port();
        source->kill();
        const auto killed = std::chrono::steady_clock::now();
        const auto ended = co_await read_bytes(flow, SIZE_MAX);
        const auto noticed = std::chrono::steady_clock::now() - killed;
        EXPECT_FALSE(ended.ok());
        EXPECT_EQ(ended.error().kind(), ErrorKind::Transport) << ended.error().message();
        EXPECT_EQ(ended.error().caused_by(), CausedBy::transport) << ended.error().message();
        EXPECT_LT(noticed, 8s) << "the default is 10 s";
        EXPECT_EQ(link->state(), LinkState::disconnected);
        std::printf("noticed after %lld ms: %s\n",
                    static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(noticed).count()),
                    ended.error().message().c_str());
        auto reconnecting =
            Background<Result<MirrorHelloAck>>(test.context.get_executor(), link->schedule_reconnect(Lsn{7}));
        EXPECT_TRUE(co_await eventually([&] { return link->retry_facts().attempts >= 1; }));
        source = std::make_unique<SourceProcess>(test.certificates.folder(), port);
        const auto ack = co_await reconnecting.end();
        EXPECT_TRUE(ack.ok());
        auto second = co_await open_flow(*link);
        need(co_await read_bytes(second, 8 * 1024 * 1024));
        link->close();
      }(*this),
      120s);
}

// Goal: a thousand mirrors that come at once, as after an outage, are all linked in the end, with the deadlines people
// have. Method: each does what a mirror does after an outage; a source that is overrun answers late or refuses, and the
// link comes again.
TEST_F(LinkProcesses, a_thousand_links_to_one_source_shake_hands_at_once) {
  run(
      context,
      [](LinkProcesses& test) -> awaitable<void> {
        SourceProcess source(test.certificates.folder());
        quic::ClientConfig config;
        config.transport.idle_timeout = patience;
        const auto before_kib = memory_kib(::getpid(), "VmRSS");
        std::vector<std::unique_ptr<CrossClusterLink>> links;
        std::vector<Background<Result<MirrorHelloAck>>> connecting;
        const auto began = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < links_at_once; ++i) {
          links.push_back(test.make_link(source.address(), config));
          connecting.emplace_back(test.context.get_executor(), links.back()->schedule_reconnect(Lsn{i}));
        }
        std::size_t accepted = 0;
        for (auto& one : connecting) {
          const auto ack = co_await one.end();
          accepted += ack.ok() ? 1 : 0;
          EXPECT_TRUE(ack.ok()) << ack.error().message();
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        EXPECT_EQ(accepted, links_at_once);
        std::size_t connected = 0;
        for (const auto& link : links)
          connected += link->state() == LinkState::connected ? 1 : 0;
        EXPECT_EQ(connected, links_at_once) << "all at the same time";
        std::printf(
            "%zu links in %.2f s; source VmRSS %llu KiB, VmHWM %llu KiB; mirror VmRSS %llu KiB (%llu before), VmHWM "
            "%llu KiB\n",
            accepted, took.count(), static_cast<unsigned long long>(memory_kib(source.pid(), "VmRSS")),
            static_cast<unsigned long long>(memory_kib(source.pid(), "VmHWM")),
            static_cast<unsigned long long>(memory_kib(::getpid(), "VmRSS")),
            static_cast<unsigned long long>(before_kib),
            static_cast<unsigned long long>(memory_kib(::getpid(), "VmHWM")));
        for (auto& link : links)
          link->close();
      }(*this),
      200s);
}

}  // namespace
}  // namespace crosslink::test

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (arguments.size() == 4 && arguments[1] == "--source") {
    std::uint16_t port = 0;
    std::from_chars(arguments[3].data(), arguments[3].data() + arguments[3].size(), port);
    return crosslink::test::run_source(arguments[2], port);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
