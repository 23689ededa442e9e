#include "link/dial.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "async/with_timeout.hpp"
#include "link/frame_reader.hpp"

namespace crosslink::link {
namespace {

std::optional<MirrorError> check_ack_header(FrameHeader header) {
  if (header.kind != frame_kind::mirror_hello_ack) {
    return MirrorError::codec(fmt::format("the source answered the hello with a frame of kind {:#04x}", header.kind));
  }
  if (header.payload_bytes > handshake_payload_bytes_max) {
    return MirrorError::codec(fmt::format("the source announced an ack of {} bytes, more than {}", header.payload_bytes,
                                          handshake_payload_bytes_max));
  }
  return std::nullopt;
}

/// An application close code says as much as an ack: without it a refusal whose ack got lost would look like a cut.
MirrorError explain(MirrorError error, const quic::Connection* connection, const MirrorHello& hello) {
  if (error.kind() != ErrorKind::Transport) return error;
  auto fault = std::get_if<TransportFault>(&error.data());
  auto ended = connection != nullptr ? connection->end_reason() : std::nullopt;
  if (ended && ended->kind() == ErrorKind::TlsRefused) return *std::move(ended);
  if (ended && (fault == nullptr || fault->cause != TransportCause::closed_by_peer)) {
    fault = std::get_if<TransportFault>(&ended->data());
  }
  if (fault == nullptr || fault->cause != TransportCause::closed_by_peer || !fault->code) return error;
  if (!kind_of_wire_code(*fault->code)) return error;
  MirrorHelloAck ack;
  ack.error_code = static_cast<std::uint8_t>(*fault->code);
  ack.error_detail = "the source closed the connection with this code";
  return refused(ack, hello);
}

Task<MirrorHelloAck> exchange(quic::Connection connection, quic::SendBuffer hello) {
  auto stream = co_await connection.open_bidi_stream();
  if (!stream) co_return stream.error();
  const auto written = co_await stream->send.write(std::move(hello));
  // A source may stop reading a hello it has seen enough of, and answer all the same.
  if (!written && written.error().transport_cause() != TransportCause::stream_stopped_by_peer)
    co_return written.error();
  stream->send.finish();
  if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
    co_return MirrorError::cancelled("the handshake");
  FrameReader reader(handshake_payload_bytes_max, &check_ack_header);
  const auto frame = co_await reader.read(stream->recv);
  if (!frame) {
    if (frame.error().transport_cause() == TransportCause::stream_ended_early && !connection.end_reason()) {
      co_return MirrorError::codec("the source ended the handshake's stream before a whole ack");
    }
    co_return frame.error();
  }
  co_return decode_ack(frame->payload);
}

/// Judges the ack; what the source refuses comes back as its error.
Result<MirrorHelloAck> judge(Result<MirrorHelloAck> ack, const quic::Connection& connection, const MirrorHello& hello) {
  if (!ack) return explain(ack.error(), &connection, hello);
  if (!ack->accepted) return refused(*ack, hello);
  if (!equal_ignoring_case(ack->source_cluster_id.str(), hello.source_cluster.str())) {
    return MirrorError(ErrorKind::ClusterIdMismatch, CausedBy::peer,
                       fmt::format("the source accepted a hello for cluster \"{}\" but says it is \"{}\"",
                                   escape(hello.source_cluster.str()), escape(ack->source_cluster_id.str())),
                       ClusterIds{hello.source_cluster.str(), ack->source_cluster_id.str()});
  }
  return ack;
}

/// The code we close with tells the source what we found wrong with it; what it told us needs no answer.
std::uint64_t close_code(const MirrorError& error, const Result<MirrorHelloAck>* ack) {
  const bool source_refused = ack != nullptr && ack->ok() && !(*ack)->accepted;
  if (source_refused || error.kind() == ErrorKind::Cancelled) return normal_close_code;
  return rule_of(error.kind()).wire_code.value_or(normal_close_code);
}

Task<quic::Connection> reach(quic::Endpoint endpoint, const quic::ClientConfig& config, const DialTarget& target) {
  const auto host_port = parse_source_address(target.address);
  if (!host_port) co_return host_port.error();
  const auto addresses = co_await quic::detail::resolve_with(*host_port, target.lookup);
  if (!addresses) co_return addresses.error();
  Result<quic::Connection> connection = MirrorError::cancelled("dialling");
  for (std::size_t i = 0; i < addresses->size(); ++i) {
    if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
      co_return MirrorError::cancelled("dialling");
    const auto& address = (*addresses)[(target.turn + i) % addresses->size()];
    connection = co_await endpoint.connect(address, target.hello.source_cluster.str(), config);
    if (connection || connection.error().kind() != ErrorKind::Transport) break;
  }
  if (!connection) co_return explain(connection.error(), nullptr, target.hello);
  co_return connection;
}

/// What outlives the timeout: `reached` so that what is cancelled in the middle is closed with the right code.
struct Attempt {
  quic::SendBuffer hello;
  std::optional<quic::Connection> reached;
  std::optional<MirrorHelloAck>& answer;
};

Task<MirrorHelloAck> attempt(quic::Endpoint endpoint, const quic::ClientConfig& config, const DialTarget& target,
                             Attempt& state) {
  auto connection = co_await reach(std::move(endpoint), config, target);
  if (!connection) co_return connection.error();
  auto& reached = state.reached;
  reached = *std::move(connection);
  if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
    co_return MirrorError::cancelled("the handshake");
  const auto ack = co_await exchange(*reached, state.hello);
  if (ack) state.answer = *ack;
  auto judged = judge(ack, *reached, target.hello);
  if (!judged && judged.error().kind() != ErrorKind::Cancelled) reached->close(close_code(judged.error(), &ack));
  co_return judged;
}

}  // namespace

Result<quic::HostPort> parse_source_address(std::string_view text) {
  auto host_port = quic::parse_host_port(text);
  if (!host_port) return host_port;
  boost::system::error_code no_literal;
  const auto literal = boost::asio::ip::make_address(host_port->host, no_literal);
  if (host_port->port == 0 || (!no_literal && literal.is_unspecified())) {
    return MirrorError::configuration(fmt::format("'{}' names no {} to dial: give the one the source listens at",
                                                  escape(text), host_port->port == 0 ? "port" : "host"));
  }
  return host_port;
}

std::vector<std::string> split_source_addresses(std::string_view text) {
  std::vector<std::string> addresses;
  for (;;) {
    const auto comma = text.find(',');
    auto address = text.substr(0, comma);
    while (!address.empty() && address.front() == ' ')
      address.remove_prefix(1);
    while (!address.empty() && address.back() == ' ')
      address.remove_suffix(1);
    addresses.emplace_back(address);
    if (comma == std::string_view::npos) return addresses;
    text.remove_prefix(comma + 1);
  }
}

Result<void> check_source_addresses(std::span<const std::string> addresses) {
  if (addresses.size() > source_addresses_max)
    return MirrorError::configuration(fmt::format("at most {} addresses of one source", source_addresses_max));
  for (const auto& address : addresses) {
    if (auto parsed = parse_source_address(address); !parsed) return parsed.error();
  }
  return {};
}

Task<Established> dial(quic::Endpoint endpoint, const quic::ClientConfig& config, DialTarget target,
                       std::optional<MirrorHelloAck>& answer) {
  if (!is_dns_name(target.hello.source_cluster.str())) {
    co_return MirrorError::configuration(fmt::format(
        "the cluster id \"{}\" is no DNS name, which the source's certificate must carry; use letters, digits, "
        "hyphens and dots",
        escape(target.hello.source_cluster.str())));
  }
  auto hello = encode_frame(target.hello);
  if (!hello) co_return MirrorError::configuration(hello.error().message());
  Attempt state{quic::SendBuffer(*std::move(hello)), std::nullopt, answer};
  auto late = MirrorError::timeout(
      fmt::format("{} did not complete the handshake within {} ms", target.address, target.deadline.count()));
  auto operation = attempt(std::move(endpoint), config, target, state);
  auto ack = co_await async::with_timeout(std::move(operation), target.deadline, std::move(late));
  if (!ack) {
    if (state.reached) state.reached->close(close_code(ack.error(), nullptr));
    const auto& error = ack.error();
    // The transport names an address itself; said twice it only confuses.
    const bool named = error.message().find(target.address) != std::string::npos;
    co_return named ? error : error.with_context(escape(target.address));
  }
  co_return Established{*std::move(state.reached), *std::move(ack)};
}

}  // namespace crosslink::link
