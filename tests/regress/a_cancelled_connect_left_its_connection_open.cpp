#include "regress.hpp"

namespace crosslink::test {
namespace {

// Symptom: connect() said Cancelled while the link stood connected, and the source kept the mirror. Method: the loop's
// handlers run one by one, and the cancellation comes after each number of them since the source judged the hello.
TEST_F(Regress, a_cancelled_connect_left_its_connection_open) {
  int reported_cancelled = 0;
  int reported_good = 0;
  auto counted = policy();
  bool judged = false;
  counted.admit = [&judged](const MirrorHello&, std::span<const std::string>) -> std::optional<MirrorError> {
    judged = true;
    return std::nullopt;
  };
  auto source = std::make_unique<RunningSource>(context.get_executor(), listen(), counted);
  for (int steps_until_cancel = 0; steps_until_cancel < 40; ++steps_until_cancel) {
    judged = false;
    context.restart();
    auto link = make_link(text_of(source->address()));
    auto dialling = begin(link->connect(Lsn{0}));
    bool cancelled = false;
    int steps = 0;
    while (!dialling.ended()) {
      if (judged && !cancelled && steps++ == steps_until_cancel) {
        dialling.cancel();
        cancelled = true;
      }
      ASSERT_EQ(context.run_one_for(test_deadline), 1u);
    }
    std::optional<Result<MirrorHelloAck>> outcome;
    run(context,
        [](Background<Result<MirrorHelloAck>>& ended, std::optional<Result<MirrorHelloAck>>& kept) -> awaitable<void> {
          auto result = co_await ended.end();
          kept.emplace(std::move(result));
        }(dialling, outcome));
    const bool good = outcome->ok();
    ++(good ? reported_good : reported_cancelled);
    EXPECT_EQ(link->connection().has_value(), good) << "cancelled after " << steps_until_cancel << " steps";
    EXPECT_EQ(link->state(), good ? LinkState::connected : LinkState::disconnected);
    link->close();
  }
  EXPECT_GT(reported_cancelled, 0);
  EXPECT_GT(reported_good, 0) << "no cancellation came late enough";
  run(context, [](RunningSource& running) -> awaitable<void> { need(co_await running.stop()); }(*source));
}

}  // namespace
}  // namespace crosslink::test
