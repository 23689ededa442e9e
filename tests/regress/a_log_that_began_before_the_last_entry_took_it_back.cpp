// Symptom: a hostile source made a mirror step back below the last entry that it had applied, and apply it again.
// Cause: the log's beginning was compared with the applied LSN only.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_log_that_began_before_the_last_entry_took_it_back) {
  MirrorDriver mirror(true);
  static_cast<void>(mirror.take());
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{20}, {}, Lsn{4}});
  const auto after = mirror.take();
  EXPECT_EQ(count<action::StepBack>(after), 0u);
  EXPECT_EQ(sent<core::SessionFailure>(after), 1u);
  EXPECT_EQ(count<action::CloseLink>(after), 1u);
}

}  // namespace
}  // namespace crosslink::test
