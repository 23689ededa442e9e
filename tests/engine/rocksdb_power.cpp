// RocksDB on a disk that loses what was not synced when its power is cut, at any change of it; and on one that is full.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "crosslink/rocksdb_engine.hpp"
#include "crosslink/testing/engine_steps.hpp"
#include "engine/rocksdb/snapshot_store.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::test {
namespace {

constexpr std::uint32_t chunk_bytes = 4096;
constexpr int commits = 40;

/// One in so many changes is where a cut falls; 1 with CROSSLINK_EVERY_CUT, in the long tests.
std::uint64_t stride(std::uint64_t usual) { return std::getenv("CROSSLINK_EVERY_CUT") != nullptr ? 1 : usual; }

RocksdbOptions options_for(const std::filesystem::path& folder, rocksdb::Env* env) {
  RocksdbOptions chosen;
  chosen.folder = folder;
  chosen.write_buffer_bytes = 64 * 1024;  // tables and WAL files change within one test
  chosen.compression = RocksdbCompression::none;
  chosen.env = env;
  chosen.boot_id = "before the cut";
  return chosen;
}

Contents all(RocksdbDatabase& database) {
  Contents contents;
  for (auto& [key, value] : scan(*must(database.view()), "", std::nullopt))
    contents.emplace(key, value);
  return contents;
}

/// The commit of this number: a key of its own, a key that every commit rewrites, and it deletes an older one.
std::vector<std::pair<std::string, std::string>> texts_of(int number) {
  return {{fmt::format("key{:04}", number), fmt::format("{}-{}", number, std::string(3000, 'x'))},
          {"newest", std::to_string(number)}};
}
Result<Lsn> commit(RocksdbDatabase& database, int number) {
  const auto texts = texts_of(number);
  const auto gone = fmt::format("key{:04}", number / 3);
  const std::array operations{Operation::put(texts[0].first, texts[0].second),
                              Operation::put(texts[1].first, texts[1].second), Operation::erase(gone)};
  return database.commit(operations);
}
/// What there is after that many commits.
const Contents& contents_after(int number) {
  static std::vector<Contents> known(1);
  while (static_cast<int>(known.size()) <= number) {
    auto next = known.back();
    const auto last = static_cast<int>(known.size()) - 1;
    for (const auto& [key, value] : texts_of(last))
      next.insert_or_assign(key, value);
    next.erase(fmt::format("key{:04}", last / 3));
    known.push_back(std::move(next));
  }
  return known[static_cast<std::size_t>(number)];
}
/// How many commits these contents are; -1: of no moment.
int commits_in(const Contents& contents) {
  for (int number = 0; number <= 2 * commits; ++number)
    if (contents == contents_after(number)) return number;
  return -1;
}

// --- a source
// -------------------------------------------------------------------------------------------------

/// What a run did until it ended or the power was cut.
struct SourceRun {
  int confirmed = 0;
  bool opened = false, closed = false;
  std::optional<SnapshotId> snapshot;
  std::vector<std::byte> snapshot_bytes;
};

SourceRun run_source(const RocksdbOptions& options) {
  SourceRun run;
  auto opened = RocksdbDatabase::open_root(options);
  if (!opened) return run;
  run.opened = true;
  const auto& database = *opened;
  for (int number = 0; number < commits; ++number) {
    if (!commit(*database, number)) return run;
    run.confirmed = number + 1;
    if (number != commits / 2) continue;
    const std::vector<std::string> formats{rocks::checkpoint_format(options.compression)};
    const auto reader = database->open_snapshot(formats, std::nullopt);
    if (!reader) return run;
    run.snapshot_bytes = read_snapshot(**reader, 100'000);
    run.snapshot = (*reader)->facts().id;
  }
  opened = MirrorError::configuration("closed");
  run.closed = true;
  return run;
}

class PowerCut : public ::testing::TestWithParam<RocksdbSync> {};

void check_source(const SourceRun& run, RocksdbOptions options) {
  options.boot_id = "after the cut";
  const auto database = must(RocksdbDatabase::open_root(options));
  const auto found = commits_in(all(*database));
  ASSERT_GE(found, 0) << "the contents are of no moment";
  if (options.sync == RocksdbSync::always) {
    EXPECT_GE(found, run.confirmed) << "what was confirmed is gone";
  } else if (run.opened && !run.closed && found > 0) {
    EXPECT_EQ(database->source_state().history.newest().cause, HistoryCause::unclean_stop);
  }
  EXPECT_LE(found, run.confirmed + 1);
  // The log from its oldest entry on leads to the same contents, and goes on.
  EXPECT_LE(database->source_state().oldest, database->source_state().head);
  static_cast<void>(read_log_to_head(*database, database->source_state().oldest, 10'000));
  if (run.snapshot) {
    const std::vector<std::string> formats{rocks::checkpoint_format(options.compression)};
    const auto reader = must(database->open_snapshot(formats, run.snapshot));
    if (reader->facts().id == *run.snapshot) {
      EXPECT_EQ(read_snapshot(*reader, 100'000), run.snapshot_bytes) << "one id, two contents";
    }
  }
  for (int number = found; number < found + 3; ++number)
    must(commit(*database, number));
  EXPECT_EQ(all(*database), contents_after(found + 3));
}

TEST_P(PowerCut, a_source_keeps_what_it_confirmed_and_knows_when_it_may_have_lost_something) {
  std::uint64_t changes = 0;
  {
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path());
    auto options = options_for(folder.path() / "root", disk->env());
    options.sync = GetParam();
    ASSERT_TRUE(run_source(options).closed);
    changes = disk->changes();
  }
  ASSERT_GT(changes, 100u);
  std::uint64_t cuts = 0;
  for (std::uint64_t at = 0; at < changes; at += stride(11)) {
    SCOPED_TRACE(fmt::format("cut after {} changes", at));
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path(), at);
    auto options = options_for(folder.path() / "root", disk->env());
    options.sync = GetParam();
    disk->cut_power_after(at);
    const auto run = run_source(options);
    cuts += disk->power_is_cut() ? 1 : 0;
    disk->restore_power();
    ASSERT_NO_THROW(check_source(run, options));
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(cuts, changes / stride(11) / 2);
}

INSTANTIATE_TEST_SUITE_P(Rocksdb, PowerCut, testing::Values(RocksdbSync::always, RocksdbSync::never),
                         [](const auto& sync) { return sync.param == RocksdbSync::always ? "always" : "never"; });

// --- a mirror
// -------------------------------------------------------------------------------------------------

/// A source on the system's disk, and what it held at each of its LSNs.
class Followed {
 public:
  explicit Followed(const std::filesystem::path& folder)
      : database(must(RocksdbDatabase::open_root(options_for(folder, nullptr)))) {
    commits_at[database->source_state().head] = 0;
  }
  void write(int count) {
    for (int i = 0; i < count; ++i) {
      const auto lsn = must(commit(*database, written));
      commits_at[lsn] = ++written;
    }
  }
  std::shared_ptr<SnapshotReader> open(const std::string& format, const std::optional<SnapshotId>& wanted = {}) {
    const std::vector<std::string> formats{format};
    return must(database->open_snapshot(formats, wanted));
  }
  const Contents& at(Lsn lsn) const { return contents_after(std::prev(commits_at.upper_bound(lsn))->second); }

  std::unique_ptr<RocksdbDatabase> database;
  std::map<Lsn, int> commits_at;
  int written = 0;
};

struct MirrorRun {
  std::optional<Lsn> durable;
  bool promoted = false, done = false;
};

/// Two bootstraps, each followed for a while; at the end a promotion. Ends at the first error.
class MirrorSteps {
 public:
  MirrorSteps(const RocksdbOptions& options, Followed& source) : source_(&source) {
    auto opened = RocksdbDatabase::open_mirror(options);
    if (opened) mirror_ = *std::move(opened);
  }
  MirrorRun run() {
    if (!mirror_) return run_;
    static_cast<void>(all_steps());
    return run_;
  }

 private:
  Result<void> all_steps() {
    for (const auto& format : {rocks::checkpoint_format(RocksdbCompression::none), std::string(kv_format)}) {
      if (auto done = bootstrap(format); !done) return done;
      if (auto done = follow(); !done) return done;
    }
    const auto promoted = mirror_->promote("cluster", "database");
    if (!promoted) return promoted.error();
    run_.promoted = run_.done = true;
    return {};
  }
  Result<void> bootstrap(const std::string& format) {
    const auto reader = source_->open(format);
    if (auto begun = mirror_->begin_snapshot(reader->facts()); !begun) return begun;
    for (bool done = false; !done;) {
      const auto offset = mirror_->mirror_state().partial->bytes();
      const auto piece = must(reader->read(offset, chunk_bytes));
      const auto size = static_cast<std::uint32_t>(piece.bytes->size());
      if (auto stored = mirror_->store_chunk({offset, size, crc32c(*piece.bytes)}, *piece.bytes); !stored)
        return stored;
      done = piece.done;
    }
    if (const auto checked = mirror_->check_snapshot(); !checked) return checked.error();
    if (auto switched = mirror_->switch_snapshot(); !switched) return switched;
    run_.durable = mirror_->mirror_state().durable;
    return {};
  }
  Result<void> follow() {
    source_->write(6);
    auto& source = *source_->database;
    for (int slices = 1; position_of(*mirror_).applied_lsn < source.source_state().head; ++slices) {
      const auto before = position_of(*mirror_);
      const auto slice = must(source.read_log(before.applied_lsn, 4000));
      if (auto applied = mirror_->apply({{*slice.entries}, position_after(slice, source, before)}); !applied)
        return applied;
      if (slices % 3 != 0) continue;
      const auto synced = mirror_->sync();
      if (!synced) return synced.error();
      run_.durable = *synced;
    }
    return {};
  }
  Followed* source_;
  std::unique_ptr<RocksdbDatabase> mirror_;
  MirrorRun run_;
};

/// Goes on as a session would: what is stored is checked and completed, else begun anew; then the log.
void catch_up(RocksdbDatabase& mirror, Followed& source) {
  const auto partial = mirror.mirror_state().partial;
  if (partial || !mirror.mirror_state().position) {
    const auto format = partial ? partial->facts.format : rocks::checkpoint_format(RocksdbCompression::none);
    auto reader = source.open(format, partial ? std::optional(partial->facts.id) : std::nullopt);
    if (!partial || reader->facts().id != partial->facts.id) must(mirror.begin_snapshot(reader->facts()));
    store_rest(mirror, *reader, chunk_bytes);
    for (int rounds = 0; must(mirror.check_snapshot()).cut_back_to; ++rounds) {
      ASSERT_LT(rounds, 3) << "it is damaged again and again";
      store_rest(mirror, *reader, chunk_bytes);
    }
    must(mirror.switch_snapshot());
  }
  while (position_of(mirror).applied_lsn < source.database->source_state().head)
    apply_slice(mirror, *source.database, 4000);
}

void check_mirror(const MirrorRun& run, RocksdbOptions options, Followed& source) {
  options.boot_id = "after the cut";
  const auto mirror = must(RocksdbDatabase::open_mirror(options));
  const auto state = mirror->mirror_state();
  EXPECT_EQ(state.position.has_value() || !run.durable, true) << "a durable position is gone";
  if (run.promoted) {
    EXPECT_EQ(state.role, DatabaseRole::promoted);
  }
  if (state.position) {
    EXPECT_GE(state.position->applied_lsn, run.durable.value_or(Lsn{})) << "what was durable is gone";
    EXPECT_EQ(all(*mirror), source.at(state.position->applied_lsn)) << "contents and position are of two moments";
  } else {
    EXPECT_TRUE(all(*mirror).empty());
  }
  if (state.role == DatabaseRole::promoted) return;
  source.write(2);
  catch_up(*mirror, source);
  EXPECT_EQ(all(*mirror), contents_after(source.written));
}

TEST(PowerCutOfAMirror, leaves_contents_and_position_of_one_moment_and_nothing_durable_is_lost) {
  std::uint64_t changes = 0;
  {
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path() / "disk");
    Followed source(folder.path() / "source");
    source.write(20);
    ASSERT_TRUE(MirrorSteps(options_for(folder.path() / "disk" / "mirror", disk->env()), source).run().done);
    changes = disk->changes();
  }
  ASSERT_GT(changes, 200u);
  std::uint64_t cuts = 0;
  for (std::uint64_t at = 0; at < changes; at += stride(7)) {
    SCOPED_TRACE(fmt::format("cut after {} changes", at));
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path() / "disk", at);
    const auto options = options_for(folder.path() / "disk" / "mirror", disk->env());
    Followed source(folder.path() / "source");
    source.write(20);
    disk->cut_power_after(at);
    const auto run = MirrorSteps(options, source).run();
    cuts += disk->power_is_cut() ? 1 : 0;
    disk->restore_power();
    ASSERT_NO_THROW(check_mirror(run, options, source));
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(cuts, changes / stride(7) / 2);
}

// --- the one step of a switch, when it is unknown whether it was made
// -------------------------------------------------------------------------------------------------

/// A mirror that holds an earlier moment of its source, with a newer snapshot received and checked, and whose folder
/// cannot be synced when that is switched in.
class SwitchInDoubt : public ::testing::Test {
 protected:
  void SetUp() override {
    disk = FaultyDisk::below(folder.path() / "disk");
    options = options_for(folder.path() / "disk" / "mirror", disk->env());
    source.write(10);
    mirror = must(RocksdbDatabase::open_mirror(options));
    receive(*mirror, *source.open(std::string(kv_format)), chunk_bytes);
    must(mirror->switch_snapshot());
    source.write(10);
    receive(*mirror, *source.open(std::string(kv_format)), chunk_bytes);
    ASSERT_FALSE(must(mirror->check_snapshot()).cut_back_to);
    disk->refuse_sync_of(options.folder);
    ASSERT_EQ(refusal(mirror->switch_snapshot()), "Storage");
    EXPECT_EQ(all(*mirror), contents_after(10));
  }
  void reopen() {
    mirror.reset();
    mirror = must(RocksdbDatabase::open_mirror(options));
  }
  TemporaryFolder folder;
  std::shared_ptr<FaultyDisk> disk;
  RocksdbOptions options;
  Followed source{folder.path() / "source"};
  std::unique_ptr<RocksdbDatabase> mirror;
};

TEST_F(SwitchInDoubt, is_done_again_when_the_disk_is_good) {
  EXPECT_EQ(refusal(mirror->switch_snapshot()), "Storage") << "and again";
  disk->refuse_sync_of({});
  must(mirror->switch_snapshot());
  EXPECT_EQ(all(*mirror), contents_after(20));
  reopen();
  EXPECT_EQ(all(*mirror), contents_after(20));
}

TEST_F(SwitchInDoubt, leaves_a_whole_database_at_every_moment) {
  const auto of_which = [&] {
    reopen();
    const auto commits_there = commits_in(all(*mirror));
    EXPECT_EQ(source.commits_at.at(position_of(*mirror).applied_lsn), commits_there);
    return commits_there;
  };
  EXPECT_EQ(refusal(mirror->switch_snapshot()), "Storage");
  disk->refuse_sync_of({});
  const auto found = of_which();
  EXPECT_TRUE(found == 10 || found == 20) << found;
}

TEST_F(SwitchInDoubt, does_not_take_back_a_promotion_of_the_old_data) {
  disk->refuse_sync_of({});
  must(mirror->promote("cluster", "database"));
  const std::array operations{Operation::put("written after it", "1")};
  must(mirror->commit(operations));
  reopen();
  EXPECT_EQ(mirror->mirror_state().role, DatabaseRole::promoted);
  EXPECT_EQ(must(mirror->get("written after it")), "1");
  EXPECT_EQ(must(mirror->get("newest")), "9");
}

// --- every second
// -------------------------------------------------------------------------------------------------

TEST(EverySecond, a_commit_is_on_disk_a_second_later_without_anybody_asking) {
  std::uint64_t kept_at_once = 0;
  constexpr std::uint64_t seeds = 8;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    for (const bool waiting : {false, true}) {
      if (waiting && seed >= 2) continue;  // it takes its second
      const TemporaryFolder folder;
      const auto disk = FaultyDisk::below(folder.path(), seed);
      auto options = options_for(folder.path() / "root", disk->env());
      options.sync = RocksdbSync::every_second;
      options.write_buffer_bytes = 64 * 1024 * 1024;
      {
        const auto database = must(RocksdbDatabase::open_root(options));
        must(commit(*database, 0));
        const auto changes = disk->changes();
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (waiting && disk->changes() == changes && std::chrono::steady_clock::now() < until)
          std::this_thread::yield();
        disk->cut_power_after(0);
      }
      disk->restore_power();
      options.boot_id = "after the cut";
      const auto database = must(RocksdbDatabase::open_root(options));
      const auto found = commits_in(all(*database));
      EXPECT_EQ(database->source_state().history.newest().cause, HistoryCause::unclean_stop);
      if (waiting) {
        EXPECT_EQ(found, 1);
      } else {
        kept_at_once += found == 1 ? 1 : 0;
      }
    }
  }
  EXPECT_LT(kept_at_once, seeds) << "the disk takes nothing away, so nothing was shown";
}

// --- a sync that fails
// -------------------------------------------------------------------------------------------

class FailedSync : public ::testing::Test {
 protected:
  FailedSync() {
    auto options = options_for(folder.path() / "root", disk->env());
    options.sync = RocksdbSync::always;
    database = must(RocksdbDatabase::open_root(options));
    database->watch_history([this] { ++histories; });
    must(put("first"));
  }
  Result<Lsn> put(const std::string& key) {
    const std::array operations{Operation::put(key, "v")};
    return database->commit(operations);
  }
  bool comes(const std::function<bool()>& condition) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return condition();
  }
  const TemporaryFolder folder;
  const std::shared_ptr<FaultyDisk> disk = FaultyDisk::below(folder.path());
  std::unique_ptr<RocksdbDatabase> database;
  std::atomic<int> histories = 0;
};

TEST_F(FailedSync, leaves_the_outcome_unknown_and_shows_mirrors_nothing_until_it_is_on_disk) {
  const auto before = database->source_state();
  disk->fail_next_sync_of_log(false);
  EXPECT_EQ(refusal(put("second")), "OutcomeUnknown");
  EXPECT_EQ(must(database->get("second")), "v") << "a reader sees it: so no client may be told that it is not stored";
  EXPECT_TRUE(comes([&] { return database->source_state().head > before.head; })) << "it is opened anew by itself";
  EXPECT_EQ(must(database->get("second")), "v");
  EXPECT_EQ(must(database->read_log(before.head, 1'000'000)).count, 1u);
  EXPECT_EQ(database->source_state().history, before.history) << "nothing was lost";
  EXPECT_EQ(histories, 0);
}

TEST_F(FailedSync, that_takes_the_tail_gives_its_lsns_to_another_history) {
  const auto before = database->source_state();
  disk->fail_next_sync_of_log(true);
  EXPECT_EQ(refusal(put("second")), "OutcomeUnknown");
  const auto seen = must(database->read_log(before.head, 1'000'000));
  EXPECT_EQ(seen.count, 0u) << "a mirror would have what the source has not";
  EXPECT_TRUE(comes([&] { return histories == 1; }));
  const auto third = must(put("third"));
  EXPECT_EQ(must(database->get("second")), std::nullopt);
  EXPECT_EQ(must(database->get("third")), "v");
  const auto after = database->source_state();
  EXPECT_EQ(after.history.records().size(), before.history.records().size() + 1);
  EXPECT_EQ(after.history.newest().cause, HistoryCause::unclean_stop);
  EXPECT_EQ(after.head, third);
  EXPECT_EQ(histories, 1);
}

// --- a full disk
// -------------------------------------------------------------------------------------------------

/// Every commit that was confirmed and none that was not, by contents and by the log from its beginning.
void check_commits(const RocksdbOptions& options, const Contents& confirmed) {
  const auto database = must(RocksdbDatabase::open_root(options));
  EXPECT_EQ(all(*database), confirmed);
  EXPECT_EQ(replay({}, read_log_to_head(*database, Lsn{1}, 50'000)), confirmed);
  EXPECT_NE(database->source_state().history.newest().cause, HistoryCause::unclean_stop) << "nothing was lost";
}

TEST(FullDisk, refuses_commits_keeps_reading_and_goes_on_when_there_is_space) {
  for (const auto sync : {RocksdbSync::always, RocksdbSync::never}) {
    const TemporaryFolder folder;
    const auto disk = FaultyDisk::below(folder.path());
    auto options = options_for(folder.path() / "root", disk->env());
    options.sync = sync;
    Contents confirmed;
    {
      const auto database = must(RocksdbDatabase::open_root(options));
      for (int number = 0; number < 200; ++number) {
        const auto key = fmt::format("key{:04}", number), value = fmt::format("{}{}", number, std::string(2000, 'x'));
        const std::array operations{Operation::put(key, value)};
        const bool full = number % 10 >= 7;
        disk->set_full(full);
        const auto committed = database->commit(operations);
        ASSERT_EQ(refusal(committed), full ? "Storage" : "done") << number;
        if (!full) confirmed.emplace(key, value);
        EXPECT_EQ(must(database->get("key0000")), confirmed.at("key0000"));
        if (number % 10 == 8) {
          EXPECT_EQ(all(*database), confirmed);
        }
      }
      disk->set_full(false);
    }
    EXPECT_GE(disk->refused_for_space(), 20u);
    check_commits(options, confirmed);
  }
}

TEST(FullDisk, under_four_writers_loses_nothing_that_was_confirmed_and_adds_nothing) {
  const TemporaryFolder folder;
  const auto disk = FaultyDisk::below(folder.path());
  auto options = options_for(folder.path() / "root", disk->env());
  options.sync = RocksdbSync::every_second;
  Contents confirmed;
  std::mutex mutex;
  std::uint64_t refused = 0;
  {
    const auto database = must(RocksdbDatabase::open_root(options));
    std::atomic<int> writing = 4;
    const auto enough = [&] {
      const std::scoped_lock lock(mutex);
      return confirmed.size() > 300 && refused > 300;
    };
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 4; ++writer) {
      writers.emplace_back([&, writer] {
        // Until there was enough of both, however fast a refusal is beside a commit.
        for (int number = 0; !enough(); ++number) {
          const auto key = fmt::format("{}-{:06}", writer, number), value = std::string(1000, 'x');
          const std::array operations{Operation::put(key, value)};
          const auto committed = database->commit(operations);
          const std::scoped_lock lock(mutex);
          if (committed) {
            confirmed.emplace(key, value);
          } else {
            EXPECT_EQ(refusal(committed), "Storage") << committed.error().message();
            ++refused;
          }
        }
        --writing;
      });
    }
    // Full and not, each for as many commits as it takes until it was noticed.
    for (bool full = true; writing > 0; full = !full) {
      const auto before = [&] {
        const std::scoped_lock lock(mutex);
        return full ? refused : confirmed.size();
      };
      const auto seen = before();
      disk->set_full(full);
      while (writing > 0 && before() < seen + 20)
        std::this_thread::yield();
    }
    disk->set_full(false);
  }
  check_commits(options, confirmed);
}

}  // namespace
}  // namespace crosslink::test
