// Symptom: a source that sends entries in fragments faster than they are applied filled the mirror's memory.
// Cause: a fragment is released when it is stored; the whole entry was counted nowhere after that.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, entries_in_fragments_were_held_without_a_bound) {
  MirrorDriver mirror(true);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{20}, {}, Lsn{8}});
  static_cast<void>(mirror.take());
  bool reading = true;
  std::uint64_t lsn = 8;
  for (; reading && lsn < 40; ++lsn) {
    const auto entry = an_entry(Lsn{lsn + 1}, 1'000'000);
    const core::EntryFragment whole{Lsn{lsn}, Lsn{lsn + 1}, 0, entry.size(), crc32c(entry), true, {}};
    mirror.hear(mirror.first_bulk, whole, entry);
    for (const auto& one : mirror.take()) {
      if (const auto* bulk = std::get_if<action::ReadBulk>(&one)) reading = bulk->allowed;
    }
  }
  EXPECT_FALSE(reading) << "the engine has answered nothing";
  EXPECT_LE(mirror.machine->held_bytes(), 4u * 1024 * 1024);
  EXPECT_GE(mirror.machine->held_bytes(), 2u * 1024 * 1024);
}

}  // namespace
}  // namespace crosslink::test
