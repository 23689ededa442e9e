// Symptom: a mirror that a source's bytes had halted (no snapshot at all, a file name that none has) kept a processor
// and its disk busy, and a resync that fell into that halted it again, for a snapshot that was gone. Cause: a switch
// that failed was tried again at once, halted or not, and its failure counted also when it was of what is to be
// dropped.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

const MirrorError no_snapshot{ErrorKind::UnsupportedOperation, CausedBy::peer, "these bytes are no snapshot"};

/// A snapshot that is whole and checked; the engine is asked to switch it in.
void come_to_the_switch(MirrorDriver& mirror) {
  mirror.hear(mirror.first_bulk, a_snapshot());
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(0, data, true), data);
  mirror.engine_answers();
  mirror.engine_answers();  // the check
  ASSERT_EQ(count<action::SwitchSnapshot>(mirror.take()), 1u);
}

TEST(RegressMirror, a_mirror_halted_by_a_snapshot_leaves_it_alone_until_it_is_resumed) {
  MirrorDriver mirror(false);
  come_to_the_switch(mirror);
  mirror.machine->on_engine(no_snapshot, mirror.now());
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  mirror.pass(std::chrono::hours(1));
  auto halted = mirror.take();
  EXPECT_EQ(count<action::CheckSnapshot>(halted) + count<action::SwitchSnapshot>(halted), 0u);
  ASSERT_TRUE(mirror.machine->resume(mirror.now()).ok());
  EXPECT_EQ(count<action::CheckSnapshot>(mirror.take()), 1u) << "it is tried again when an operator says so";
}

TEST(RegressMirror, a_resync_during_a_switch_that_fails_bootstraps_anew) {
  MirrorDriver mirror(false);
  come_to_the_switch(mirror);
  ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
  mirror.machine->on_engine(no_snapshot, mirror.now());
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  auto after = mirror.take();
  EXPECT_EQ(count<action::DropSnapshot>(after), 1u);
  mirror.engine_answers();
  mirror.pass(std::chrono::seconds(3));
  for (auto& one : mirror.take())
    after.push_back(std::move(one));
  EXPECT_EQ(count<action::CheckSnapshot>(after), 0u);
  EXPECT_EQ(sent<core::SnapshotRequest>(after), 1u) << "it asks anew";
}

}  // namespace
}  // namespace crosslink::test
