// Symptom: after a chunk at a wrong offset the engine was asked to begin a snapshot that had been dropped.
// Cause: the offer was forgotten while it was still to be begun; nothing withdrew the request to begin it.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_chunk_at_a_wrong_offset_began_an_absent_snapshot) {
  MirrorDriver mirror(false);
  mirror.hear(mirror.first_bulk, a_snapshot());
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(77, data, false), data);
  static_cast<void>(mirror.take());
  mirror.engine_fails();  // the begin that was under way
  std::vector<core::MirrorAction> after;
  for (int i = 0; i < 3; ++i) {
    mirror.pass(std::chrono::seconds(3));
    auto taken = mirror.take();
    if (count<action::DropSnapshot>(taken) + count<action::BeginSnapshot>(taken) > 0) mirror.engine_answers();
    for (auto& one : taken)
      after.push_back(std::move(one));
  }
  for (auto& one : mirror.take())
    after.push_back(std::move(one));
  EXPECT_EQ(count<action::BeginSnapshot>(after), 0u) << "nothing is offered any more";
  EXPECT_GE(count<action::DropSnapshot>(after), 1u);
  EXPECT_GE(sent<core::SnapshotRequest>(after), 1u) << "it asks anew";
}

}  // namespace
}  // namespace crosslink::test
