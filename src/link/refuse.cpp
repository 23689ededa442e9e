#include "link/refuse.hpp"

#include <fmt/format.h>

#include <utility>

#include "async/with_timeout.hpp"
#include "crosslink/backoff.hpp"

namespace crosslink::link {

MirrorError voter_class_error(std::uint8_t kind) {
  return {
      ErrorKind::ObserverRoleViolation, CausedBy::peer,
      fmt::format("the mirror sent a voter-class frame of kind {:#04x}; a mirror is an observer and may not", kind)};
}

std::uint64_t close_code_of(const MirrorError& error) {
  return rule_of(error.kind()).wire_code.value_or(normal_close_code);
}

namespace {

Task<void> deliver(quic::SendStream& stream, std::vector<std::byte> ack) {
  quic::SendBuffer answer(std::move(ack));
  auto written = co_await stream.write(std::move(answer));
  if (!written) co_return written;
  stream.finish();
  if (async::is_cancelled(co_await boost::asio::this_coro::cancellation_state))
    co_return MirrorError::cancelled("refusing a mirror");
  co_return co_await stream.wait_acknowledged();
}

}  // namespace

awaitable<void> send_refusal(quic::SendStream& stream, const MirrorError& error, const ClusterId& cluster_id) {
  auto ack = encode_frame(refusal(error, cluster_id));
  if (!ack) co_return;
  auto late = MirrorError::timeout("a refusal's ack was not acknowledged in time");
  auto delivering = deliver(stream, *std::move(ack));
  const auto delivered = co_await async::with_timeout(std::move(delivering), refusal_linger, std::move(late));
  // A mirror that left or never acknowledged is closed all the same; the error that matters is the refusal's own.
  static_cast<void>(delivered);
}

}  // namespace crosslink::link
