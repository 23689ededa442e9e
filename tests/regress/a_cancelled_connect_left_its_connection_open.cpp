#include <atomic>
#include <thread>

#include "regress.hpp"

namespace crosslink::test {
namespace {

/// A source on a thread of its own, so that the test can hold the mirror's loop still.
class SourceThread {
 public:
  SourceThread(quic::Listener listener, SourcePolicy policy)
      : source_(context_.get_executor(), std::move(listener), std::move(policy)), thread_([this] { context_.run(); }) {}
  ~SourceThread() {
    source_.acceptor().stop();
    thread_.join();
  }
  SourceThread(const SourceThread&) = delete;
  SourceThread& operator=(const SourceThread&) = delete;
  quic::Address address() const { return source_.address(); }

 private:
  boost::asio::io_context context_;
  RunningSource source_;
  std::thread thread_;
};

// Symptom: connect() said Cancelled while the link stood connected, and the source kept the mirror. Method: the
// mirror's loop stands still from the moment the source has judged the hello; the cancellation joins its queue a little
// later each time, in the end behind the ack, however long that takes.
TEST_F(Regress, a_cancelled_connect_left_its_connection_open) {
  int reported_good = 0;
  std::atomic<bool> judged = false;
  auto counted = policy();
  counted.admit = [&judged](const MirrorHello&, std::span<const std::string>) -> std::optional<MirrorError> {
    judged = true;
    return std::nullopt;
  };
  const SourceThread source(listen(), counted);
  for (auto held = 0us; held < 20ms || (reported_good == 0 && held < 4s); held += held < 20ms ? 500us : held) {
    judged = false;
    auto link = make_link(text_of(source.address()));
    auto dialling = begin(link->connect(Lsn{0}));
    context.restart();
    while (!judged)
      context.poll();
    const auto end = std::chrono::steady_clock::now() + held;
    while (std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    dialling.cancel();
    std::optional<Result<MirrorHelloAck>> outcome;
    auto keep = [](Background<Result<MirrorHelloAck>>& ended,
                   std::optional<Result<MirrorHelloAck>>& kept) -> awaitable<void> {
      auto result = co_await ended.end();
      kept.emplace(std::move(result));
    };
    run(context, keep(dialling, outcome));
    const bool good = outcome->ok();
    reported_good += good ? 1 : 0;
    EXPECT_EQ(link->connection().has_value(), good) << "cancelled " << held.count() << " us after the judgement";
    EXPECT_EQ(link->state(), good ? LinkState::connected : LinkState::disconnected);
    link->close();
  }
  EXPECT_GT(reported_good, 0) << "no cancellation came late enough to matter";
}

}  // namespace
}  // namespace crosslink::test
