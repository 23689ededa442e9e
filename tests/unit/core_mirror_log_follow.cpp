#include "session/mirror/log_follow.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

class LogFollowTest : public ::testing::Test {
 protected:
  static constexpr core::StreamToken stream = 2;
  static constexpr core::mirror::LogFollowOptions options{entry_bytes_max_default, 4096, false, core::Duration(50'000),
                                                          1024 * 1024};
  const Incarnation incarnation = [] {
    Incarnation made;
    made.bytes.fill(std::byte{1});
    return made;
  }();
  const History history = History::beginning({incarnation, Lsn{1}, HistoryCause::created});
  core::Instant now{1'000'000};
  Position position{incarnation, incarnation, {Lsn{5}, {}}, Lsn{8}, Lsn{8}};
  core::MemoryFragmentStore fragments;
  core::mirror::Outbox out;
  core::ThrottleAccount throttle{0};
  core::mirror::FlowControl flow{out, throttle};
  core::mirror::LogFollow log{options, fragments, out, {core::Duration(1'000'000), core::Duration(30'000'000)}};

  void SetUp() override { flow.on_session_begin(64 * 1024 * 1024); }
  void begin(Lsn from = Lsn{8}) {
    log.ask(stream, position, false);
    ASSERT_TRUE(log.on_begin({from, {}, from, false}, position).ok());
    out.take();
  }
  void receive(std::uint64_t before, std::uint64_t last, std::size_t value_bytes = 10) {
    const auto entry = an_entry(Lsn{last}, value_bytes);
    const auto kept = std::make_shared<const std::vector<std::byte>>(entry);
    ASSERT_TRUE(log.on_batch(a_batch(Lsn{before}, Lsn{last}, entry), kept, *kept, flow).ok());
  }
  std::size_t acks() { return sent<core::LogAck>(out.take()); }
};

TEST_F(LogFollowTest, a_log_that_does_not_go_on_from_the_data_is_refused) {
  log.ask(stream, position, false);
  EXPECT_FALSE(log.on_begin({Lsn{9}, {}, Lsn{9}, false}, position).ok());
  EXPECT_FALSE(log.on_begin({Lsn{4}, {}, Lsn{4}, false}, position).ok());
  EXPECT_FALSE(log.begun());
  EXPECT_TRUE(log.on_begin({Lsn{7}, {}, Lsn{7}, false}, position).ok());
  EXPECT_EQ(log.step_back_to(), Lsn{7});
  log.on_stepped_back();
  EXPECT_FALSE(log.step_back_to());
}

TEST_F(LogFollowTest, batches_are_applied_in_groups_that_end_at_the_limit) {
  begin();
  receive(8, 9);
  receive(9, 10);
  receive(10, 11);
  const auto group = log.next_group(position, Lsn{10}, history);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->batches.size(), 2u);
  EXPECT_EQ(group->group.position.applied_lsn, Lsn{10});
  EXPECT_TRUE(log.waiting());
  position = log.applying_to();
  log.on_applied();
  EXPECT_FALSE(log.next_group(position, Lsn{10}, history));
  EXPECT_TRUE(log.next_group(position, std::nullopt, history));
}

TEST_F(LogFollowTest, a_group_has_no_more_bytes_than_it_may) {
  begin();
  receive(8, 9, 4000);
  receive(9, 10, 4000);
  receive(10, 11, 4000);
  EXPECT_EQ(log.next_group(position, std::nullopt, history)->batches.size(), 2u);
}

TEST_F(LogFollowTest, what_is_held_is_released_by_what_is_applied) {
  begin();
  receive(8, 9);
  receive(9, 10);
  const auto held = log.held();
  EXPECT_EQ(held.items, 2u);
  EXPECT_GT(held.units, 20u);
  ASSERT_TRUE(log.next_group(position, Lsn{9}, history));
  EXPECT_EQ(log.held().units, held.units);
  log.on_applied();
  EXPECT_EQ(log.held().units, held.units / 2);
  log.on_session_end(false);
  EXPECT_EQ(log.held().units, 0u);
  EXPECT_EQ(log.held().items, 0u);
}

TEST_F(LogFollowTest, a_failed_group_waits_in_front_or_is_forgotten) {
  begin();
  receive(8, 9);
  receive(9, 10);
  ASSERT_TRUE(log.next_group(position, Lsn{9}, history));
  log.on_apply_failed(true);
  EXPECT_EQ(log.next_group(position, Lsn{9}, history)->group.position.applied_lsn, Lsn{9});
  log.on_apply_failed(false);
  EXPECT_FALSE(log.waiting()) << "what came behind stands on it";
  EXPECT_EQ(log.held().items, 0u);
}

TEST_F(LogFollowTest, a_promotion_keeps_what_came_when_the_link_ends) {
  begin();
  receive(8, 9);
  log.on_session_end(true);
  EXPECT_FALSE(log.asked());
  EXPECT_TRUE(log.waiting());
}

TEST_F(LogFollowTest, however_many_empty_batches_come_they_are_one) {
  begin();
  for (std::uint64_t lsn = 8; lsn < 40; ++lsn)
    ASSERT_TRUE(
        log.on_batch({Lsn{lsn}, Lsn{lsn + 1}, 0, 0, std::string(core::codec_none), crc32c({}), {}}, nullptr, {}, flow)
            .ok());
  EXPECT_EQ(log.held().items, 1u);
  EXPECT_EQ(log.last_lsn(), Lsn{40});
}

TEST_F(LogFollowTest, acknowledgements_come_at_once_when_nothing_is_left_and_else_after_a_while) {
  begin();
  log.acknowledge(position, Lsn{8}, false, now);
  EXPECT_EQ(acks(), 1u);
  log.acknowledge(position, Lsn{8}, false, now);
  EXPECT_EQ(acks(), 0u);
  receive(8, 9);
  position.applied_lsn = Lsn{9};
  log.acknowledge(position, Lsn{8}, true, now);
  EXPECT_EQ(acks(), 0u);
  log.acknowledge(position, Lsn{8}, true, now + options.ack_every);
  EXPECT_EQ(acks(), 1u);
}

TEST_F(LogFollowTest, a_batch_with_another_crc_is_refused) {
  begin();
  const auto entry = an_entry(Lsn{9}, 10);
  auto batch = a_batch(Lsn{8}, Lsn{9}, entry);
  ++batch.crc32c;
  EXPECT_FALSE(log.on_batch(batch, nullptr, entry, flow).ok());
  EXPECT_FALSE(log.waiting());
}

TEST_F(LogFollowTest, leases_go_with_the_batch_after_them) {
  begin();
  ASSERT_TRUE(log.on_lease({7, 60}).ok());
  receive(8, 9);
  receive(9, 10);
  const auto group = log.next_group(position, Lsn{9}, history);
  ASSERT_TRUE(group);
  ASSERT_EQ(group->leases.size(), 1u);
  EXPECT_EQ(group->leases[0].lease, 7);
  log.on_applied();
  EXPECT_TRUE(log.next_group(position, std::nullopt, history)->leases.empty());
}

}  // namespace
}  // namespace crosslink::test
