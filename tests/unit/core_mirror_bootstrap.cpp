#include "session/mirror/bootstrap.hpp"

#include <gtest/gtest.h>

#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

namespace call = core::mirror::call;
using core::mirror::BootstrapPhase;

class BootstrapTest : public ::testing::Test {
 protected:
  static constexpr core::StreamToken stream = 2;
  const std::vector<std::string> formats{std::string(kv_format)};
  const std::vector<std::byte> data = std::vector<std::byte>(8, std::byte{1});
  core::Instant now{1'000'000};
  core::mirror::Outbox out;
  core::ThrottleAccount throttle{0};
  core::mirror::FlowControl flow{out, throttle};
  core::mirror::Bootstrap bootstrap{out, {core::Duration(1'000'000), core::Duration(30'000'000)}, std::nullopt, Lsn{}};

  void SetUp() override {
    flow.on_session_begin(4 * 1024 * 1024);
    bootstrap.want("it has no data yet");
  }
  void ask() {
    ASSERT_TRUE(bootstrap.may_ask(now));
    bootstrap.ask(stream, formats);
  }
  void begin() {
    ask();
    ASSERT_TRUE(bootstrap.on_begin(a_snapshot(), formats).ok());
    expect_call<call::BeginSnapshot>();
    bootstrap.on_begun();
  }
  void store(std::uint64_t offset, bool done) {
    ASSERT_TRUE(bootstrap.on_chunk(a_chunk(offset, data, done), nullptr, data, flow).ok());
    expect_call<call::StoreChunk>();
    bootstrap.on_stored();
  }
  template <class Call>
  void expect_call() {
    const auto next = bootstrap.next_call(false);
    ASSERT_TRUE(next);
    EXPECT_TRUE(std::holds_alternative<Call>(next->which)) << next->which.index();
  }
  void expect_idle() { EXPECT_FALSE(bootstrap.next_call(false)); }
  SnapshotCheck good() const { return {}; }
};

TEST_F(BootstrapTest, a_snapshot_is_begun_stored_checked_and_switched_in) {
  begin();
  store(0, false);
  expect_idle();
  store(8, true);
  expect_call<call::CheckSnapshot>();
  EXPECT_FALSE(bootstrap.on_checked(good(), true, now));
  expect_call<call::SwitchSnapshot>();
  bootstrap.on_switched(true);
  EXPECT_FALSE(bootstrap.under_way());
  EXPECT_EQ(bootstrap.phase(), BootstrapPhase::switched);
  EXPECT_EQ(bootstrap.consistent_lsn(), Lsn{9});
  EXPECT_EQ(bootstrap.last_bytes(), 16u);
  EXPECT_EQ(bootstrap.switched_in(), 1u);
  EXPECT_EQ(count<action::DropStream>(out.take()), 1u);
  bootstrap.on_log_begun();
  EXPECT_EQ(bootstrap.phase(), BootstrapPhase::none);
}

TEST_F(BootstrapTest, what_is_held_counts_until_it_is_stored) {
  begin();
  ASSERT_TRUE(bootstrap.on_chunk(a_chunk(0, data, false), nullptr, data, flow).ok());
  ASSERT_TRUE(bootstrap.on_chunk(a_chunk(8, data, true), nullptr, data, flow).ok());
  EXPECT_EQ(bootstrap.held().units, 16u);
  EXPECT_EQ(bootstrap.held().items, 2u);
  expect_call<call::StoreChunk>();
  EXPECT_EQ(bootstrap.held().units, 16u);
  bootstrap.on_stored();
  EXPECT_EQ(bootstrap.held().units, 8u);
  bootstrap.on_session_end();
  EXPECT_EQ(bootstrap.held().units, 0u);
  EXPECT_EQ(flow.received_bytes(), 16u);
}

TEST_F(BootstrapTest, a_failed_store_asks_for_the_rest_later) {
  begin();
  ASSERT_TRUE(bootstrap.on_chunk(a_chunk(0, data, false), nullptr, data, flow).ok());
  expect_call<call::StoreChunk>();
  bootstrap.on_store_failed(true, now);
  EXPECT_FALSE(bootstrap.asked());
  EXPECT_FALSE(bootstrap.may_ask(now));
  now += core::Duration(1'000'000);
  EXPECT_TRUE(bootstrap.may_ask(now));
}

TEST_F(BootstrapTest, a_resync_during_the_check_drops_what_was_checked) {
  begin();
  store(0, true);
  expect_call<call::CheckSnapshot>();
  bootstrap.resync(true);
  EXPECT_FALSE(bootstrap.on_checked(good(), true, now));
  expect_call<call::DropSnapshot>();
  bootstrap.on_dropped();
  EXPECT_TRUE(bootstrap.may_ask(now));
  EXPECT_EQ(bootstrap.stored_bytes(), 0u);
}

TEST_F(BootstrapTest, a_halted_mirror_stores_what_came_and_looks_no_further) {
  begin();
  ASSERT_TRUE(bootstrap.on_chunk(a_chunk(0, data, true), nullptr, data, flow).ok());
  EXPECT_TRUE(bootstrap.next_call(true));
  bootstrap.on_stored();
  EXPECT_FALSE(bootstrap.next_call(true));
  expect_call<call::CheckSnapshot>();
}

TEST_F(BootstrapTest, two_wrong_totals_in_a_row_need_an_operator) {
  const SnapshotCheck wrong{std::nullopt, 7};
  for (const bool last : {false, true}) {
    begin();
    store(0, true);
    expect_call<call::CheckSnapshot>();
    const auto error = bootstrap.on_checked(wrong, true, now);
    EXPECT_EQ(error.has_value(), last);
    EXPECT_TRUE(!error || error->kind() == ErrorKind::SnapshotCrcMismatch);
    expect_call<call::DropSnapshot>();
    bootstrap.on_dropped();
    now += core::Duration(60'000'000);
  }
}

TEST_F(BootstrapTest, why_a_source_gave_no_snapshot_was_forgotten_over_its_word_that_it_was_asked_too_often) {
  const MirrorError full(ErrorKind::Storage, CausedBy::peer, "at the source: the disk is full");
  const MirrorError often(ErrorKind::Busy, CausedBy::peer, "too many snapshots were asked for");
  for (const auto& error : {often, full, often, often}) {
    ask();
    bootstrap.on_failure(error, true, now);
    now += core::Duration(30'000'000);
  }
  EXPECT_EQ(bootstrap.reason(), "too many snapshots were asked for; before that: at the source: the disk is full");
  begin();
  bootstrap.on_failure(often, true, now);
  EXPECT_EQ(bootstrap.reason(), "too many snapshots were asked for") << "one came since";
}

TEST(BootstrapOfAFullSource, the_disk_that_was_full_was_not_said_to_be_the_sources) {
  MirrorDriver driver(false);
  driver.take();
  const MirrorError full(ErrorKind::Storage, CausedBy::us, "writing a snapshot needs 7 bytes of free space at /data");
  driver.hear(MirrorDriver::first_bulk, core::to_failure(full));
  const auto reason = driver.machine->status(driver.now()).reason;
  EXPECT_NE(reason.find("at the source: writing a snapshot needs"), std::string::npos) << reason;
}

TEST_F(BootstrapTest, a_second_window_lost_in_a_row_says_that_it_must_be_larger) {
  const MirrorError lost(ErrorKind::LogWindowExceeded, CausedBy::peer, "the log is gone");
  for (const bool second : {false, true}) {
    begin();
    store(0, true);
    expect_call<call::CheckSnapshot>();
    EXPECT_FALSE(bootstrap.on_checked(good(), true, now));
    expect_call<call::SwitchSnapshot>();
    bootstrap.on_switched(true);
    bootstrap.want_for_lost_log(true, lost, now);
    EXPECT_EQ(bootstrap.reason().find("window must be larger") != std::string::npos, second);
    EXPECT_EQ(bootstrap.may_ask(now), !second);
  }
}

}  // namespace
}  // namespace crosslink::test
