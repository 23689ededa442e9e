// The thread that commits: what shares a commit, what is refused alone, what is held meanwhile, who watches.
#include "node/clients/commit_queue.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "crosslink/rocksdb_engine.hpp"
#include "node/clients/held_bytes.hpp"
#include "node/clients/password_door.hpp"
#include "node/clients/watch_table.hpp"
#include "node/engine_threads.hpp"
#include "session/sync_rule.hpp"
#include "support/faulty_disk.hpp"
#include "support/temporary_folder.hpp"

namespace crosslink::node {
namespace {

using namespace std::chrono_literals;

/// One connection's commands; what they say stays as long as this.
struct Client {
  explicit Client(std::vector<std::vector<std::string>> commands, bool transaction = false)
      : said(std::move(commands)), run(RespReply(RespVersion::resp2)) {
    run.transaction = transaction;
    for (const auto& words : said)
      run.commands.push_back({find_command(words.front()), Words(words.begin(), words.end())});
  }
  std::string got() const { return run.reply.bytes(); }
  std::vector<std::vector<std::string>> said;
  WriteRun run;
  std::promise<void> done;
};

class Commits : public ::testing::Test {
 public:
  Commits() {
    RocksdbOptions options;
    options.folder = folder.path() / "db";
    options.sync = RocksdbSync::never;
    database = std::move(RocksdbDatabase::open_root(std::move(options)).value());
    queue = std::make_unique<CommitQueue>(*database, watches, nullptr, committers.executor());
  }
  /// All at once, so that they may share a commit.
  void run(std::vector<Client*> clients) {
    for (auto* client : clients)
      queue->push(client->run, [client] { client->done.set_value(); });
    for (auto* client : clients)
      client->done.get_future().get();
  }
  std::size_t bytes_of(const std::string& key) const { return database->get(key).value().value_or("").size(); }

  test::TemporaryFolder folder;
  std::unique_ptr<RocksdbDatabase> database;
  WatchTable watches;
  ThreadPool committers{"commits", 2};
  std::unique_ptr<CommitQueue> queue;
};

TEST(WaitingForMirrors, what_the_disk_lost_is_applied_by_nobody_though_its_lsn_comes_again) {
  const test::TemporaryFolder folder;
  const auto disk = test::FaultyDisk::below(folder.path());
  RocksdbOptions options;
  options.folder = folder.path() / "db";
  options.sync = RocksdbSync::every_second;
  options.env = disk->env();
  const auto database = std::move(RocksdbDatabase::open_root(std::move(options)).value());
  WatchTable watches;
  ThreadPool committers("commits", 2);
  CommitQueue queue(*database, watches, nullptr, committers.executor());
  const auto set = [&queue] {
    Client client({{"SET", "k", "v"}});
    queue.push(client.run, [&client] { client.done.set_value(); });
    client.done.get_future().get();
    return core::SyncPoint{client.run.incarnation, client.run.lsn};
  };
  disk->fail_next_sync_of_log(true);
  const auto lost = set();
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (database->source_state().history.newest().incarnation == lost.incarnation &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  ASSERT_LE(database->source_state().history.newest().first_lsn, lost.lsn) << "the disk lost it";
  auto last = set();
  while (last.lsn <= lost.lsn)
    last = set();
  const auto now = database->source_state();
  // A mirror of the source now has all that it has.
  const core::SyncPoint mirror{now.history.newest().incarnation, now.head};
  EXPECT_GT(mirror.lsn, lost.lsn) << "its LSN alone says nothing";
  EXPECT_TRUE(core::has_commit(now.history, now.head, mirror, last));
  EXPECT_FALSE(core::has_commit(now.history, now.head, mirror, lost));
  EXPECT_FALSE(core::is_in(now.history, now.head, lost)) << "there is nothing to wait for";
}

const std::string last_byte = std::to_string(value_bytes_max - 1);

TEST_F(Commits, two_databases_share_a_thread_and_each_has_its_turn) {
  ThreadPool one{"commits", 1};
  RocksdbOptions options;
  options.folder = folder.path() / "second";
  options.sync = RocksdbSync::never;
  const auto other = std::move(RocksdbDatabase::open_root(std::move(options)).value());
  WatchTable others;
  auto first = std::make_unique<CommitQueue>(*database, watches, nullptr, one.executor());
  auto second = std::make_unique<CommitQueue>(*other, others, nullptr, one.executor());
  // The first goes on as long as its client does, which stops once the second has been answered.
  std::atomic<bool> answered = false;
  std::thread busy([&] {
    while (!answered) {
      Client client({{"SET", "n", "1"}});
      first->push(client.run, [&client] { client.done.set_value(); });
      client.done.get_future().get();
    }
  });
  Client client({{"SET", "a", "1"}});
  second->push(client.run, [&client] { client.done.set_value(); });
  client.done.get_future().get();
  answered = true;
  busy.join();
  EXPECT_EQ(client.got(), "+OK\r\n");
  // What is queued when a queue goes is carried out first.
  Client last({{"SET", "a", "2"}});
  second->push(last.run, [&last] { last.done.set_value(); });
  second.reset();
  EXPECT_EQ(last.got(), "+OK\r\n");
  EXPECT_EQ(other->get("a").value(), "2");
}

TEST_F(Commits, a_run_that_grows_values_commits_within_its_limit) {
  std::vector<std::vector<std::string>> commands;
  for (int i = 0; i < 5; ++i)
    commands.push_back({"SETRANGE", "k" + std::to_string(i), last_byte, "x"});
  Client client(std::move(commands));
  run({&client});
  const auto answer = ":" + std::to_string(value_bytes_max) + "\r\n";
  EXPECT_EQ(client.got(), answer + answer + answer + answer + answer) << "together they are more than an entry may be";
  EXPECT_EQ(bytes_of("k4"), value_bytes_max);
  EXPECT_EQ(database->source_state().head, client.run.lsn) << "the run's LSN is that of its last commit";
}

TEST_F(Commits, a_value_that_is_appended_to_a_thousand_times_is_kept_once) {
  Client begin({{"SETRANGE", "k", std::to_string(value_bytes_max / 2), "x"}});
  run({&begin});
  std::vector<std::vector<std::string>> commands(1000, {"APPEND", "k", "y"});
  commands.push_back({"SETRANGE", "k", "0", "z"});
  Client client(std::move(commands));
  const auto began = std::chrono::steady_clock::now();
  run({&client});
  // A copy of 32 MiB for each would be 32 GB.
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  EXPECT_EQ(bytes_of("k"), value_bytes_max / 2 + 1 + 1000);
  EXPECT_EQ(client.run.answers.size(), 1001u);
}

TEST_F(Commits, a_transaction_larger_than_an_entry_fails_alone_and_stores_nothing) {
  std::vector<std::vector<std::string>> commands;
  for (int i = 0; i < 5; ++i)
    commands.push_back({"SETRANGE", "big" + std::to_string(i), last_byte, "x"});
  Client before({{"SET", "before", "1"}}), large(std::move(commands), true), after({{"SET", "after", "1"}});
  run({&before, &large, &after});
  EXPECT_EQ(before.got(), "+OK\r\n");
  EXPECT_EQ(after.got(), "+OK\r\n");
  EXPECT_EQ(large.got().substr(0, 16), "-ERR not stored:");
  EXPECT_EQ(large.run.lsn, Lsn{});
  EXPECT_EQ(bytes_of("big0"), 0u);
  EXPECT_EQ(bytes_of("before") + bytes_of("after"), 2u);
}

TEST_F(Commits, whoever_unwatches_pays_for_his_own_keys_only) {
  std::vector<std::shared_ptr<Watch>> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(std::make_shared<Watch>());
    for (int again = 0; again < 10'000; ++again)
      EXPECT_EQ(watches.watch(others.back(), "k"), again == 0) << "a key is watched once";
  }
  const auto began = std::chrono::steady_clock::now();
  watches.unwatch(others.front());
  EXPECT_LT(std::chrono::steady_clock::now() - began, 100ms);
  Client client({{"SET", "k", "1"}});
  run({&client});
  EXPECT_FALSE(others.front()->touched());
  EXPECT_TRUE(others.back()->touched());
  for (const auto& other : others)
    watches.unwatch(other);
}

TEST(ByteBudget, refuses_what_would_be_more_and_gets_back_what_a_holder_had) {
  ByteBudget budget(1'000'000);
  HeldBytes one(&budget);
  EXPECT_TRUE(one.set(HeldBytes::uncounted_max));
  EXPECT_EQ(budget.held(), 0u);
  EXPECT_TRUE(one.set(600'000));
  {
    HeldBytes other(&budget);
    EXPECT_FALSE(other.set(500'000));
    EXPECT_TRUE(other.set(400'000));
    EXPECT_EQ(budget.held(), 1'000'000u);
    RespReply reply(RespVersion::resp2, &budget);
    reply.bulk(std::string(100'000, 'v'));
    EXPECT_TRUE(reply.take_overflow());
    EXPECT_LT(reply.bytes().size(), 100u) << "no room is taken that is not counted";
  }
  EXPECT_EQ(budget.held(), 600'000u);
  RespReply reply(RespVersion::resp2, &budget);
  reply.bulk(std::string(100'000, 'v'));
  EXPECT_FALSE(reply.take_overflow());
  EXPECT_GE(budget.held(), 700'000u);
}

TEST(PasswordDoor, lets_an_address_try_a_few_times_and_then_one_after_another) {
  PasswordDoor door;
  const auto guesser = boost::asio::ip::make_address("192.0.2.1"), other = boost::asio::ip::make_address("192.0.2.2");
  const auto now = PasswordDoor::Clock::now();
  for (std::uint32_t i = 0; i < PasswordDoor::free_tries; ++i) {
    EXPECT_EQ(door.come(guesser, now), 0s);
    door.on_wrong(guesser, now);
  }
  EXPECT_EQ(door.come(guesser, now), 0s);
  EXPECT_EQ(door.come(guesser, now), PasswordDoor::step);
  EXPECT_EQ(door.come(guesser, now), 2 * PasswordDoor::step);
  std::size_t waiting = 3;
  while (door.come(guesser, now))
    ++waiting;
  EXPECT_EQ(waiting, static_cast<std::size_t>(PasswordDoor::wait_max / PasswordDoor::step) + 1);
  EXPECT_EQ(door.come(other, now), 0s) << "others do not wait for it";
  EXPECT_EQ(door.come(guesser, now + PasswordDoor::forgotten_after), 0s);
}

TEST(PasswordDoor, remembers_a_bounded_number_of_addresses_and_takes_a_network_of_ipv6_for_one) {
  PasswordDoor door;
  const auto now = PasswordDoor::Clock::now();
  for (std::uint32_t i = 0; i < 2 * PasswordDoor::addresses_max; ++i)
    door.on_wrong(boost::asio::ip::address_v4(i), now);
  EXPECT_EQ(door.addresses(), PasswordDoor::addresses_max);
  PasswordDoor other;
  other.on_wrong(boost::asio::ip::make_address("2001:db8::1"), now);
  other.on_wrong(boost::asio::ip::make_address("2001:db8::2"), now);
  EXPECT_EQ(other.addresses(), 1u);
}

}  // namespace
}  // namespace crosslink::node
