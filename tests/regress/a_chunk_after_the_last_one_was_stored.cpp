// Symptom: a source that sends another chunk after the last one had it stored behind a snapshot that was being checked.
// Cause: whether the snapshot was complete was not looked at.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_chunk_after_the_last_one_was_stored) {
  MirrorDriver mirror(false);
  mirror.hear(mirror.first_bulk, a_snapshot());
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(0, data, true), data);
  static_cast<void>(mirror.take());
  mirror.hear(mirror.first_bulk, a_chunk(8, data, false), data);
  auto after = mirror.take();
  EXPECT_EQ(sent<core::SessionFailure>(after), 1u);
  EXPECT_EQ(count<action::CloseLink>(after), 1u);
  mirror.engine_answers();  // the chunk that was the last
  for (auto& one : mirror.take())
    after.push_back(std::move(one));
  EXPECT_EQ(count<action::StoreChunk>(after), 0u);
}

}  // namespace
}  // namespace crosslink::test
