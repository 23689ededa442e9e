// The yardstick for `crosslink-bench link`: one stream over the transport's C interface, callbacks only, none of our
// code.
//
//   both ends, on loopback:
//     bare_msquic --bytes 4000000000 --congestion bbr --ca ca.pem --cert a.pem --key a.key
//   the sender, and the receiver, which prints the figures:
//     bare_msquic --listen 0.0.0.0:7500 --ca ...
//     bare_msquic --connect 10.77.0.1:7500 --ca ...
//
// The same settings as the product: max-throughput profile, no send buffering, 32 MiB windows, the ideal amount in
// flight, mutual TLS, sends of 1 MiB.
#include <arpa/inet.h>
#include <msquic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

constexpr std::uint32_t send_bytes = 1024 * 1024;
constexpr std::uint32_t stream_window_bytes = 32 * 1024 * 1024;

const QUIC_API_TABLE* api = nullptr;

[[noreturn]] void fail(const char* what, QUIC_STATUS status) {
  std::fprintf(stderr, "bare_msquic: %s: status %u\n", what, status);
  std::exit(1);
}
void require(QUIC_STATUS status, const char* what) {
  if (QUIC_FAILED(status)) fail(what, status);
}

struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  void raise() {
    const std::scoped_lock lock(mutex);
    open = true;
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return open; });
  }
};

struct Sender {
  std::uint64_t left = 0, in_flight = 0, ideal = 128 * 1024;
  std::vector<std::uint8_t> data = std::vector<std::uint8_t>(send_bytes, 0x5a);
  std::vector<std::uint8_t> request;
  QUIC_BUFFER buffer{send_bytes, nullptr};
  QUIC_BUFFER rest{0, nullptr};
  Gate done;

  void pump(HQUIC stream) {
    while (left > 0 && in_flight < ideal) {
      const auto now = std::min<std::uint64_t>(left, send_bytes);
      QUIC_BUFFER* piece = &buffer;
      if (now < send_bytes) {
        rest = {static_cast<std::uint32_t>(now), data.data()};
        piece = &rest;
      }
      left -= now;
      in_flight += now;
      require(api->StreamSend(stream, piece, 1, left == 0 ? QUIC_SEND_FLAG_FIN : QUIC_SEND_FLAG_NONE, piece),
              "StreamSend");
    }
  }
};

QUIC_STATUS sender_stream(HQUIC stream, void* context, QUIC_STREAM_EVENT* event) {
  auto& sender = *static_cast<Sender*>(context);
  if (event->Type == QUIC_STREAM_EVENT_RECEIVE) {
    for (std::uint32_t i = 0; i < event->RECEIVE.BufferCount; ++i) {
      const auto& piece = event->RECEIVE.Buffers[i];
      sender.request.insert(sender.request.end(), piece.Buffer, piece.Buffer + piece.Length);
    }
    if (sender.request.size() == sizeof(sender.left)) {
      std::memcpy(&sender.left, sender.request.data(), sizeof(sender.left));
      sender.request.clear();
      sender.pump(stream);
    }
  } else if (event->Type == QUIC_STREAM_EVENT_IDEAL_SEND_BUFFER_SIZE) {
    sender.ideal = event->IDEAL_SEND_BUFFER_SIZE.ByteCount;
    sender.pump(stream);
  } else if (event->Type == QUIC_STREAM_EVENT_SEND_COMPLETE) {
    sender.in_flight -= static_cast<QUIC_BUFFER*>(event->SEND_COMPLETE.ClientContext)->Length;
    sender.pump(stream);
  } else if (event->Type == QUIC_STREAM_EVENT_SHUTDOWN_COMPLETE) {
    api->StreamClose(stream);
  }
  return QUIC_STATUS_SUCCESS;
}

QUIC_STATUS sender_connection(HQUIC connection, void* context, QUIC_CONNECTION_EVENT* event) {
  auto& sender = *static_cast<Sender*>(context);
  if (event->Type == QUIC_CONNECTION_EVENT_PEER_STREAM_STARTED) {
    api->SetCallbackHandler(event->PEER_STREAM_STARTED.Stream, reinterpret_cast<void*>(sender_stream), context);
  } else if (event->Type == QUIC_CONNECTION_EVENT_SHUTDOWN_COMPLETE) {
    api->ConnectionClose(connection);
    sender.done.raise();
  }
  return QUIC_STATUS_SUCCESS;
}

HQUIC server_configuration = nullptr;
QUIC_STATUS sender_listener(HQUIC, void* context, QUIC_LISTENER_EVENT* event) {
  if (event->Type != QUIC_LISTENER_EVENT_NEW_CONNECTION) return QUIC_STATUS_SUCCESS;
  api->SetCallbackHandler(event->NEW_CONNECTION.Connection, reinterpret_cast<void*>(sender_connection), context);
  return api->ConnectionSetConfiguration(event->NEW_CONNECTION.Connection, server_configuration);
}

struct Receiver {
  std::uint64_t asked = 0, got = 0;
  QUIC_BUFFER request{sizeof(asked), nullptr};
  HQUIC connection = nullptr;
  Gate finished, ended;
};

QUIC_STATUS receiver_stream(HQUIC stream, void* context, QUIC_STREAM_EVENT* event) {
  auto& receiver = *static_cast<Receiver*>(context);
  if (event->Type == QUIC_STREAM_EVENT_RECEIVE) receiver.got += event->RECEIVE.TotalBufferLength;
  if (event->Type == QUIC_STREAM_EVENT_PEER_SEND_SHUTDOWN) receiver.finished.raise();
  if (event->Type == QUIC_STREAM_EVENT_SHUTDOWN_COMPLETE) api->StreamClose(stream);
  return QUIC_STATUS_SUCCESS;
}

QUIC_STATUS receiver_connection(HQUIC connection, void* context, QUIC_CONNECTION_EVENT* event) {
  auto& receiver = *static_cast<Receiver*>(context);
  if (event->Type == QUIC_CONNECTION_EVENT_CONNECTED) {
    HQUIC stream = nullptr;
    require(api->StreamOpen(connection, QUIC_STREAM_OPEN_FLAG_NONE, receiver_stream, context, &stream), "StreamOpen");
    receiver.request.Buffer = reinterpret_cast<std::uint8_t*>(&receiver.asked);
    require(api->StreamSend(stream, &receiver.request, 1, QUIC_SEND_FLAG_START | QUIC_SEND_FLAG_FIN, nullptr),
            "StreamSend");
  } else if (event->Type == QUIC_CONNECTION_EVENT_SHUTDOWN_INITIATED_BY_TRANSPORT) {
    fail("the connection ended", event->SHUTDOWN_INITIATED_BY_TRANSPORT.Status);
  } else if (event->Type == QUIC_CONNECTION_EVENT_SHUTDOWN_COMPLETE) {
    receiver.ended.raise();
  }
  return QUIC_STATUS_SUCCESS;
}

using Options = std::map<std::string, std::string>;

QUIC_SETTINGS make_settings(const Options& options) {
  QUIC_SETTINGS settings{};
  settings.SendBufferingEnabled = 0;
  settings.IsSet.SendBufferingEnabled = 1;
  settings.StreamRecvWindowDefault = stream_window_bytes;
  settings.IsSet.StreamRecvWindowDefault = 1;
  settings.ConnFlowControlWindow = 4 * stream_window_bytes + 1024 * 1024;
  settings.IsSet.ConnFlowControlWindow = 1;
  settings.PeerBidiStreamCount = 4;
  settings.IsSet.PeerBidiStreamCount = 1;
  settings.IdleTimeoutMs = 10'000;
  settings.IsSet.IdleTimeoutMs = 1;
  settings.CongestionControlAlgorithm =
      static_cast<std::uint16_t>(options.at("congestion") == "bbr" ? QUIC_CONGESTION_CONTROL_ALGORITHM_BBR
                                                                   : QUIC_CONGESTION_CONTROL_ALGORITHM_CUBIC);
  settings.IsSet.CongestionControlAlgorithm = 1;
  return settings;
}

HQUIC make_configuration(HQUIC registration, const Options& options, bool client) {
  static const std::string alpn_name = "bare/1";
  const QUIC_BUFFER alpn{static_cast<std::uint32_t>(alpn_name.size()),
                         reinterpret_cast<std::uint8_t*>(const_cast<char*>(alpn_name.data()))};
  const QUIC_SETTINGS settings = make_settings(options);
  HQUIC configuration = nullptr;
  require(api->ConfigurationOpen(registration, &alpn, 1, &settings, sizeof(settings), nullptr, &configuration),
          "ConfigurationOpen");
  QUIC_CERTIFICATE_FILE files{options.at("key").c_str(), options.at("cert").c_str()};
  QUIC_CREDENTIAL_CONFIG credential{};
  credential.Type = QUIC_CREDENTIAL_TYPE_CERTIFICATE_FILE;
  credential.CertificateFile = &files;
  credential.CaCertificateFile = options.at("ca").c_str();
  credential.Flags = QUIC_CREDENTIAL_FLAG_SET_CA_CERTIFICATE_FILE |
                     QUIC_CREDENTIAL_FLAG_USE_TLS_BUILTIN_CERTIFICATE_VALIDATION |
                     (client ? QUIC_CREDENTIAL_FLAG_CLIENT : QUIC_CREDENTIAL_FLAG_REQUIRE_CLIENT_AUTHENTICATION);
  require(api->ConfigurationLoadCredential(configuration, &credential), "ConfigurationLoadCredential");
  return configuration;
}

QUIC_ADDR parse(const std::string& text) {
  QUIC_ADDR address{};
  const auto colon = text.rfind(':');
  address.Ipv4.sin_family = AF_INET;
  address.Ipv4.sin_port = htons(static_cast<std::uint16_t>(std::atoi(text.c_str() + colon + 1)));
  if (colon == std::string::npos || inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.Ipv4.sin_addr) != 1) {
    std::fprintf(stderr, "bare_msquic: '%s' is no IPv4:PORT\n", text.c_str());
    std::exit(2);
  }
  return address;
}

long peak_memory_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void send_once(HQUIC registration, const Options& options, int report) {
  server_configuration = make_configuration(registration, options, false);
  Sender sender;
  sender.buffer.Buffer = sender.data.data();
  HQUIC listener = nullptr;
  require(api->ListenerOpen(registration, sender_listener, &sender, &listener), "ListenerOpen");
  const QUIC_ADDR local = parse(options.at("listen"));
  const QUIC_BUFFER alpn{6, reinterpret_cast<std::uint8_t*>(const_cast<char*>("bare/1"))};
  require(api->ListenerStart(listener, &alpn, 1, &local), "ListenerStart");
  QUIC_ADDR bound{};
  std::uint32_t size = sizeof(bound);
  require(api->GetParam(listener, QUIC_PARAM_LISTENER_LOCAL_ADDRESS, &size, &bound), "local address");
  dprintf(report, "%u\n", ntohs(bound.Ipv4.sin_port));
  sender.done.wait();
  api->ListenerClose(listener);
}

void receive(HQUIC registration, const Options& options) {
  HQUIC configuration = make_configuration(registration, options, true);
  Receiver receiver;
  receiver.asked = std::strtoull(options.at("bytes").c_str(), nullptr, 10);
  require(api->ConnectionOpen(registration, receiver_connection, &receiver, &receiver.connection), "ConnectionOpen");
  const QUIC_ADDR remote = parse(options.at("connect"));
  require(api->SetParam(receiver.connection, QUIC_PARAM_CONN_REMOTE_ADDRESS, sizeof(remote), &remote), "address");
  const auto begin = std::chrono::steady_clock::now();
  require(api->ConnectionStart(receiver.connection, configuration, AF_INET, "source", ntohs(remote.Ipv4.sin_port)),
          "ConnectionStart");
  receiver.finished.wait();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  api->ConnectionShutdown(receiver.connection, QUIC_CONNECTION_SHUTDOWN_FLAG_NONE, 0);
  receiver.ended.wait();
  api->ConnectionClose(receiver.connection);
  std::printf("{\"bytes\":%llu,\"seconds\":%.3f,\"gbit_per_s\":%.3f,\"mirror_peak_memory_kib\":%ld}\n",
              static_cast<unsigned long long>(receiver.got), seconds,
              static_cast<double>(receiver.got) * 8 / seconds / 1e9, peak_memory_kib());
  if (receiver.got != receiver.asked) std::exit(1);
}

void with_registration(void (*work)(HQUIC, const Options&), const Options& options) {
  require(MsQuicOpen2(&api), "MsQuicOpen2");
  const QUIC_REGISTRATION_CONFIG config{"bare", QUIC_EXECUTION_PROFILE_TYPE_MAX_THROUGHPUT};
  HQUIC registration = nullptr;
  require(api->RegistrationOpen(&config, &registration), "RegistrationOpen");
  work(registration, options);
}

}  // namespace

int main(int argc, char** argv) {
  Options options{{"bytes", "1000000000"}, {"congestion", "bbr"}};
  for (int i = 1; i + 1 < argc; i += 2)
    options[argv[i] + 2] = argv[i + 1];
  for (const char* needed : {"ca", "cert", "key"}) {
    if (!options.contains(needed)) {
      std::fprintf(stderr, "bare_msquic: --%s is needed; see the head of bench/bare_msquic.cpp\n", needed);
      return 2;
    }
  }
  if (options.contains("listen")) {
    with_registration([](HQUIC registration, const Options& all) { send_once(registration, all, STDOUT_FILENO); },
                      options);
    return 0;
  }
  if (options.contains("connect")) {
    with_registration(receive, options);
    return 0;
  }
  int port_pipe[2];
  if (pipe(port_pipe) != 0) return 1;
  options["listen"] = "127.0.0.1:0";
  const pid_t child = fork();
  if (child == 0) {
    static int report;
    report = port_pipe[1];
    with_registration([](HQUIC registration, const Options& all) { send_once(registration, all, report); }, options);
    _exit(0);
  }
  char port[16] = {};
  if (read(port_pipe[0], port, sizeof(port) - 1) <= 0) return 1;
  options["connect"] = std::string("127.0.0.1:") + std::to_string(std::atoi(port));
  with_registration(receive, options);
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}
