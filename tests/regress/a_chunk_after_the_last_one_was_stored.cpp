// Symptom: a chunk that came after the last one, while the snapshot was being switched in, was stored after the switch.
// Cause: a good check also forgot that the last chunk had come, and the switch kept the chunks that waited.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_chunk_after_the_last_one_was_stored) {
  MirrorDriver mirror(false);
  mirror.hear(mirror.first_bulk, a_snapshot());
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(0, data, true), data);
  mirror.engine_answers();  // the chunk
  mirror.engine_answers();  // the check
  ASSERT_EQ(count<action::SwitchSnapshot>(mirror.take()), 1u);
  mirror.hear(mirror.first_bulk, a_chunk(8, data, false), data);
  const auto refused = mirror.take();
  EXPECT_EQ(sent<core::SessionFailure>(refused), 1u);
  EXPECT_EQ(count<action::CloseLink>(refused), 1u);
  mirror.mark = {Position{{}, {}, {}, Lsn{9}, Lsn{9}}, Lsn{9}};
  mirror.engine_answers();  // the switch
  EXPECT_EQ(count<action::StoreChunk>(mirror.take()), 0u);
}

}  // namespace
}  // namespace crosslink::test
