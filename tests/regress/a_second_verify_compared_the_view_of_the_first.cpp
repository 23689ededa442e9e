// Symptom: a verify compared data of another LSN than it said.
// Cause: the first verify ended while its view was being opened; the view came when a second one ran, which took it for
// its own.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

TEST(RegressMirror, a_second_verify_compared_the_view_of_the_first) {
  MirrorDriver mirror(true);
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{20}, {}, Lsn{8}});
  ASSERT_TRUE(mirror.machine->start_verify(mirror.now()).ok());
  mirror.hear(3, core::VerifyAt{Lsn{8}});
  ASSERT_EQ(count<action::OpenView>(mirror.take()), 1u);
  mirror.hear(3, core::VerifyEnd{core::VerifyOutcome::unknown, "the source's engine failed"});
  ASSERT_TRUE(mirror.machine->start_verify(mirror.now()).ok());
  mirror.engine_answers();  // the first one's view, of LSN 8
  auto between = mirror.take();
  EXPECT_EQ(count<action::CloseView>(between), 1u) << "it is of a verify that has ended";
  const auto entry = an_entry(Lsn{9}, 3);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{8}, Lsn{9}, entry), entry);
  mirror.hear(4, core::VerifyAt{Lsn{9}});
  mirror.mark.position->applied_lsn = Lsn{9};
  mirror.engine_answers();  // the entry
  const auto after = mirror.take();
  EXPECT_EQ(sent<core::VerifyAt>(after), 0u) << "it has no view of LSN 9 yet";
  EXPECT_EQ(count<action::OpenView>(after), 1u);
  mirror.engine_answers();
  EXPECT_EQ(sent<core::VerifyAt>(mirror.take()), 1u);
}

}  // namespace
}  // namespace crosslink::test
