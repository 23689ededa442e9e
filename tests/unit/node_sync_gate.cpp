// Sync mode in a node: which answers wait for mirrors, and what they become. What is confirmed when:
// core_sync_rule.cpp.
#include "node/hosting/sync_gate.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "crosslink/rocksdb_engine.hpp"
#include "node/clients/commit_queue.hpp"
#include "node/clients/watch_table.hpp"
#include "node/engine_threads.hpp"
#include "support/faulty_disk.hpp"

namespace crosslink::node {
namespace {

using namespace std::chrono_literals;

/// One run, as the committing thread leaves it: each command that wrote answered OK, each other one 0.
struct Client {
  explicit Client(std::vector<bool> wrote, bool transaction = false) : run(RespReply(RespVersion::resp2)) {
    run.transaction = transaction;
    for (const bool one : wrote) {
      run.answers.push_back({run.reply.bytes().size(), one});
      one ? run.reply.ok() : run.reply.integer(0);
    }
  }
  HeldWrites asks() {
    return held_writes({&run, [this] { ++answered; }});
  }
  std::string got() const { return answered == 1 ? run.reply.bytes() : "answered " + std::to_string(answered); }
  WriteRun run;
  int answered = 0;
};

const std::string waits = "answered 0";

class Gate : public ::testing::Test {
 public:
  std::unique_ptr<SyncGate> gate(OnSyncLoss on_loss, std::vector<std::string> mirrors = {"eu-1"}) {
    SyncGate::Options options;
    options.database = "orders";
    options.config = {std::move(mirrors), 5s, on_loss};
    options.counted = disk;
    options.keep = [this](const CountedMirrors& wanted, bool) -> Result<void> {
      if (disk_is_full) return MirrorError(ErrorKind::Storage, CausedBy::us, "the disk is full");
      disk = wanted;
      return {};
    };
    options.clock = [this] { return core::Instant(now); };
    return std::make_unique<SyncGate>(std::move(options));
  }
  static core::SyncPoint at(std::uint64_t lsn) { return {Incarnation{{std::byte{1}}}, Lsn{lsn}}; }
  static MirrorIdentity copy(const std::string& database, std::uint8_t id) {
    return {database, MirrorId{{std::byte{id}}}};
  }
  static void write(SyncGate& gate, std::uint64_t lsn, Client& client) { gate.hold(at(lsn), {client.asks()}); }
  static void mirror_at(SyncGate& gate, const std::string& name, std::uint64_t durable, std::uint64_t head,
                        const MirrorIdentity& mirror = copy("eu/orders", 7)) {
    const std::vector<std::string> names{"another-name", name};
    gate.on_mirror_at(names, mirror, at(durable), at(head));
    gate.look();  // as the gate's thread does
  }
  CountedMirrors disk;
  bool disk_is_full = false;
  void pass(SyncGate& gate, std::chrono::milliseconds time) {
    now += time;
    gate.look();
  }
  std::chrono::microseconds now = 1000s;
};

TEST_F(Gate, answers_ok_once_every_named_mirror_has_the_write) {
  const auto both = gate(OnSyncLoss::error, {"eu-1", "asia-1"});
  Client one({true}), two({true});
  write(*both, 5, one);
  write(*both, 9, two);
  mirror_at(*both, "EU-1", 9, 9);  // names of certificates know no case
  mirror_at(*both, "unknown", 9, 9);
  EXPECT_EQ(one.got(), waits);
  mirror_at(*both, "asia-1", 5, 9);
  EXPECT_EQ(one.got(), "+OK\r\n");
  EXPECT_EQ(two.got(), waits);
  mirror_at(*both, "asia-1", 9, 9);
  EXPECT_EQ(two.got(), "+OK\r\n");
  EXPECT_EQ(both->waiting(), 0u);
}

TEST_F(Gate, a_mirror_that_said_so_before_the_writer_came_counts) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 7, 7);
  Client client({true});
  write(*one, 7, client);
  EXPECT_EQ(client.got(), "+OK\r\n");
}

TEST_F(Gate, holds_from_the_start_although_the_mirror_was_never_there) {
  const auto one = gate(OnSyncLoss::error);
  Client client({true});
  write(*one, 1, client);
  pass(*one, 4999ms);
  EXPECT_EQ(client.got(), waits);
  ASSERT_EQ(one->next_look(), core::Instant(now + 1ms));
  pass(*one, 1ms);
  EXPECT_EQ(client.got(), "-NOSYNC stored at LSN 1, not confirmed by eu-1\r\n");
  EXPECT_EQ(one->facts().unconfirmed, 1u);
  EXPECT_FALSE(one->facts().suspended);
}

TEST_F(Gate, unconfirmed_are_the_commands_that_wrote_and_a_transaction_as_a_whole) {
  const auto one = gate(OnSyncLoss::error);
  Client pipeline({false, true, false, true}), transaction({true}, true);
  one->hold(at(3), {pipeline.asks(), transaction.asks()});
  pass(*one, 5s);
  const std::string error = "-NOSYNC stored at LSN 3, not confirmed by eu-1\r\n";
  EXPECT_EQ(pipeline.got(), ":0\r\n" + error + ":0\r\n" + error);
  EXPECT_EQ(transaction.got(), error);
  EXPECT_EQ(one->facts().unconfirmed, 3u);
}

TEST_F(Gate, async_answers_ok_counts_and_is_suspended_until_the_mirror_is_back) {
  const auto one = gate(OnSyncLoss::async);
  Client first({true, true}), second({true}), third({true});
  write(*one, 2, first);
  pass(*one, 5s);
  EXPECT_EQ(first.got(), "+OK\r\n+OK\r\n");
  EXPECT_TRUE(one->facts().suspended);
  write(*one, 3, second);
  EXPECT_EQ(second.got(), "+OK\r\n") << "no write waits while it is suspended";
  EXPECT_EQ(one->facts().async, 3u);
  EXPECT_EQ(one->facts().unconfirmed, 0u);
  mirror_at(*one, "eu-1", 2, 3);
  EXPECT_TRUE(one->facts().suspended) << "it is behind";
  mirror_at(*one, "eu-1", 3, 3);
  EXPECT_FALSE(one->facts().suspended);
  write(*one, 4, third);
  EXPECT_EQ(third.got(), waits);
  mirror_at(*one, "eu-1", 4, 4);
  EXPECT_EQ(third.got(), "+OK\r\n");
}

TEST_F(Gate, a_mirror_that_keeps_up_with_a_writer_that_never_rests_is_back_one_that_does_not_is_not) {
  for (const bool quick : {true, false}) {
    const auto one = gate(OnSyncLoss::async);
    Client first({true});
    write(*one, 10, first);
    pass(*one, 5s);
    ASSERT_TRUE(one->facts().suspended);
    // At each word of the mirror the head is further on.
    mirror_at(*one, "eu-1", 1, 100);
    now += quick ? 1s : 3s;
    mirror_at(*one, "eu-1", 99, 150);
    EXPECT_TRUE(one->facts().suspended);
    mirror_at(*one, "eu-1", 100, 200);
    EXPECT_EQ(one->facts().suspended, !quick);
  }
}

TEST_F(Gate, a_mirror_that_has_lost_entries_does_not_confirm_those_that_got_their_lsns) {
  for (const bool told : {true, false}) {
    const auto one = gate(OnSyncLoss::error);
    mirror_at(*one, "eu-1", 1000, 1000);
    if (told) one->on_history_change();
    Client client({true});
    one->hold({Incarnation{{std::byte{2}}}, Lsn{20}}, {client.asks()});
    EXPECT_EQ(client.got(), waits);
    mirror_at(*one, "eu-1", 1001, 1001);  // a word of the old history that was on its way
    EXPECT_EQ(client.got(), waits);
    pass(*one, 5s);
    EXPECT_EQ(client.got(), "-NOSYNC stored at LSN 20, not confirmed by eu-1\r\n");
  }
}

// --- which mirror counts
// --------------------------------------------------------------------------------------------

TEST_F(Gate, a_second_mirror_under_the_name_confirms_nothing_and_is_shown) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 3, 9, copy("eu/orders", 7));
  mirror_at(*one, "eu-1", 9, 9, copy("eu/trial", 8));
  Client client({true});
  write(*one, 9, client);
  EXPECT_EQ(client.got(), waits);
  // A copy of the same name in another node of that cluster is another one, too.
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 9));
  EXPECT_EQ(client.got(), waits);
  EXPECT_EQ(one->facts().mirrors.front().counted, copy("eu/orders", 7));
  EXPECT_EQ(one->facts().mirrors.front().not_counted, copy("eu/orders", 9));
  const std::vector<std::string> names{"eu-1"};
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::counted);
  EXPECT_EQ(one->standing(names, copy("eu/trial", 8)), SyncStanding::not_counted);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  EXPECT_EQ(client.got(), "+OK\r\n");
}

TEST_F(Gate, which_mirror_counts_is_kept_over_a_restart_and_counts_only_once_it_is_kept) {
  disk_is_full = true;
  auto one = gate(OnSyncLoss::error);
  Client client({true});
  write(*one, 4, client);
  mirror_at(*one, "eu-1", 4, 4);
  EXPECT_EQ(client.got(), waits) << "after a restart another one could count";
  EXPECT_EQ(one->facts().mirrors.front().trouble, "the disk is full");
  disk_is_full = false;
  pass(*one, 1s);
  EXPECT_EQ(client.got(), "+OK\r\n");
  one = gate(OnSyncLoss::error);
  Client later({true});
  write(*one, 5, later);
  mirror_at(*one, "eu-1", 5, 5, copy("eu/trial", 8));
  EXPECT_EQ(later.got(), waits);
  mirror_at(*one, "eu-1", 5, 5);
  EXPECT_EQ(later.got(), "+OK\r\n");
}

TEST_F(Gate, one_that_came_and_said_nothing_yet_is_called_not_counted_and_can_be_chosen) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  const std::vector<std::string> names{"another-name", "eu-1"}, unauthenticated{"us-1"};
  one->on_mirror_came(unauthenticated, copy("us/orders", 8));
  EXPECT_FALSE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok()) << "no name of it is in sync_mirrors";
  one->on_mirror_came(names, copy("eu/orders", 7));
  EXPECT_EQ(one->facts().mirrors.front().not_counted, std::nullopt) << "it counts";
  one->on_mirror_came(names, copy("eu/orders", 8));
  EXPECT_EQ(one->standing(names, copy("eu/orders", 8)), SyncStanding::not_counted);
  EXPECT_EQ(one->facts().mirrors.front().not_counted, copy("eu/orders", 8));
  EXPECT_TRUE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok());
}

TEST_F(Gate, an_operator_says_when_another_mirror_counts) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  EXPECT_FALSE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok()) << "it never came";
  mirror_at(*one, "eu-1", 5, 9, copy("eu/orders", 8));
  ASSERT_TRUE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok());
  EXPECT_EQ(disk.at("eu-1"), copy("eu/orders", 8));
  EXPECT_FALSE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok()) << "it counts already";
  const std::vector<std::string> names{"eu-1"};
  EXPECT_EQ(one->standing(names, copy("eu/orders", 8)), SyncStanding::suspended)
      << "it lacks what the other one confirmed";
  Client client({true});
  write(*one, 9, client);
  EXPECT_EQ(client.got(), waits) << "what the other one said is not true of this one";
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  EXPECT_EQ(client.got(), waits);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 8));
  EXPECT_EQ(client.got(), "+OK\r\n");
  EXPECT_EQ(one->standing(names, copy("eu/orders", 8)), SyncStanding::counted);
}

TEST_F(Gate, a_mirror_that_was_made_to_count_with_all_that_there_is_was_suspended_until_the_next_write) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 8));
  ASSERT_TRUE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok());
  const std::vector<std::string> names{"eu-1"};
  EXPECT_EQ(one->standing(names, copy("eu/orders", 8)), SyncStanding::counted);
  ASSERT_TRUE(one->count(MirrorId{{std::byte{7}}}, at(12)).ok());
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::suspended) << "12 is not there";
  mirror_at(*one, "eu-1", 11, 13, copy("eu/orders", 7));
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::suspended);
  mirror_at(*one, "eu-1", 12, 13, copy("eu/orders", 7));
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::counted);
}

TEST_F(Gate, what_a_mirror_said_before_the_history_changed_makes_it_count_no_more) {
  const auto one = gate(OnSyncLoss::error);
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 7));
  mirror_at(*one, "eu-1", 9, 9, copy("eu/orders", 8));
  one->on_history_change();
  ASSERT_TRUE(one->count(MirrorId{{std::byte{8}}}, at(9)).ok());
  const std::vector<std::string> names{"eu-1"};
  EXPECT_EQ(one->standing(names, copy("eu/orders", 8)), SyncStanding::suspended);
}

TEST_F(Gate, a_mirror_that_says_no_id_does_not_count) {
  const auto one = gate(OnSyncLoss::error);
  Client client({true});
  write(*one, 1, client);
  mirror_at(*one, "eu-1", 1, 1, MirrorIdentity{});
  EXPECT_EQ(client.got(), waits);
  EXPECT_EQ(one->facts().mirrors.front().not_counted, MirrorIdentity{});
  pass(*one, 5s);
  EXPECT_EQ(client.got(), "-NOSYNC stored at LSN 1, not confirmed by eu-1\r\n");
}

TEST_F(Gate, a_mirror_that_was_let_go_is_told_so) {
  const auto one = gate(OnSyncLoss::async);
  mirror_at(*one, "eu-1", 1, 1);
  const std::vector<std::string> names{"eu-1"};
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::counted);
  Client client({true});
  write(*one, 2, client);
  pass(*one, 5s);
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::suspended);
  mirror_at(*one, "eu-1", 2, 2);
  EXPECT_EQ(one->standing(names, copy("eu/orders", 7)), SyncStanding::counted);
}

TEST_F(Gate, a_stop_answers_who_waits_and_whoever_comes_later) {
  const auto one = gate(OnSyncLoss::error);
  Client before({true}), after({true});
  write(*one, 1, before);
  one->stop();
  EXPECT_EQ(before.got(), "-NOSYNC stored at LSN 1, not confirmed by eu-1\r\n");
  write(*one, 2, after);
  EXPECT_EQ(after.got(), "-NOSYNC stored at LSN 2, not confirmed by eu-1\r\n");
  pass(*one, 10s);
  EXPECT_EQ(before.answered + after.answered, 2) << "each once";
}

// --- with a database, and the gate's own thread
// ------------------------------------------------------------------------

class SyncedQueue : public ::testing::Test {
 public:
  SyncedQueue() {
    std::string pattern = (std::filesystem::temp_directory_path() / "crosslink-gate-XXXXXX").string();
    folder = ::mkdtemp(pattern.data());
    RocksdbOptions options;
    disk = test::FaultyDisk::below(folder);
    options.env = disk->env();
    options.folder = folder / "db";
    options.sync = RocksdbSync::always;
    options.write_buffer_bytes = 1024 * 1024;
    auto opened = RocksdbDatabase::open_root(options);
    if (!opened) throw std::runtime_error(opened.error().message());
    database = *std::move(opened);
  }
  ~SyncedQueue() override {
    queue.reset();
    gate.reset();
    database.reset();
    std::filesystem::remove_all(folder);
  }
  void begin(std::chrono::milliseconds timeout) {
    SyncGate::Options options;
    options.database = "orders";
    options.config = {{"eu-1"}, timeout, OnSyncLoss::error};
    options.keep = [](const CountedMirrors&, bool) { return Result<void>{}; };
    gate = std::make_unique<SyncGate>(std::move(options));
    queue = std::make_unique<CommitQueue>(*database, watches, gate.get(), committers.executor());
  }
  /// Carries out one command; its answer comes later.
  std::future<std::string> say(std::vector<std::string> texts) {
    auto said = std::make_shared<std::vector<std::string>>(std::move(texts));
    auto run = std::make_shared<WriteRun>(RespReply(RespVersion::resp2));
    run->commands.push_back({find_command(said->front()), Words(said->begin(), said->end())});
    auto answer = std::make_shared<std::promise<std::string>>();
    auto later = answer->get_future();
    queue->push(*run, [said, run, answer] { answer->set_value(run->reply.bytes()); });
    return later;
  }
  static std::string got(std::future<std::string> later) {
    return later.wait_for(30s) == std::future_status::ready ? later.get() : "no answer";
  }
  /// The mirror has all up to `lsn` of the database's present history.
  void mirror_at(Lsn lsn) {
    const auto state = database->source_state();
    const std::vector<std::string> names{"eu-1"};
    const MirrorIdentity mirror{"eu/orders", MirrorId{{std::byte{7}}}};
    const auto incarnation = state.history.newest().incarnation;
    gate->on_mirror_at(names, mirror, {incarnation, lsn}, {incarnation, state.head});
  }
  std::filesystem::path folder;
  std::shared_ptr<test::FaultyDisk> disk;
  std::unique_ptr<RocksdbDatabase> database;
  WatchTable watches;
  std::unique_ptr<SyncGate> gate;
  ThreadPool committers{"commits", 2};
  std::unique_ptr<CommitQueue> queue;
};

TEST_F(SyncedQueue, commits_go_on_while_answers_wait_and_what_wrote_nothing_does_not_wait) {
  begin(1h);
  auto first = say({"SET", "k", "ten"});
  EXPECT_EQ(got(say({"INCR", "k"})), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(got(say({"DEL", "none"})), ":0\r\n");
  EXPECT_EQ(database->get("k").value(), "ten") << "stored and visible";
  auto second = say({"DEL", "k"});
  while (gate->waiting() < 2)
    std::this_thread::yield();
  EXPECT_EQ(database->get("k").value(), std::nullopt);
  EXPECT_NE(first.wait_for(0s), std::future_status::ready);
  EXPECT_NE(second.wait_for(0s), std::future_status::ready);
  mirror_at(database->source_state().head);
  EXPECT_EQ(got(std::move(first)), "+OK\r\n");
  EXPECT_EQ(got(std::move(second)), ":1\r\n");
}

TEST_F(SyncedQueue, after_a_failed_sync_nothing_is_ok_that_the_mirror_does_not_have) {
  begin(1h);
  auto first = say({"SET", "first", "v"});
  while (gate->waiting() == 0)
    std::this_thread::yield();
  const auto head = database->source_state().head;
  mirror_at(head);
  ASSERT_EQ(got(std::move(first)), "+OK\r\n");
  // It had reached the mirror before the source's own disk failed, as far as the gate is told.
  mirror_at(Lsn{head.value + 100});
  disk->fail_next_sync_of_log(true);
  EXPECT_TRUE(got(say({"SET", "lost", "v"})).starts_with("-ERR outcome unknown: "));
  // What is computed of the lost data is not stored; a command after the database was opened anew is.
  auto again = say({"SET", "again", "v"});
  while (gate->waiting() == 0) {
    if (again.wait_for(0s) != std::future_status::ready) continue;
    EXPECT_TRUE(again.get().starts_with("-ERR not stored: the disk lost what it had not confirmed"));
    again = say({"SET", "again", "v"});
  }
  EXPECT_LT(database->source_state().head.value, head.value + 100) << "the LSNs came again";
  EXPECT_NE(again.wait_for(0s), std::future_status::ready);
  mirror_at(database->source_state().head);
  EXPECT_EQ(got(std::move(again)), "+OK\r\n");
}

TEST_F(SyncedQueue, a_thread_of_its_own_answers_when_time_is_up) {
  begin(20ms);
  const auto answer = got(say({"SET", "k", "v"}));
  EXPECT_EQ(answer, "-NOSYNC stored at LSN " + std::to_string(database->source_state().head.value) +
                        ", not confirmed by eu-1\r\n");
}

}  // namespace
}  // namespace crosslink::node
