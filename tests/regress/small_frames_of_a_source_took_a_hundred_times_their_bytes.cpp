// Symptom: 1.43 MB of a snapshot in chunks of one byte took 256 MB of the mirror's memory.
// Cause: bytes alone counted, not what each frame takes beside them; and the list of chunks had no bound.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, small_chunks_of_a_snapshot_took_a_hundred_times_their_bytes) {
  MirrorDriver mirror(false);
  mirror.hear(mirror.first_bulk, a_snapshot());
  static_cast<void>(mirror.take());
  const std::vector<std::byte> byte(1);
  bool reading = true;
  std::uint64_t offset = 0;
  for (; reading && offset < 20'000; ++offset) {
    mirror.hear(mirror.first_bulk, a_chunk(offset, byte, false), byte);
    for (const auto& one : mirror.take()) {
      if (const auto* bulk = std::get_if<action::ReadBulk>(&one)) reading = bulk->allowed;
    }
  }
  EXPECT_FALSE(reading) << "the engine has answered nothing";
  EXPECT_LE(offset, 2u * 1024 * 1024 / 512 + 2);
}

TEST(RegressMirror, small_batches_of_the_log_took_a_hundred_times_their_bytes) {
  MirrorDriver mirror(true);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{20'000}, {}, Lsn{8}});
  static_cast<void>(mirror.take());
  bool reading = true;
  std::uint64_t lsn = 8;
  for (; reading && lsn < 20'000; ++lsn) {
    const auto entry = an_entry(Lsn{lsn + 1}, 1);
    mirror.hear(mirror.first_bulk, a_batch(Lsn{lsn}, Lsn{lsn + 1}, entry), entry);
    for (const auto& one : mirror.take()) {
      if (const auto* bulk = std::get_if<action::ReadBulk>(&one)) reading = bulk->allowed;
    }
  }
  EXPECT_FALSE(reading) << "the engine has answered nothing";
  EXPECT_LE(lsn, 8 + 2u * 1024 * 1024 / 512 + 2);
}

TEST(RegressMirror, a_list_of_chunks_outgrew_the_data_they_are_of) {
  core::SnapshotAssembler assembler(std::nullopt);
  static_cast<void>(assembler.request({std::string(kv_format)}));
  ASSERT_TRUE(assembler.on_begin(a_snapshot(), {std::string(kv_format)}).ok());
  const std::vector<std::byte> byte(1);
  std::uint64_t offset = 0;
  std::optional<MirrorError> refused;
  while (!refused && offset < 10'000) {
    const auto stored = assembler.on_chunk(a_chunk(offset, byte, false), byte);
    if (!stored) refused = stored.error();
    if (stored) assembler.on_stored(*stored);
    ++offset;
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind(), ErrorKind::ProtocolViolation);
  // Small ones are no harm where large ones are as well.
  core::SnapshotAssembler other(std::nullopt);
  static_cast<void>(other.request({std::string(kv_format)}));
  ASSERT_TRUE(other.on_begin(a_snapshot(), {std::string(kv_format)}).ok());
  const std::vector<std::byte> large(1024 * 1024);
  std::uint64_t at = 0;
  for (int i = 0; i < 6'000; ++i) {
    const auto& data = i % 100 == 0 ? large : byte;
    ASSERT_TRUE(other.on_chunk(a_chunk(at, data, false), data).ok());
    at += data.size();
  }
}

}  // namespace
}  // namespace crosslink::test
