// A mirror that several processes can write to: MirrorMachine over an engine that answers Busy, and one without an
// atomic switch, whose data may be of no moment.
#include <optional>
#include <vector>

#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

constexpr auto after_a_retry = std::chrono::seconds(3);

/// The log of a session goes on from LSN 8, and an entry after it waits for the engine.
void apply_an_entry(MirrorDriver& mirror) {
  mirror.hear(MirrorDriver::first_bulk, core::LogBegin{Lsn{20}, {}, Lsn{8}});
  const auto entry = an_entry(Lsn{9}, 3);
  mirror.hear(MirrorDriver::first_bulk, a_batch(Lsn{8}, Lsn{9}, entry), entry);
  ASSERT_EQ(count<action::Apply>(mirror.take()), 1u);
}

TEST(SharedMirror, a_busy_engine_is_asked_where_it_stands_before_the_log_is_asked_for_from_there) {
  MirrorDriver mirror(true);
  apply_an_entry(mirror);
  mirror.engine_is_busy();
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Degraded);
  EXPECT_NE(mirror.machine->status(mirror.now()).reason.find("another owns it"), std::string::npos);
  const auto dropped = mirror.take();
  EXPECT_EQ(count<action::DropStream>(dropped), 1u);
  EXPECT_EQ(sent<core::LogRequest>(dropped), 0u);
  mirror.pass(after_a_retry);
  const auto asked = mirror.take();
  EXPECT_EQ(count<action::Sync>(asked), 1u);
  EXPECT_EQ(count<action::Apply>(asked), 0u);
  EXPECT_EQ(sent<core::LogRequest>(asked), 0u);
  // The other one came further.
  mirror.mark.position->applied_lsn = mirror.mark.position->origin_lsn = mirror.mark.durable = Lsn{15};
  mirror.engine_answers();
  const auto again = mirror.take();
  EXPECT_EQ(sent<core::LogRequest>(again), 1u);
  EXPECT_EQ(count<action::Apply>(again), 0u);
  EXPECT_EQ(mirror.machine->position()->applied_lsn, Lsn{15});
}

TEST(SharedMirror, it_stays_busy_as_long_as_another_owns_it) {
  MirrorDriver mirror(true);
  apply_an_entry(mirror);
  mirror.engine_is_busy();
  for (int round = 0; round < 5; ++round) {
    mirror.pass(std::chrono::seconds(60));
    const auto asked = mirror.take();
    ASSERT_EQ(count<action::Sync>(asked), 1u);
    EXPECT_EQ(sent<core::LogRequest>(asked), 0u);
    mirror.engine_is_busy();
  }
}

TEST(SharedMirror, one_that_another_process_promoted_says_so_and_does_not_halt) {
  MirrorDriver mirror(true);
  apply_an_entry(mirror);
  mirror.machine->on_engine(MirrorError(ErrorKind::MirrorPromoted, CausedBy::us, "node a promoted it"), mirror.now());
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  mirror.pass(after_a_retry);
  ASSERT_EQ(count<action::Sync>(mirror.take()), 1u);
  mirror.mark.promoted_from = PromotedFrom{"prod-us", "orders", *mirror.mark.position};
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->promoted());
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Promoted);
}

TEST(SharedMirror, a_promotion_of_what_another_process_promoted_is_given_up_with_its_name) {
  MirrorDriver mirror(true);
  mirror.take();
  ASSERT_TRUE(mirror.machine->promote(mirror.now()).ok());
  mirror.disconnect();
  ASSERT_EQ(count<action::Promote>(mirror.take()), 1u);
  mirror.machine->on_engine(MirrorError(ErrorKind::MirrorPromoted, CausedBy::us, "node a promoted it"), mirror.now());
  ASSERT_TRUE(mirror.machine->given_up());
  EXPECT_EQ(mirror.machine->given_up()->kind(), ErrorKind::MirrorPromoted);
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
}

TEST(SharedMirror, a_resume_after_a_refused_snapshot_did_not_ask_the_mended_source) {
  MirrorDriver mirror(true);
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  mirror.engine_answers();  // what was received before is dropped
  mirror.hear(3, a_snapshot());
  ASSERT_EQ(count<action::BeginSnapshot>(mirror.take()), 1u);
  mirror.machine->on_engine(MirrorError(ErrorKind::UnsupportedOperation, CausedBy::peer, "another prefix: resume"),
                            mirror.now());
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  mirror.disconnect();
  mirror.take();
  ASSERT_TRUE(mirror.machine->resume(mirror.now()).ok());
  auto said = mirror.take();
  EXPECT_EQ(count<action::BeginSnapshot>(said), 0u);
  EXPECT_EQ(count<action::DropSnapshot>(said), 1u);
  auto dials = count<action::Dial>(said);
  mirror.engine_answers();
  said = mirror.take();
  dials += count<action::Dial>(said);
  EXPECT_EQ(dials, 1u);
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
}

TEST(SharedMirror, one_that_another_left_in_the_middle_of_a_bootstrap_bootstraps) {
  MirrorDriver mirror(true, false, false);
  apply_an_entry(mirror);
  mirror.engine_is_busy();
  mirror.pass(after_a_retry);
  mirror.take();
  mirror.mark = {std::nullopt, Lsn{}, true};
  mirror.engine_answers();
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Bootstrapping);
  EXPECT_EQ(sent<core::SnapshotRequest>(mirror.take()), 1u);
}

TEST(SharedMirror, data_that_a_bootstrap_is_written_over_is_promoted_only_when_that_is_accepted) {
  MirrorDriver mirror(true, false, false);
  EXPECT_EQ(mirror.machine->why_inconsistent(), "");
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  EXPECT_NE(mirror.machine->why_inconsistent(), "");
  const auto refused = mirror.machine->promote(mirror.now());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::Configuration);
  mirror.take();
  ASSERT_TRUE(mirror.machine->promote(mirror.now(), {.accept_inconsistent = true}).ok());
  mirror.engine_answers();  // to what was under way: dropping the snapshot
  mirror.disconnect();
  EXPECT_EQ(count<action::Promote>(mirror.take()), 1u);
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->promoted());
  EXPECT_EQ(mirror.machine->why_inconsistent(), "");
}

TEST(SharedMirror, an_engine_with_an_atomic_switch_promotes_the_old_data_during_a_bootstrap) {
  MirrorDriver mirror(true);
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  EXPECT_EQ(mirror.machine->why_inconsistent(), "");
  EXPECT_TRUE(mirror.machine->promote(mirror.now()).ok());
}

TEST(SharedMirror, without_any_data_nothing_is_promoted_whatever_is_accepted) {
  MirrorDriver mirror(false, false, false);
  EXPECT_FALSE(mirror.machine->promote(mirror.now(), {.accept_inconsistent = true}).ok());
}

TEST(SharedMirror, whose_position_moved_by_itself_asks_where_it_stands_and_goes_on_from_there) {
  MirrorDriver mirror(true);
  mirror.hear(MirrorDriver::first_bulk, core::LogBegin{Lsn{8}, {}, Lsn{8}});
  mirror.take();
  mirror.machine->on_position_moved(mirror.now());
  EXPECT_FALSE(mirror.machine->lag(mirror.now())) << "what it has is not known";
  auto said = mirror.take();
  EXPECT_EQ(count<action::DropStream>(said), 1u);
  EXPECT_EQ(count<action::Sync>(said), 1u);
  mirror.mark.position->applied_lsn = mirror.mark.position->origin_lsn = mirror.mark.durable = Lsn{6};
  mirror.engine_answers();
  said = mirror.take();
  EXPECT_EQ(sent<core::LogRequest>(said), 1u);
  EXPECT_EQ(mirror.machine->position()->applied_lsn, Lsn{6});
}

TEST(SharedMirror, whose_data_is_gone_bootstraps_and_gives_its_promotion_up) {
  MirrorDriver mirror(true);
  mirror.take();
  ASSERT_TRUE(mirror.machine->promote(mirror.now()).ok());
  mirror.disconnect();
  ASSERT_EQ(count<action::Promote>(mirror.take()), 1u);
  mirror.engine_is_busy();
  mirror.pass(after_a_retry);
  ASSERT_EQ(count<action::Sync>(mirror.take()), 1u);
  mirror.mark = {};
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->given_up());
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  EXPECT_EQ(count<action::Dial>(mirror.take()), 1u);
}

TEST(Unverified, ends_with_a_verify_that_says_equal) {
  MirrorDriver mirror(true);
  mirror.hear(MirrorDriver::first_bulk, core::LogBegin{Lsn{8}, {}, Lsn{8}, true});
  EXPECT_TRUE(mirror.machine->unverified());
  for (const bool equal : {false, true}) {
    mirror.take();
    ASSERT_TRUE(mirror.machine->start_verify(mirror.now()).ok());
    const auto stream = equal ? core::StreamToken{4} : core::StreamToken{3};
    mirror.hear(stream, core::VerifyAt{Lsn{8}});
    mirror.engine_answers();
    std::optional<action::DigestRange> asked;
    for (const auto& one : mirror.take()) {
      if (const auto* digest = std::get_if<action::DigestRange>(&one)) asked = *digest;
    }
    ASSERT_TRUE(asked);
    const core::RangeDigest::Answer same{3, {}, {}};
    if (equal) mirror.hear(stream, core::RangeDigest{asked->range, same});
    if (!equal) mirror.hear(stream, core::VerifyEnd{core::VerifyOutcome::unknown, "for the test"});
    mirror.machine->on_digest(asked->question, same, mirror.now());
    EXPECT_TRUE(mirror.machine->take_verify_result());
    EXPECT_EQ(mirror.machine->unverified(), !equal);
  }
}

TEST(Unverified, is_not_said_of_what_was_copied_just_now) {
  MirrorDriver mirror(true);
  mirror.hear(MirrorDriver::first_bulk, core::LogBegin{Lsn{8}, {}, Lsn{8}, true});
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  mirror.engine_answers();  // what was received before is dropped
  mirror.hear(3, a_snapshot());
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(3, a_chunk(0, data, true), data);
  mirror.engine_answers();
  mirror.engine_answers();  // the check
  ASSERT_EQ(count<action::SwitchSnapshot>(mirror.take()), 1u);
  mirror.mark.position->applied_lsn = mirror.mark.position->origin_lsn = mirror.mark.durable = Lsn{9};
  mirror.engine_answers();
  EXPECT_FALSE(mirror.machine->unverified());
  mirror.hear(4, core::LogBegin{Lsn{9}, {}, Lsn{9}, true});
  EXPECT_FALSE(mirror.machine->unverified());
}

}  // namespace
}  // namespace crosslink::test
