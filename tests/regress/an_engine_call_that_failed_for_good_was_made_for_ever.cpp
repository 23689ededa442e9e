// Symptom: a mirror whose snapshot could not begin in its place (a prefix that another mirror has) took a whole
// processor, could not be deleted, and kept its node from stopping; every other call that failed for good did the same.
// Cause: a halted mirror made its next engine call all the same, and each answer brought about the next.
#include "mirror_driver.hpp"

namespace crosslink::test {
namespace {

const MirrorError refused{ErrorKind::UnsupportedOperation, CausedBy::us, "it cannot be kept here"};

/// Brings a mirror to where the engine is asked for that call.
struct Way {
  const char* name;
  bool with_data, in_sync_mode;
  void (*go)(MirrorDriver& mirror);
};

void begin(MirrorDriver& mirror) { mirror.hear(mirror.first_bulk, a_snapshot()); }
void store(MirrorDriver& mirror) {
  begin(mirror);
  mirror.engine_answers();
  const std::vector data(8, std::byte{1});
  mirror.hear(mirror.first_bulk, a_chunk(0, data, true), data);
}
void check(MirrorDriver& mirror) {
  store(mirror);
  mirror.engine_answers();
}
void apply(MirrorDriver& mirror) {
  mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{9}, Lsn{1}, Lsn{8}});
  const auto entry = an_entry(Lsn{9}, 10);
  mirror.hear(mirror.first_bulk, a_batch(Lsn{8}, Lsn{9}, entry), entry);
}

const std::array ways{
    Way{"begin_snapshot", false, false, begin},
    Way{"store_chunk", false, false, store},
    Way{"check_snapshot", false, false, check},
    Way{"switch_snapshot", false, false,
        [](MirrorDriver& mirror) {
          check(mirror);
          mirror.engine_answers();
        }},
    Way{"drop_snapshot", false, false,
        [](MirrorDriver& mirror) {
          check(mirror);
          ASSERT_TRUE(mirror.machine->resync(mirror.now()).ok());
          mirror.engine_answers();
        }},
    Way{"apply", true, false, apply},
    Way{"sync", true, true,
        [](MirrorDriver& mirror) {
          apply(mirror);
          mirror.mark.position->applied_lsn = Lsn{9};
          mirror.engine_answers();
        }},
    Way{"step_back", true, false,
        [](MirrorDriver& mirror) { mirror.hear(mirror.first_bulk, core::LogBegin{Lsn{7}, Lsn{1}, Lsn{7}}); }},
};

class Refused : public ::testing::TestWithParam<Way> {};

TEST_P(Refused, an_engine_call_that_failed_for_good_is_not_made_again_by_itself) {
  MirrorDriver mirror(GetParam().with_data, GetParam().in_sync_mode);
  GetParam().go(mirror);
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  static_cast<void>(mirror.take());
  ASSERT_FALSE(mirror.machine->idle());
  mirror.machine->on_engine(refused, mirror.now());
  EXPECT_EQ(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
  mirror.disconnect();
  EXPECT_TRUE(mirror.machine->idle()) << "else it can be neither deleted nor stopped";
  mirror.pass(std::chrono::hours(1));
  mirror.machine->stop(mirror.now());
  EXPECT_TRUE(mirror.machine->idle());
}

TEST_P(Refused, and_is_made_again_when_an_operator_says_so) {
  MirrorDriver mirror(GetParam().with_data, GetParam().in_sync_mode);
  GetParam().go(mirror);
  ASSERT_FALSE(::testing::Test::HasFatalFailure());
  mirror.machine->on_engine(refused, mirror.now());
  mirror.disconnect();
  static_cast<void>(mirror.take());
  ASSERT_TRUE(mirror.machine->resume(mirror.now()).ok());
  EXPECT_FALSE(mirror.take().empty());
  EXPECT_NE(mirror.machine->status(mirror.now()).kind, StatusKind::Halted);
}

INSTANTIATE_TEST_SUITE_P(EachCall, Refused, ::testing::ValuesIn(ways), [](const auto& way) { return way.param.name; });

}  // namespace
}  // namespace crosslink::test
