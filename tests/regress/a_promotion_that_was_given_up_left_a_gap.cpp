// Symptom: after a promotion that was given up for its deadline, with the disk full, a mirror applied a commit on top of one
// that did not come before it, and lacked those between.
// Cause: what had come completely is kept for a promotion though the link is gone. Once the promotion was given up, a group
// whose apply failed was forgotten, and what had come behind it was not. Seed 351 of the simulator.
#include "regress/mirror_driver.hpp"

namespace crosslink::test {
namespace {

using namespace std::chrono_literals;

std::optional<action::Apply> applied(const std::vector<core::MirrorAction>& actions) {
  for (const auto& one : actions)
    if (const auto* apply = std::get_if<action::Apply>(&one)) return *apply;
  return std::nullopt;
}

TEST(GivenUpPromotion, what_came_behind_a_group_that_failed_is_not_applied_without_it) {
  MirrorDriver mirror(true);
  mirror.hear(MirrorDriver::first_bulk, core::LogBegin{Lsn{8}, {}, Lsn{8}, false});
  const auto hear = [&](std::uint64_t before, std::uint64_t last) {
    const auto entry = an_entry(Lsn{last}, 10);
    mirror.hear(MirrorDriver::first_bulk, a_batch(Lsn{before}, Lsn{last}, entry), entry);
  };
  hear(8, 9);  // its apply is under way
  ASSERT_TRUE(applied(mirror.take()));
  hear(9, 10);
  ASSERT_TRUE(mirror.machine->promote(mirror.now(), {.within = 2s}).ok());
  mirror.disconnect();
  mirror.pass(2s);
  ASSERT_TRUE(mirror.machine->given_up());
  mirror.engine_fails();
  mirror.take();
  mirror.pass(60s);
  const auto next = applied(mirror.take());
  EXPECT_FALSE(next) << "LSN 10 without 9";
}

}  // namespace
}  // namespace crosslink::test
