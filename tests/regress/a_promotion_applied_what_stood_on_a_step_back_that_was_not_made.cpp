// Symptom: a promotion applied entries that follow LSN 6 onto data at LSN 8.
// Cause: the log began at 6; the step back to it failed and was to be made again; the promotion forgot it with the
// link, and kept the entries behind it.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_promotion_applied_what_stood_on_a_step_back_that_was_not_made) {
  MirrorDriver mirror(true);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{20}, {}, Lsn{6}});
  ASSERT_EQ(count<action::StepBack>(mirror.take()), 1u);
  mirror.engine_fails();
  const auto entry = an_entry(Lsn{7}, 3);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{6}, Lsn{7}, entry), entry);
  ASSERT_TRUE(mirror.machine->promote(mirror.now()).ok());
  mirror.disconnect();
  mirror.pass(std::chrono::seconds(3));
  const auto after = mirror.take();
  EXPECT_EQ(count<action::Apply>(after), 0u);
  EXPECT_EQ(count<action::Promote>(after), 1u);
}

}  // namespace
}  // namespace crosslink::test
