// Symptom: a mirror's disk failed a sync and took what it had not confirmed; the mirror's position fell, and what it
// had received meanwhile was applied on top: entries between were missing for good, and confirmed. Cause: what was
// received was not given up when the engine said that it stood further back.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_mirror_whose_disk_lost_its_tail_asks_anew_from_where_it_stands) {
  MirrorDriver mirror(true, true);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{8}, Lsn{1}, Lsn{8}});
  const auto ninth = an_entry(Lsn{9}, 10), tenth = an_entry(Lsn{10}, 10);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{8}, Lsn{9}, ninth), ninth);
  mirror.mark.position->applied_lsn = Lsn{9};
  mirror.engine_answers();  // applied; in sync mode it is made durable next
  ASSERT_EQ(count<action::Sync>(mirror.take()), 1u);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{9}, Lsn{10}, tenth), tenth);
  mirror.mark.position->applied_lsn = mirror.mark.durable = Lsn{8};  // opened anew, without LSN 9
  mirror.engine_answers();
  const auto after = mirror.take();
  EXPECT_EQ(count<action::Apply>(after), 0u) << "LSN 10 does not follow LSN 8";
}

}  // namespace
}  // namespace crosslink::test
