// Symptom: a chunk that came on a stream whose last chunk had come was stored, once the check had cut the snapshot
// back. Cause: cutting back also forgot that the stream was over.
#include "core/snapshot_assembler.hpp"
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_chunk_after_the_last_one_was_stored) {
  core::SnapshotAssembler assembler(std::nullopt);
  const std::vector<std::string> formats{std::string(kv_format)};
  static_cast<void>(assembler.request(formats));
  ASSERT_TRUE(assembler.on_begin(a_snapshot(), formats).ok());
  const std::vector data(8, std::byte{1});
  const auto stored = assembler.on_chunk(a_chunk(0, data, true), data);
  ASSERT_TRUE(stored.ok());
  assembler.on_stored(*stored);
  SnapshotCheck damaged;
  damaged.cut_back_to = 0;
  ASSERT_EQ(assembler.on_check(damaged), core::SnapshotAssembler::Verdict::cut_back);
  const auto late = assembler.on_chunk(a_chunk(0, data, false), data);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().kind(), ErrorKind::ProtocolViolation);
}

}  // namespace
}  // namespace crosslink::test
