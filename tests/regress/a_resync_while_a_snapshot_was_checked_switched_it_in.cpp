// Symptom: an operator asked for a resync while a snapshot was being checked, and the snapshot that was to be dropped
// was switched in, or one that was gone. Cause: the answer of the check asked for the switch, whatever had been
// decided meanwhile.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_resync_while_a_snapshot_was_checked_switched_it_in) {
  MirrorDriver mirror(false);
  mirror.hear(mirror.first_bulk, a_snapshot());
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(0, data, true), data);
  mirror.engine_answers();
  ASSERT_EQ(count<action::CheckSnapshot>(mirror.take()), 1u);
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  mirror.engine_answers();  // the check
  auto after = mirror.take();
  ASSERT_EQ(count<action::DropSnapshot>(after), 1u);
  mirror.engine_answers();
  mirror.pass(std::chrono::seconds(3));
  for (auto& one : mirror.take())
    after.push_back(std::move(one));
  EXPECT_EQ(count<action::SwitchSnapshot>(after), 0u);
  EXPECT_EQ(sent<core::SnapshotRequest>(after), 1u) << "it asks anew";
}

}  // namespace
}  // namespace crosslink::test
