// Runs something again and again, the power cut one change of the disk later each time.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/rocksdb/env_disk.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {

/// `work(files, folder)` writes below `folder`, which nothing has made yet, and stops at the first error. `check(files,
/// folder, cut)` looks at what is left after the cut; `cut`: there was one, else the work was done. Returns how many
/// changes of the disk the work takes.
template <class Work, class Check>
std::uint64_t cut_at_each_change(Work&& work, Check&& check) {
  constexpr std::uint64_t seeds = 8;  // of what a cut takes of that which was not synced
  std::uint64_t changes = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    bool cut = true;
    for (std::uint64_t after = 0; cut; ++after) {
      const TemporaryFolder above;
      const auto disk = FaultyDisk::below(above.path(), seed);
      const auto files = rocks::files_of(disk->env());
      const auto folder = above.path() / "data" / "node";
      disk->cut_power_after(after);
      work(files, folder);
      cut = disk->power_is_cut();
      changes = after;
      disk->restore_power();
      SCOPED_TRACE("seed " + std::to_string(seed) + ", cut after " + std::to_string(after) + " changes");
      check(files, folder, cut);
      if (::testing::Test::HasFailure()) return changes;
    }
  }
  return changes;
}

}  // namespace crosslink::test
