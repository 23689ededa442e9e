// Symptom: writers at a source with sync_mirrors waited up to a second for a mirror that had their commit at once.
// Cause: a mirror worked in sync mode only if it had asked for it; that its source names it was ignored.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

/// Syncs asked of the engine right after a batch was applied.
std::size_t syncs_after_an_apply(bool named) {
  MirrorDriver mirror(true, named);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{9}, {}, Lsn{8}});
  const auto entry = an_entry(Lsn{9}, 10);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{8}, Lsn{9}, entry), entry);
  EXPECT_EQ(count<action::Apply>(mirror.take()), 1u);
  mirror.mark.position->applied_lsn = mirror.mark.position->origin_lsn = Lsn{9};
  mirror.engine_answers();
  return count<action::Sync>(mirror.take());
}

TEST(RegressMirror, a_mirror_named_by_its_source_was_durable_a_second_late) {
  EXPECT_EQ(syncs_after_an_apply(false), 0u) << "no write waits for it";
  EXPECT_EQ(syncs_after_an_apply(true), 1u);
}

}  // namespace
}  // namespace crosslink::test
