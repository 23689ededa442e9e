// Symptom: a mirror that was promoted while its disk was full and a snapshot was to begin asked its engine, promoted,
// to begin it. Cause: what was left to do for a bootstrap stayed when the promotion was done.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_promoted_mirror_began_to_receive_a_snapshot) {
  MirrorDriver mirror(true);
  EXPECT_TRUE(mirror.machine->resync(mirror.now()).ok());
  EXPECT_EQ(count<action::DropSnapshot>(mirror.take()), 1u);
  mirror.engine_answers();
  mirror.hear(mirror.first_bulk + 1, a_snapshot());
  EXPECT_EQ(count<action::BeginSnapshot>(mirror.take()), 1u);
  mirror.engine_fails();
  EXPECT_TRUE(mirror.machine->promote(mirror.now()).ok());
  EXPECT_EQ(count<action::CloseLink>(mirror.take()), 1u);
  mirror.disconnect();
  mirror.pass(core::Duration(60'000'000));
  EXPECT_EQ(count<action::Promote>(mirror.take()), 1u);
  mirror.engine_answers();
  EXPECT_TRUE(mirror.machine->promoted());
  mirror.pass(core::Duration(60'000'000));
  EXPECT_TRUE(mirror.take().empty()) << "nothing is left to do";
  EXPECT_TRUE(mirror.machine->idle());
}

}  // namespace
}  // namespace crosslink::test
